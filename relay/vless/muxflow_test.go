package vless

import (
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// A stream of command 1 on sockets: the answer's header, half-close, bulk.
func TestJoinedOnSockets(t *testing.T) {
	const bulk = 4 << 20
	client, near := tcpPair(t)
	far, at := tcpPair(t)
	in := &Inbound{UUID: ids}
	if _, err := io.WriteString(client, xrayTCP+"ask"); err != nil {
		t.Fatal(err)
	}
	req, err := in.Open(t.Context(), alice, transport.NewPeeked(near))
	if err != nil {
		t.Fatalf("Open: got %v, want nil", err)
	}
	near, far, err = req.Accept(t.Context(), far)
	if err != nil {
		t.Fatalf("Accept: got %v, want nil", err)
	}
	core := splice.New(0)
	over := make(chan splice.End, 1)
	core.Join(near, far, splice.Limits{Idle: time.Minute, Fin: time.Minute}, nil, func(e splice.End) { over <- e })
	go func() {
		_, _ = io.WriteString(client, repeat("u", bulk))
		_ = client.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, at); n != bulk+3 || err != nil {
		t.Errorf("at the target: got %d bytes, %v, want %d", n, err, bulk+3)
	}
	go func() {
		_, _ = io.WriteString(at, repeat("d", bulk))
		_ = at.Close()
	}()
	got, err := io.ReadAll(client)
	if string(got) != answer+repeat("d", bulk) || err != nil {
		t.Errorf("at the client: got %d bytes, %v, want %d", len(got), err, bulk+len(answer))
	}
	if got, want := <-over, (splice.End{Status: transport.OK, Up: bulk + 3, Down: bulk}); got != want {
		t.Errorf("end: got %+v, want %+v", got, want)
	}
	core.Drain(t.Context())
}

// tcpPair returns the two ends of a connection on loopback.
func tcpPair(t *testing.T) (a, b transport.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialled, accepted} {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { _ = c.Close() })
	}
	return dialled.(transport.Conn), accepted.(transport.Conn)
}

// What becomes of ends when sessions are joined with their targets.
func TestMuxJoined(t *testing.T) {
	for _, tt := range []struct {
		name   string
		said   string // behind "ask"
		target func(t *testing.T, c *relaytest.Conn)
		want   string
		end    splice.End
	}{
		{"late answer", end(1), func(t *testing.T, c *relaytest.Conn) {
			if got, err := io.ReadAll(c); string(got) != "ask" || err != nil {
				t.Errorf("at the target: got %q, %v, want ask and the end", got, err)
			}
			_, _ = io.WriteString(c, "late")
			_ = c.Close()
		}, keep(1, "late") + end(1), splice.End{Status: transport.OK, Up: 3, Down: 4}},
		{"target ends first", "", func(_ *testing.T, c *relaytest.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 3))
			_, _ = io.WriteString(c, "early")
			_ = c.CloseWrite()
		}, keep(1, "early") + end(1), splice.End{Status: transport.Timeout, Up: 3, Down: 5}},
		{"target resets", "", func(_ *testing.T, c *relaytest.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 3))
			_ = transport.Abort(c)
		}, wrong(1), splice.End{Status: transport.TargetGone, Up: 3}},
		{"client breaks off", wrong(1), func(t *testing.T, c *relaytest.Conn) {
			if _, err := io.ReadAll(c); err == nil {
				t.Errorf("at the target: got %v, want %v", err, syscall.ECONNRESET)
			}
		}, "", splice.End{Status: transport.ClientGone, Up: 3}},
		{"nobody says anything", "", func(_ *testing.T, c *relaytest.Conn) {
			_, _ = io.Copy(io.Discard, c)
		}, end(1), splice.End{Status: transport.Timeout, Up: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				core := splice.New(0)
				over := make(chan splice.End, 1)
				m.join = func(near transport.Conn) {
					far, at := relaytest.Pipe()
					go func() {
						tt.target(t, at)
						<-m.over
						_ = at.Close()
					}()
					core.Join(near, far, splice.Limits{Idle: time.Minute, Fin: time.Minute}, nil, func(e splice.End) { over <- e })
				}
				m.say(m.tcp(1, one, "ask"))
				synctest.Wait()
				m.say(tt.said)
				if got := <-over; got != tt.end {
					t.Errorf("end: got %+v, want %+v", got, tt.end)
				}
				if tt.want != "" {
					tt.want = answer + tt.want
				}
				m.hears(tt.want, nil)
				_ = m.client.CloseWrite()
				<-m.over
				core.Drain(t.Context())
			})
		})
	}
}
