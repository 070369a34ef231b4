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

const refusal = "no\n"

// gated is a street where a stranger who says "wait" holds everybody up on his reactor
// until a token comes, and junk is refused at once.
func gated(t *testing.T, change func(*relay.Limits)) (s *street, tokens chan struct{}) {
	tokens = make(chan struct{})
	s = newLimitedStreet(t, func(l *relay.Listener, limits *relay.Limits) {
		change(limits)
		answer := func(c transport.Conn, g transport.Guest) {
			_, _ = io.WriteString(c, refusal)
			_ = c.Close()
			g.Closed(0, 0)
		}
		l.Cover = &relay.Cover{
			Site: func(c transport.Conn, _ time.Time, g transport.Guest) {
				go func() {
					_, _ = c.Read(make([]byte, 100)) // with something unread its end would be a reset
					answer(c, g)
				}()
			},
			Refuse: func(c *transport.Peeked, _ bool, _ time.Time, g transport.Guest) bool {
				if string(c.Unread()) == "wait" {
					<-tokens
				}
				answer(c, g)
				return true
			},
		}
	})
	return s, tokens
}

func (s *street) says(text string) *net.TCPConn {
	s.t.Helper()
	c := s.dial()
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestRefusedLate: a stranger whose turn comes when the time of his opening is over is
// still told what the site says.
func TestRefusedLate(t *testing.T) {
	const handshake = 200 * time.Millisecond
	s, tokens := gated(t, func(l *relay.Limits) { l.Handshake = handshake })
	// What comes while the first one holds them up is accepted together afterwards.
	all := []net.Conn{s.says("wait")}
	time.Sleep(handshake / 10)
	for range 2 {
		all = append(all, s.says("wait"), s.says("junk"))
	}
	for range 3 {
		time.Sleep(handshake * 3 / 2)
		select {
		case tokens <- struct{}{}:
		default: // one whose time was over before his bytes were read is the site's
		}
	}
	close(tokens)
	for i, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(c); string(b) != refusal || err != nil {
			t.Errorf("stranger %d: got %q, %v, want %q", i, b, err, refusal)
		}
		_ = c.Close()
	}
}

// TestRefusedNot: who has made room for others is reset, and no answer of the site's is
// begun for him.
func TestRefusedNot(t *testing.T) {
	const many = 200
	s, tokens := gated(t, func(l *relay.Limits) { l.Connections, l.Backlog = 32, 4096 })
	first := s.says("wait")
	defer first.Close()
	time.Sleep(20 * time.Millisecond)
	var all []net.Conn
	for range many {
		all = append(all, s.says("junk"))
	}
	tokens <- struct{}{}
	resets := int64(0)
	for _, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		switch b, err := io.ReadAll(c); {
		case errors.Is(err, syscall.ECONNRESET):
			resets++
		case string(b) != refusal || err != nil:
			t.Errorf("got %q, %v, want %q or a reset", b, err, refusal)
		}
		_ = c.Close()
	}
	until(t, "the last one to be gone", func() bool { return s.srv.Snapshot().Live == 0 })
	if got := s.srv.Snapshot().Ends[transport.OverLimit]; got != resets {
		t.Errorf("over the limit: got %d, want %d, as many as were reset", got, resets)
	}
}
