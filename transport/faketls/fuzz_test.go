package faketls

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/hello"
)

// FuzzServe: whatever the hello says, the decision neither fails nor touches
// anything, and one with a digest of its own is answered so that clients accept it.
func FuzzServe(f *testing.F) {
	for name := range recordings {
		record := recording(f, name)
		f.Add(record, false)
		f.Add(record, true)
		f.Add(divide(record, 3, 5, 400), false)
	}
	f.Add([]byte{22, 3, 1, 0, 200, 1}, true)
	clock := time.Unix(1795336000, 0)
	cover := Cover{Group: hello.GroupX25519MLKEM768, Sizes: []int{100}}
	f.Fuzz(func(t *testing.T, b []byte, signed bool) {
		if len(b) == 0 || len(b) > hello.MaxSize {
			return
		}
		if record, _, ok := hello.Record(nil, b); ok && signed && len(record) >= randomEnd {
			b = bytes.Clone(record)
			sign(b, &testKey, clock)
		}
		s := newStand(t, clock, func(o *Options) { o.Cover = func(string) Cover { return cover } })
		before := bytes.Clone(b)
		_, writes, unread, err := s.visit(t, b)
		if errors.Is(err, transport.ErrNotOurs) {
			if len(writes) > 0 || !bytes.Equal(unread, before) {
				t.Fatalf("a stranger: got %d writes, %d of %d bytes unread, want nothing touched", len(writes), len(unread), len(b))
			}
			return
		}
		if err != nil || len(writes) != 1 {
			t.Fatalf("Serve: got %v, %d writes, want nil, 1", err, len(writes))
		}
		record, n, ok := hello.Record(nil, b)
		if !ok || len(unread) != len(b)-n {
			t.Fatalf("accepted: got %d bytes left of %d, want %d", len(unread), len(b), len(b)-n)
		}
		checkFlight(t, writes[0], record[11:43])
	})
}

// FuzzDecode: any bytes, in any pieces, have the same payload and the same end.
func FuzzDecode(f *testing.F) {
	f.Add(slices.Concat(rec(20, "\x01"), rec(23, "hello"), rec(23, "")), uint8(3), false)
	f.Add(rec(21, "\x01\x00"), uint8(1), true)
	f.Fuzz(func(t *testing.T, wire []byte, step uint8, client bool) {
		whole, pieces := serverCodec(), serverCodec()
		whole.client, pieces.client = client, client
		want, wantErr := whole.Decode(nil, wire)
		var got []byte
		var err error
		for part := range slices.Chunk(wire, int(step)+1) {
			if got, err = pieces.Decode(got, part); err != nil {
				break
			}
		}
		if !bytes.Equal(got, want) || err != wantErr {
			t.Fatalf("in pieces: got %d bytes, %v, want %d, %v", len(got), err, len(want), wantErr)
		}
		if len(want) > len(wire) {
			t.Fatalf("payload: got %d bytes from %d", len(want), len(wire))
		}
		if err == nil && (pieces.Ended() == nil) != (whole.Ended() == nil) {
			t.Fatalf("Ended: got %v, want %v", pieces.Ended(), whole.Ended())
		}
	})
}

// FuzzRoundTrip: what one side encodes the other decodes, however it is divided.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("payload"), uint16(1), uint16(3), true)
	f.Add(make([]byte, 70_000), uint16(20_000), uint16(999), false)
	f.Fuzz(func(t *testing.T, payload []byte, in, out uint16, client bool) {
		from, to := serverCodec(), serverCodec()
		if client {
			from.records, from.client = &clientRecords, true
		} else {
			to.client = true
		}
		var wire, got []byte
		var err error
		for part := range slices.Chunk(payload, int(in)+1) {
			if wire, err = from.Encode(wire, part); err != nil {
				t.Fatalf("Encode: got %v, want nil", err)
			}
		}
		for part := range slices.Chunk(from.End(wire), int(out)+1) {
			if got, err = to.Decode(got, part); err != nil {
				t.Fatalf("Decode: got %v, want nil", err)
			}
		}
		if !bytes.Equal(got, payload) || to.Ended() != nil {
			t.Fatalf("payload: got %d bytes, Ended %v, want %d, nil", len(got), to.Ended(), len(payload))
		}
	})
}

// FuzzProbe: a server can say what it likes.
func FuzzProbe(f *testing.F) {
	v := newVisit()
	flight, err := v.answer(Cover{Sizes: []int{100}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(flight)
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, flight []byte) {
		if a, err := readAnswer(flight); err == nil && a.size > len(flight) {
			t.Fatalf("size: got %d of %d bytes", a.size, len(flight))
		}
		_, _ = readFlight(bytes.NewReader(flight))
	})
}
