package relay_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// settling is a street whose site answers everybody, so that they stay.
type settling struct {
	*street
	t    *testing.T
	site chan visited
}

// Those of mute say nothing more, and do not settle.
func newSettling(t *testing.T, most int, mute netip.Prefix) *settling {
	s := &settling{t: t, site: make(chan visited, 1)}
	s.street = newStreet(t, func(l *relay.Listener) {
		l.Cover.Connections, l.Cover.Handshakes = most, 4
		l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) {
			v := visited{c, g, time.Now()}
			still := mute.Contains(transport.Source(c))
			if !still {
				g.Answered()
			}
			go func() {
				_, _ = io.Copy(io.Discard, c)
				v.leave()
			}()
			if !still {
				s.site <- v
			}
		}
	})
	return s
}

// come has somebody come to the site, who stays.
func (s *settling) come(from string) (net.Conn, visited) {
	s.t.Helper()
	c := mustDial(s.t, from, s.addr)
	s.t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, record("nobody"))
	select {
	case v := <-s.site:
		return c, v
	case <-time.After(10 * time.Second):
		s.t.Fatalf("from %s: nobody came to the site, want one", from)
		panic("not reached")
	}
}

// wantReset wants a connection to be reset, or to go on.
func (s *settling) want(c net.Conn, what string, reset bool) {
	s.t.Helper()
	within := 10 * time.Second
	if !reset {
		within = 50 * time.Millisecond
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 1))
	if reset && !errors.Is(err, syscall.ECONNRESET) || !reset && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Errorf("%s: got %v, want a reset: %v", what, err, reset)
	}
}

// TestSettledDisplace: those of one network who have taken every place at the site, and
// say nothing, make room for who comes from elsewhere, and not for more of themselves.
func TestSettledDisplace(t *testing.T) {
	const most = 12
	s := newSettling(t, most, netip.Prefix{})
	var flood []net.Conn
	for i := range most {
		c, _ := s.come(fmt.Sprintf("127.0.1.%d", 1+i%4))
		flood = append(flood, c)
	}
	more := mustDial(t, "127.0.1.9", s.addr)
	defer more.Close()
	_, _ = io.WriteString(more, record("nobody"))
	s.want(more, "one more of the flood", true)
	visitor, _ := s.come("127.0.2.7")
	s.want(flood[0], "the first of the flood", true)
	s.want(flood[1], "the second", false)
	s.want(visitor, "who comes from elsewhere", false)
	until(t, "the first to be forgotten", func() bool { return s.srv.Snapshot().Strangers == most })
}

// TestSettledFirst: where no network stands out the first makes room, whoever he is, and
// not one who has turned out to be a user.
func TestSettledFirst(t *testing.T) {
	const most = 8
	s := newSettling(t, most, netip.Prefix{})
	user, v := s.come("127.0.1.1")
	v.guest.Claimed(auth.User{})
	var visitors []net.Conn
	for i := range most {
		c, _ := s.come(fmt.Sprintf("127.0.%d.1", 2+i))
		visitors = append(visitors, c)
	}
	last, _ := s.come("127.0.100.1")
	s.want(visitors[0], "the first", true)
	for _, c := range append(visitors[1:], user, last) {
		s.want(c, c.LocalAddr().String(), false)
	}
}

// TestSettledFlood: more of those who fill the queue take nobody's place who is served,
// though none of them is.
func TestSettledFlood(t *testing.T) {
	const most = 8
	s := newSettling(t, most, netip.MustParsePrefix("127.0.1.0/24"))
	visitor, _ := s.come("127.0.2.7")
	for i := range most - 1 {
		c := mustDial(t, "127.0.1.7", s.addr)
		defer c.Close()
		_, _ = io.WriteString(c, record("nobody"))
		until(t, "one more stranger", func() bool { return s.srv.Snapshot().Strangers == 2+i })
	}
	more := mustDial(t, "127.0.1.8", s.addr)
	defer more.Close()
	_, _ = io.WriteString(more, record("nobody"))
	s.want(more, "one more of the flood", true)
	s.want(visitor, "the visitor", false)
}
