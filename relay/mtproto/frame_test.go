package mtproto

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The vector was made with openssl: dgst -sha256 over frame[8:40] and the secret,
// then enc -aes-256-ctr over the plain frame.
const (
	vectorSecret = "000102030405060708090a0b0c0d0e0f"
	vectorFrame  = "650fb4991d349ae3fdd7431c4f0cb0de0c2245f41d2da4401a7ea7adafdb36b1" +
		"54946c94e8532089f91055cfb423f34acd9f33d01c61084b14969b6faa8f9a05"
	vectorUp   = "3fec16aa218f9cd71334bae7a9a999ed"
	vectorDown = "79e38818d4cde0733c189f574bb6f96b"
)

func TestVector(t *testing.T) {
	secret := [SecretSize]byte(unhex(t, vectorSecret))
	f := frame(unhex(t, vectorFrame))
	trial := newTrial(&f)
	if tag, id := trial.with(&secret); tag != tagPadded || id != -2 {
		t.Errorf("trial: got tag %x, id %d, want %x, -2", tag, id, tagPadded)
	}
	fromClient := f.seed()
	got := make([]byte, 16)
	fromClient.keyed(&secret).stream(frameSize).XORKeyStream(got, got)
	if want := unhex(t, vectorUp); !bytes.Equal(got, want) {
		t.Errorf("key stream from the client: got %x, want %x", got, want)
	}
	clear(got)
	fromClient.reversed().keyed(&secret).stream(0).XORKeyStream(got, got)
	if want := unhex(t, vectorDown); !bytes.Equal(got, want) {
		t.Errorf("key stream to the client: got %x, want %x", got, want)
	}
	other := secret
	other[0]++
	if tag, _ := trial.with(&other); tag == tagPadded {
		t.Errorf("trial of another secret: got tag %x, want noise", tag)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The counter of the block that holds the tag carries into its upper half.
func TestTrialCarries(t *testing.T) {
	for _, iv := range []string{
		"00000000000000000000000000000000", "0000000000000000fffffffffffffffc", "0000000000000000fffffffffffffffd",
		"0000000000000000ffffffffffffffff", "ffffffffffffffffffffffffffffffff", "fffffffffffffffffffffffffffffffd",
	} {
		init := append(bytes.Repeat([]byte{7}, 40), unhex(t, iv)...)
		init = append(init, 0xef, 0xef, 0xef, 0xef, 203, 0, 1, 2)
		secret := [SecretSize]byte(unhex(t, vectorSecret))
		all := make([]byte, frameSize)
		ciphers(init, secret[:]).forth.XORKeyStream(all, init)
		f := frame(append(init[:56:56], all[56:]...))
		trial := newTrial(&f)
		if tag, id := trial.with(&secret); tag != tagAbridged || id != 203 {
			t.Errorf("IV %s: got tag %x, id %d, want %x, 203", iv, tag, id, uint32(tagAbridged))
		}
	}
}

func TestAllowedFirst(t *testing.T) {
	for _, tt := range []struct {
		first string
		want  bool
	}{
		{"\xef123abcd", false}, {"\xee123abcd", true}, {"\xee\xee\xee\xeeabcd", false}, {"\xdd\xdd\xdd\xddabcd", false}, {"\xdd\xdd\xdd\xdcabcd", true},
		{"HEADabcd", false}, {"POSTabcd", false}, {"GET abcd", false}, {"OPTIabcd", false}, {"GET\x00abcd", true}, {"get abcd", true}, {"PUT abcd", true},
		{"\x16\x03\x01\x02abcd", false}, {"\x16\x03\x01\x03abcd", true}, {"1234\x00\x00\x00\x00", false}, {"1234\x00\x00\x00\x01", true}, {"\x00\x00\x00\x00abcd", true},
	} {
		if got := allowedFirst([]byte(tt.first)); got != tt.want || got != ordinary([]byte(tt.first)) {
			t.Errorf("allowedFirst(%q): got %t, want %t", tt.first, got, tt.want)
		}
	}
}

// The frame for a data centre says what it should, looks like a client's, and
// makes the data centre encrypt with what it was made from.
func TestToDC(t *testing.T) {
	for range 2000 {
		down := drawn()
		f, up := toDC(tagIntermediate, -10002, down)
		if !ordinary(f[:]) {
			t.Fatalf("frame: got % x, want one that clients do not avoid", f[:8])
		}
		dc := answers(f[:], nil)
		if dc.tag != tagIntermediate || dc.id != -10002 {
			t.Fatalf("frame: got tag %x, id %d, want %x, -10002", dc.tag, dc.id, uint32(tagIntermediate))
		}
		if got := xored(dc.back, "answer"); !bytes.Equal(got, xored(down.stream(0), "answer")) {
			t.Fatalf("from the data centre: got %x, want the stream of down", got)
		}
		if got := xored(dc.forth, string(xored(up.stream(frameSize), "question"))); string(got) != "question" {
			t.Fatalf("at the data centre: got %q, want question", got)
		}
	}
	a, _ := toDC(tagPadded, 2, seed{})
	b, _ := toDC(tagPadded, 2, seed{})
	if bytes.Equal(a[:8], b[:8]) {
		t.Errorf("first bytes of two frames: got %x twice, want random ones", a[:8])
	}
}
