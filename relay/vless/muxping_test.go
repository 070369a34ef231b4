package vless

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// pinging is a keep-alive frame of n bytes whose data begins with mark.
func pinging(n int, mark string) string {
	return frameOf(frame{status: statusKeepAlive}, mark+repeat("\x00", n-padHead))
}

// TestMuxAnswersPings has a client ping in several ways: no answer is longer than what
// it answers.
func TestMuxAnswersPings(t *testing.T) {
	const most = 64<<10 - 1 - 1 + padHead // the data's length has two bytes
	for _, c := range []struct {
		name, say     string
		answers, size int
	}{
		{"the shortest", pinging(padHead, "\xfe"), 1, padHead},
		{"a usual one", pinging(300, "\xfe"), 1, 300},
		{"the longest", pinging(most, "\xfe"), 1, mostPadded},
		{"many, more than answers that pad", repeat(pinging(padHead, "\xfe"), 100), 100, padHead},
		{"an answer", pinging(300, "\xff"), 0, 0},
		{"another's", pinging(300, "\xfd"), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				m.say(m.tcp(1, "93.184.216.34:443", "hello"))
				m.heardFrames()
				m.say(c.say)
				frames := m.heardFrames()
				if len(frames) != c.answers {
					t.Fatalf("got %d frames, want %d", len(frames), c.answers)
				}
				for _, f := range frames {
					size := lengthSize + frameSize + lengthSize + len(f.data)
					if f.status != statusKeepAlive || size != c.size || f.data != "\xff"+repeat("\x00", size-padHead) {
						t.Fatalf("got status %d and %q, want an answer of %d bytes", f.status, f.data, c.size)
					}
				}
			})
		})
	}
}

// TestMuxPingsUnread has a client that pings and reads nothing: what waits for it has an
// end.
func TestMuxPingsUnread(t *testing.T) {
	start(t, 1<<10, true, func(m *muxed) {
		m.say(m.tcp(1, "93.184.216.34:443", "hello"))
		m.say(repeat(pinging(1000, "\xfe"), 1000))
		m.stream("93.184.216.34:443")
		var b [1 << 10]byte
		total := 0
		for {
			_ = m.client.SetReadDeadline(time.Now().Add(time.Second))
			n, err := m.client.Read(b[:])
			if total += n; err != nil {
				break
			}
		}
		if most := 2 * (outSize + 1<<10); total > most {
			t.Errorf("got %d bytes for pings of 1 MB, want at most %d", total, most)
		}
	})
}

// askedConn is a carrier's stream that is asked by who speaks through it.
type askedConn struct {
	*relaytest.Conn
	asks chan func() bool
}

func (c askedConn) AskBy(ask func() bool) { c.asks <- ask }

// askedExit has streams that are askedConn.
type askedExit struct {
	*exit
	asks chan func() bool
}

func (x askedExit) Open(ctx context.Context, first []byte) (transport.Conn, error) {
	c, err := x.exit.Open(ctx, first)
	if err != nil {
		return nil, err
	}
	return askedConn{c.(*relaytest.Conn), x.asks}, nil
}

// TestClientMuxPings has exits that answer pings, or padding alone, or nothing.
func TestClientMuxPings(t *testing.T) {
	for _, c := range []struct {
		name, said string
		asks       bool // the dialer's
		watched    bool
	}{
		{"pings", answer + pinging(padHead, "\xff"), true, true},
		{"twice", answer + pinging(padHead, "\xff") + pinging(300, "\xff"), true, true},
		{"padding, as older relays", answer + asking(200, 90), true, false},
		{"nothing", answer + keep(1, "data"), true, false},
		{"a ping of its own", answer + pinging(300, "\xfe"), true, false},
		{"no questions", answer, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialing(t, func(t *testing.T, x *exit) {
				asked := askedExit{x, make(chan func() bool, 2)}
				d := x.dialer()
				d.Carrier, d.Mux, d.Asks = asked, 8, c.asks
				defer d.Close()
				s := &sharing{x, d}
				conn := s.dial("93.184.216.34:443")
				_, _ = io.WriteString(conn, "ask")
				greeting := ""
				if c.asks {
					greeting = pinging(padHead, "\xfe")
				}
				x.opened(opening(commandMux, "") + greeting + newTCP(t, 1, "93.184.216.34:443", "ask"))
				s.says(c.said)
				synctest.Wait()
				if got := len(asked.asks); got > 1 || got == 1 != c.watched {
					t.Fatalf("the carrier was told %d times how to ask, want %v", got, c.watched)
				}
				if c.watched {
					clientPings(t, s, conn, <-asked.asks)
				}
				_ = conn.Close()
			})
		})
	}
}

// clientPings asks: a ping is written when that returns, and without a session there is
// none.
func clientPings(t *testing.T, s *sharing, conn transport.Conn, ask func() bool) {
	t.Helper()
	s.hears(s.firsts[0])
	_ = s.end().SetReadDeadline(time.Time{})
	asked := make(chan bool, 1)
	go func() { asked <- ask() }()
	synctest.Wait()
	if !<-asked {
		t.Fatal("got no question with a session, want one")
	}
	b := make([]byte, 1<<10)
	n, err := s.end().Read(b)
	if err != nil {
		t.Fatal(err)
	}
	frames := saidFrames(t, string(b[:n]))
	if len(frames) != 1 || n < leastPing || n > mostPing || !strings.HasPrefix(frames[0].data, "\xfe") {
		t.Errorf("got %q, want a ping of %d to %d bytes", b[:n], leastPing, mostPing)
	}
	_ = conn.Close()
	synctest.Wait()
	if ask() {
		t.Error("got a question without a session, want none")
	}
	_ = s.d.Close()
	if ask() {
		t.Error("got a question behind the end, want none")
	}
}
