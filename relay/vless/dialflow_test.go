package vless

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// inboundAt serves alice on loopback: each of her streams is joined with the one that
// dial opens.
func inboundAt(t *testing.T, core *splice.Core, dial func() transport.Conn, over chan<- splice.End) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	in := &Inbound{UUID: ids}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			req, err := in.Open(context.Background(), alice, transport.NewPeeked(c.(*net.TCPConn)))
			if err != nil {
				t.Errorf("Open: got %v, want nil", err)
				_ = c.Close()
				continue
			}
			near, far, err := req.Accept(context.Background(), dial())
			if err != nil {
				t.Errorf("Accept: got %v, want nil", err)
				continue
			}
			core.Join(near, far, splice.Limits{Idle: time.Minute, Fin: time.Minute}, nil, func(e splice.End) { over <- e })
		}
	}()
	return ln.Addr().String()
}

// tcpCarrier is TCP to an address.
type tcpCarrier string

// Open implements Carrier.
func (a tcpCarrier) Open(_ context.Context, first []byte) (transport.Conn, error) {
	c, err := net.Dial("tcp", string(a))
	if err != nil {
		return nil, err
	}
	_, err = c.Write(first)
	return c.(*net.TCPConn), err
}

// An entry and an exit on sockets, each with a core: who speaks first, half-close, bulk,
// and a pause in which the entry parks what rests.
func TestEntryOnSockets(t *testing.T) {
	for _, c := range []struct {
		name  string
		greet string
		bulk  int
		pause time.Duration
	}{
		{"client first", "", 4 << 20, 0},
		{"target first", "220 hello\r\n", 4 << 20, 0},
		{"after a pause", "", 100, 300 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			relaytest.LeakCheck(t)
			last, at := tcpPair(t)
			core := splice.New(20 * time.Millisecond)
			over := make(chan splice.End, 2)
			exit := inboundAt(t, core, func() transport.Conn { return last }, over)
			d := &Dialer{Carrier: tcpCarrier(exit)}
			copy(d.UUID[:], aliceID)
			far, err := d.DialStream(t.Context(), target(t, "93.184.216.34:443"), nil)
			if err != nil {
				t.Fatal(err)
			}
			client, near := tcpPair(t)
			core.Join(near, far, splice.Limits{Idle: time.Minute, Fin: time.Minute}, nil, func(e splice.End) { over <- e })
			if c.greet != "" {
				_, _ = io.WriteString(at, c.greet)
				b := make([]byte, len(c.greet))
				if _, err := io.ReadFull(client, b); string(b) != c.greet || err != nil {
					t.Errorf("greeting: got %q, %v, want %q", b, err, c.greet)
				}
			}
			_, _ = io.WriteString(client, "ask")
			b := make([]byte, 3)
			if _, err := io.ReadFull(at, b); err != nil {
				t.Fatalf("at the target: got %v, want what was asked", err)
			}
			time.Sleep(c.pause) // some ticks: what is on sockets has a real clock
			exchange(t, client, at, c.bulk)
			for range 2 {
				want := splice.End{Status: transport.OK, Up: int64(c.bulk + 3), Down: int64(c.bulk + len(c.greet))}
				if got := <-over; got != want {
					t.Errorf("end: got %+v, want %+v", got, want)
				}
			}
			core.Drain(t.Context())
		})
	}
}

// exchange sends bulk each way, one after the other, and ends each direction.
func exchange(t *testing.T, client, at transport.Conn, bulk int) {
	t.Helper()
	for _, way := range []struct {
		name     string
		from, to transport.Conn
	}{{"target", client, at}, {"client", at, client}} {
		go func() {
			_, _ = io.WriteString(way.from, repeat("b", bulk))
			_ = way.from.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, way.to); n != int64(bulk) || err != nil {
			t.Errorf("at the %s: got %d bytes, %v, want %d", way.name, n, err, bulk)
		}
	}
	_ = at.Close()
	_ = client.Close()
}
