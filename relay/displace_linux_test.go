package relay_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"relay/relay"
	"relay/transport"
)

// TestHandshakesDisplace: a flood that has filled the queue for the site makes room for
// who comes from elsewhere, and not for more of itself.
func TestHandshakesDisplace(t *testing.T) {
	const most = 8
	site := make(chan visited, 4*most)
	s := newStreet(t, func(l *relay.Listener) {
		l.Cover.Connections, l.Cover.Handshakes = most, 1
		l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) { site <- visited{c, g, time.Now()} }
	})
	come := func(from string) *net.TCPConn {
		t.Helper()
		c := mustDial(t, from, s.addr)
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, record("nobody"))
		return c
	}
	reset := func(c net.Conn, within time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, err := io.ReadAll(c)
		return errors.Is(err, syscall.ECONNRESET)
	}
	var flood []net.Conn
	for i := range most {
		flood = append(flood, come("127.0.1.7"))
		until(t, "one more stranger", func() bool { return s.srv.Snapshot().Strangers == i+1 })
	}
	if !reset(come("127.0.1.8"), 5*time.Second) {
		t.Error("one more of the flood: got no reset, want one")
	}
	user := come("127.0.2.7")
	if last := flood[most-1]; !reset(last, 5*time.Second) {
		t.Error("the last one of the flood: got no reset, want him to make room")
	}
	(<-site).leave()
	second := <-site
	if from := transport.Source(second).String(); from != "127.0.2.7" {
		t.Errorf("next at the site: got %s, want who comes from elsewhere", from)
	}
	second.leave()
	_ = user.Close()
	for range most - 2 {
		v := <-site
		if from := transport.Source(v).String(); from != "127.0.1.7" {
			t.Errorf("at the site: got %s, want those of the flood that were there", from)
		}
		v.leave()
	}
	until(t, "all to be forgotten", func() bool { return s.srv.Snapshot().Strangers == 0 && s.srv.Snapshot().Live == 0 })
}
