package vless

import (
	"context"
	"io"
	"testing"

	"relay/relay/relaytest"
	"relay/transport"
)

// BenchmarkMux is a message and its answer through a session, in memory.
func BenchmarkMux(b *testing.B) {
	for _, tt := range []struct {
		name string
		size int
	}{{"message", 300}, {"piece", pieceSize}} {
		b.Run(tt.name, func(b *testing.B) {
			r := newRoundTrip(b, tt.size)
			b.SetBytes(int64(2 * tt.size))
			b.ReportAllocs()
			for b.Loop() {
				r.trip(b)
			}
			r.close()
		})
	}
}

// TestMuxAllocates: a session in use allocates nothing.
func TestMuxAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's pools throw away")
	}
	r := newRoundTrip(t, 300)
	defer r.close()
	if n := testing.AllocsPerRun(1000, func() { r.trip(t) }); n >= 1 {
		t.Errorf("allocations for a message and its answer: got %v, want none", n)
	}
}

// roundTrip is a session with a target that echoes what fits one frame.
type roundTrip struct {
	client *relaytest.Conn
	over   chan struct{}
	say    []byte
	answer []byte
}

func newRoundTrip(t testing.TB, size int) *roundTrip {
	req, client := accepted(t, &Inbound{UUID: ids}, xrayMux, 0)
	r := &roundTrip{client: client, over: make(chan struct{}), say: []byte(keep(1, repeat("x", size)))}
	go func() {
		defer close(r.over)
		_ = req.(transport.Multiplexed).Each(context.Background(), func(req transport.Request) {
			near, _, err := req.Accept(context.Background(), nil)
			if err != nil {
				t.Errorf("Accept: got %v, want nil", err)
				return
			}
			buf := make([]byte, 16<<10)
			for err == nil {
				var n int
				if n, err = near.Read(buf); n > 0 {
					_, err = near.Write(buf[:n])
				}
			}
			_ = near.Close()
		})
	}()
	if _, err := io.WriteString(client, "\x00\x0c\x00\x01\x01\x00\x01"+toIPv4+keep(1, "x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, len(answer)+len(keep(1, "x")))); err != nil {
		t.Fatal(err)
	}
	r.answer = make([]byte, len(r.say))
	return r
}

func (r *roundTrip) trip(t testing.TB) {
	if _, err := r.client.Write(r.say); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.client, r.answer); err != nil {
		t.Fatal(err)
	}
}

func (r *roundTrip) close() {
	_ = r.client.Close()
	<-r.over
}
