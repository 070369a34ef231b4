package vless

import (
	"io"
	"testing"

	"relay/relay/relaytest"
	"relay/transport"
)

// dialedTrip is a stream to a target that sends back what it gets.
type dialedTrip struct {
	d    *Dialer
	x    *exit
	c    transport.Conn
	b    []byte
	read []byte
}

func newDialedTrip(t testing.TB, mux, size int) *dialedTrip {
	e := &echoing{in: Inbound{UUID: ids, Packets: true}}
	x := &exit{serve: func(c *relaytest.Conn) { e.serve(c) }}
	r := &dialedTrip{d: x.dialer(), x: x, b: make([]byte, size), read: make([]byte, size)}
	r.d.Mux = mux
	var err error
	if r.c, err = r.d.DialStream(t.Context(), target(t, "93.184.216.34:443"), nil); err != nil {
		t.Fatal(err)
	}
	r.trip(t)
	return r
}

func (r *dialedTrip) trip(t testing.TB) {
	if _, err := r.c.Write(r.b); err != nil {
		t.Fatal(err)
	}
	if err := r.c.(transport.ReadWaiter).WaitRead(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.c, r.read); err != nil {
		t.Fatal(err)
	}
}

func (r *dialedTrip) close() {
	_ = r.c.Close()
	_ = r.d.Close()
	r.x.served.Wait()
}

// TestDialedAllocates: a stream in use allocates nothing, nor do datagrams.
func TestDialedAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's pools throw away")
	}
	for _, mux := range []int{0, 2} {
		r := newDialedTrip(t, mux, 300)
		if n := testing.AllocsPerRun(1000, func() { r.trip(t) }); n >= 1 {
			t.Errorf("mux %d: allocations for a message and its answer: got %v, want none", mux, n)
		}
		r.close()
	}
}

func TestXUDPAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's pools throw away")
	}
	near, far := relaytest.Pipe()
	defer near.Close()
	defer far.Close()
	x := newXUDP(newDialed(nil, nil, 0))
	x.c.conn, x.c.got = near, len(replyHeader)
	said := []byte("\x00\x0c\x00\x00\x02\x01\x02\r\x96\x01\t\t\t\t\x00\x05hello")
	peer, b, b2 := target(t, "9.9.9.9:3478"), make([]byte, transport.MaxPacket), make([]byte, 100)
	trip := func() {
		if err := x.WritePacket(said, peer); err != nil {
			t.Fatal(err)
		}
		_, _ = far.Read(b2)
		_, _ = far.Write(said)
		if n, from, err := x.ReadPacket(b); n != 5 || from != peer || err != nil {
			t.Fatalf("ReadPacket: got %d, %v, %v, want 5 bytes from %v", n, from, err, peer)
		}
	}
	trip()
	if n := testing.AllocsPerRun(1000, trip); n >= 1 {
		t.Errorf("allocations for a datagram and its answer: got %v, want none", n)
	}
}

// BenchmarkDialed is a message and its answer, in memory, with the exit's half.
func BenchmarkDialed(b *testing.B) {
	for _, tt := range []struct {
		name      string
		mux, size int
	}{{"message", 0, 300}, {"bulk", 0, 16 << 10}, {"mux message", 2, 300}, {"mux bulk", 2, 16 << 10}} {
		b.Run(tt.name, func(b *testing.B) {
			r := newDialedTrip(b, tt.mux, tt.size)
			b.SetBytes(int64(2 * tt.size))
			b.ReportAllocs()
			for b.Loop() {
				r.trip(b)
			}
			r.close()
		})
	}
}
