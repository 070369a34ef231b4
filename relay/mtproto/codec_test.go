package mtproto

import (
	"bytes"
	"testing"
)

// TestCodec takes a stream through the codec, in pieces, and looks at it with
// the keys of the client and of the data centre.
func TestCodec(t *testing.T) {
	t.Run("as this processor can", testCodec)
	t.Run("without VAES", func(t *testing.T) {
		withoutVector(t)
		testCodec(t)
	})
}

func testCodec(t *testing.T) {
	for _, reencrypt := range []bool{false, true} {
		secret := [SecretSize]byte{1, 2, 3}
		f := frame(bytes.Repeat([]byte{7, 11, 13, 17}, frameSize/4))
		c := newCodec(&f, &secret, tagPadded, 2, reencrypt)
		up := bytes.Repeat([]byte("from the client, "), 4000)
		wire := bytes.Clone(up)
		f.seed().keyed(&secret).stream(frameSize).XORKeyStream(wire, wire)
		var out []byte
		for _, size := range []int{1, 15, 2878, len(up) - 1 - 15 - 2878} {
			before, piece := len(out), bytes.Clone(wire[:size])
			var err error
			if out, err = c.Decode(out, piece); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(piece, wire[:size]) || len(out) <= before {
				t.Fatal("the codec changed its input, or lost it")
			}
			wire = wire[size:]
		}
		dc := frame(out)
		tag, id := (&trial{frame: dc}).raw()
		if tag != tagPadded || id != 2 {
			t.Errorf("frame for the data centre: got tag %08x and id %d, want %08x and 2", tag, id, uint32(tagPadded))
		}
		dc.seed().stream(frameSize).XORKeyStream(out[frameSize:], out[frameSize:])
		if !bytes.Equal(out[frameSize:], up) {
			t.Error("up: got other bytes than the client sent")
		}
		if c.PassesOut() == reencrypt {
			t.Errorf("reencrypt %v: got PassesOut %v", reencrypt, c.PassesOut())
		}
		down := bytes.Repeat([]byte("from the data centre, "), 100)
		wire = bytes.Clone(down)
		dc.seed().reversed().stream(0).XORKeyStream(wire, wire)
		got, err := c.Encode([]byte("before"), wire)
		if err != nil || !bytes.HasPrefix(got, []byte("before")) {
			t.Fatalf("got %.6q and %v, want what was there in front", got, err)
		}
		got = got[len("before"):]
		f.seed().reversed().keyed(&secret).stream(0).XORKeyStream(got, got)
		if !bytes.Equal(got, down) {
			t.Error("down: got other bytes than the data centre sent")
		}
	}
}

// raw is what a frame without a secret says.
func (t *trial) raw() (tag uint32, id int16) {
	plain := t.frame
	seed := plain.seed()
	seed.stream(0).XORKeyStream(plain[:], plain[:])
	return uint32(plain[tagAt]) | uint32(plain[tagAt+1])<<8 | uint32(plain[tagAt+2])<<16 | uint32(plain[tagAt+3])<<24,
		int16(plain[dcAt]) | int16(plain[dcAt+1])<<8
}
