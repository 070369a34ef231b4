package vless

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay"
	"relay/transport"
)

const (
	one = "93.184.216.34:443"
	two = "www.example.org:80"
)

func TestMuxAsXraySaysIt(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(xraySessions)
		a, b, c := m.stream(one), m.stream(two), m.packets("9.9.9.9:3478")
		m.reads(a, "hello one and on", io.EOF)
		m.reads(b, "hello two", io.EOF)
		got, err := packetsOf(c, transport.MaxPacket)
		want := []string{"9.9.9.9:3478 first datagram", "[2001:db8::2]:3479 second datagram", "9.9.9.9:3478 third, without a peer"}
		if !same(got, want...) || err != io.EOF {
			t.Errorf("datagrams: got %q, %v, want %q, EOF", got, err, want)
		}
		m.hears("", nil)
		m.writes(a, "answer one")
		_ = a.CloseWrite()
		if err := c.WritePacket([]byte("answer datagram"), target(t, "[2001:db8::2]:3479")); err != nil {
			t.Errorf("WritePacket: got %v, want nil", err)
		}
		_ = c.Close()
		m.hears(answer+xrayAnswers, nil)
	})
}

func TestXUDPAsXraySaysIt(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(xrayXUDP)
		_ = m.client.CloseWrite()
		c := m.packets("9.9.9.9:3478")
		got, err := packetsOf(c, transport.MaxPacket)
		want := []string{"9.9.9.9:3478 first datagram", "[2001:db8::2]:3479 second datagram", "9.9.9.9:3478 third, without a peer"}
		if !same(got, want...) || err != io.EOF {
			t.Errorf("datagrams: got %q, %v, want %q, EOF", got, err, want)
		}
		_ = c.Close()
		m.hears(answer, io.EOF)
	})
	start(t, 0, false, func(m *muxed) {
		m.say(xrayXUDPName)
		c := m.packets("stun.example.org:3478")
		b := make([]byte, 100)
		if n, peer, err := c.ReadPacket(b); err != nil || string(b[:n]) != "to a name" || peer.Name() != "stun.example.org" {
			t.Errorf("datagram: got %q to %v, %v, want one to stun.example.org", b[:n], peer, err)
		}
	})
}

// A client's end is the end of what it says: the answer still goes down.
func TestMuxLateAnswer(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "ask") + end(1))
		c := m.stream(one)
		m.reads(c, "ask", io.EOF)
		m.writes(c, "late")
		_ = c.CloseWrite()
		m.hears(answer+keep(1, "late")+end(1), nil)
		_ = c.Close()
		m.hears("", nil)
	})
}

// An Xray client that has ended a session does not know it any more, and says so
// when an answer comes.
func TestMuxForgotten(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "ask") + end(1))
		c := m.stream(one)
		m.writes(c, "late")
		m.hears(answer+keep(1, "late"), nil)
		m.say(end(1))
		synctest.Wait()
		if _, err := io.WriteString(c, "later"); !errors.Is(err, errForgotten) {
			t.Errorf("Write to a client that has gone: got %v, want %v", err, errForgotten)
		}
		m.reads(c, "ask", io.EOF)
		_ = c.Close()
		m.hears("", nil)
		m.say(m.tcp(1, two, "again"))
		m.reads(m.stream(two), "again", nil)
	})
}

// A target that ends first: what the client still says goes on. Xray answers our
// end with one that is an error, which means nothing then.
func TestMuxTargetEndsFirst(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "ask"))
		c := m.stream(one)
		_ = c.CloseWrite()
		m.hears(answer+end(1), nil)
		m.say(keep(1, " on") + wrong(1))
		m.reads(c, "ask on", io.EOF)
		if _, err := c.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after CloseWrite: got %v, want net.ErrClosed", err)
		}
		_ = c.Close()
		m.hears("", nil)
	})
}

// A session that breaks off is told apart from one that has ended.
func TestMuxBrokenOff(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "ask") + wrong(1))
		c := m.stream(one)
		m.reads(c, "ask", errBrokenOff)
		m.hears("", nil)
		_ = c.Close()
		m.hears("", nil)
	})
}

func TestMuxCloses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		close func(transport.Conn)
		want  string
	}{
		{"close", func(c transport.Conn) { _ = c.Close() }, end(1)},
		{"close twice", func(c transport.Conn) { _ = c.Close(); _ = c.Close() }, end(1)},
		{"close after an end", func(c transport.Conn) { _ = c.CloseWrite(); _ = c.CloseWrite(); _ = c.Close() }, end(1)},
		{"abort", func(c transport.Conn) { _ = transport.Abort(c) }, wrong(1)},
		{"interrupt", func(c transport.Conn) { transport.Interrupt(c) }, wrong(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				m.say(m.tcp(1, one, "") + m.tcp(2, two, ""))
				c := m.stream(one)
				waits := make(chan error)
				go func() {
					_, err := c.Read(make([]byte, 1))
					waits <- err
				}()
				synctest.Wait()
				tt.close(c)
				m.hears(answer+tt.want, nil)
				if err := <-waits; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read: got %v, want net.ErrClosed", err)
				}
				// The client is told again, and nobody else is concerned.
				m.say(keep(1, "on") + keep(2, "on"))
				m.hears(end(1), nil)
				m.reads(m.stream(two), "on", nil)
			})
		})
	}
}

func TestMuxDenials(t *testing.T) {
	for _, tt := range []struct{ name, said, want string }{
		{"stream", "\x00\x0c\x00\x01\x01\x01" + "\x01" + toIPv4 + "\x00\x03abc", wrong(1)},
		{"datagrams", "\x00\x0c\x00\x01\x01\x01" + "\x02" + toIPv4 + "\x00\x03abc", wrong(1)},
	} {
		start(t, 0, false, func(m *muxed) {
			m.deny = errors.New("no")
			m.say(tt.said)
			m.hears(answer+tt.want, nil)
			m.say(keep(1, "on"))
			m.hears(end(1), nil)
		})
	}
}

// A request that is neither accepted nor denied ends with an error.
func TestMuxUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req, client := accepted(t, &Inbound{UUID: ids}, xrayMux+"\x00\x0c\x00\x01\x01\x00"+"\x01"+toIPv4, 0)
		over := make(chan error)
		go func() {
			over <- req.(transport.Multiplexed).Each(t.Context(), func(transport.Request) {})
		}()
		b := make([]byte, 100)
		n, err := io.ReadAtLeast(client, b, len(answer+wrong(1)))
		if string(b[:n]) != answer+wrong(1) || err != nil {
			t.Errorf("at the client: got %q, %v, want %q", b[:n], err, answer+wrong(1))
		}
		_ = client.CloseWrite()
		if err := <-over; err != nil {
			t.Errorf("Each: got %v, want nil", err)
		}
	})
}

// Frames that are no session's, and sessions that are not served.
func TestMuxFrames(t *testing.T) {
	for _, tt := range []struct{ name, said, want string }{
		{"keep alive", "\x00\x04\x00\x00\x04\x00", ""},
		{"keep alive with data", "\x00\x04\x00\x00\x04\x01\x00\x03abc", ""},
		{"keep alive with more", "\x00\x06\x00\x00\x04\x01xx\x00\x03abc", ""},
		{"unknown session", keep(7, "abc"), answer + end(7)},
		{"unknown session, no data", "\x00\x04\x00\x07\x02\x00", ""},
		{"end of an unknown session", end(7) + wrong(7), ""},
		{"end with data", "\x00\x04\x00\x07\x03\x01\x00\x03abc", ""},
		{"port 0", "\x00\x0c\x00\x07\x01\x01\x01\x00\x00\x01\x01\x02\x03\x04\x00\x03abc", answer + wrong(7)},
		{"bad name", "\x00\x0e\x00\x07\x01\x01\x01\x00\x50\x02\x05a b c\x00\x03abc", answer + wrong(7)},
		{"empty name", "\x00\x09\x00\x07\x01\x01\x01\x00\x50\x02\x00\x00\x03abc", answer + wrong(7)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				m.say(tt.said)
				m.hears(tt.want, nil)
				// What follows is understood.
				m.say(m.tcp(1, one, "ask"))
				m.reads(m.stream(one), "ask", nil)
				if n := m.opened(); n != 1 {
					t.Errorf("requests: got %d, want 1", n)
				}
			})
		})
	}
}

// What a client must not say ends the whole stream with a reset.
func TestMuxBadFrames(t *testing.T) {
	to := "\x01" + toIPv4
	for _, tt := range []struct {
		name, said string
		err        error
	}{
		{"too short", "\x00\x03\x00\x01\x04", relay.ErrBadRequest},
		{"empty", "\x00\x00", relay.ErrBadRequest},
		{"too long", "\x02\x01" + repeat("\x00", 513), relay.ErrBadRequest},
		{"status 0", "\x00\x04\x00\x01\x00\x00", relay.ErrBadRequest},
		{"status 5", "\x00\x04\x00\x01\x05\x00", relay.ErrBadRequest},
		{"new without a target", "\x00\x04\x00\x01\x01\x00", relay.ErrBadRequest},
		{"new without an address", "\x00\x05\x00\x01\x01\x00\x01", relay.ErrBadRequest},
		{"network 0", "\x00\x0c\x00\x01\x01\x00\x00" + toIPv4, relay.ErrBadRequest},
		{"network 3", "\x00\x0c\x00\x01\x01\x00\x03" + toIPv4, relay.ErrBadRequest},
		{"address type 4", "\x00\x0c\x00\x01\x01\x00\x01\x01\xbb\x04\x01\x02\x03\x04", relay.ErrBadRequest},
		{"half an address", "\x00\x0a\x00\x01\x01\x00\x01\x01\xbb\x01\x01\x02", relay.ErrBadRequest},
		{"half a name", "\x00\x0c\x00\x01\x01\x00\x01\x01\xbb\x02\x09abc", relay.ErrBadRequest},
		{"datagram to half an address", "\x00\x08\x00\x01\x02\x01\x02\x01\xbb\x01", relay.ErrBadRequest},
		{"session begins twice", "\x00\x0c\x00\x01\x01\x00" + to + "\x00\x0c\x00\x01\x01\x00" + to, relay.ErrBadRequest},
		{"half a length", "\x00", io.ErrUnexpectedEOF},
		{"half a frame", "\x00\x0c\x00\x01\x01", io.ErrUnexpectedEOF},
		{"no data", "\x00\x0c\x00\x01\x01\x01" + to, io.ErrUnexpectedEOF},
		{"half of the data", "\x00\x0c\x00\x01\x01\x01" + to + "\x00\x03ab", io.ErrUnexpectedEOF},
		{"half a datagram", "\x00\x0c\x00\x01\x01\x01\x02" + toIPv4 + "\x00\x03ab", io.ErrUnexpectedEOF},
		{"half of what nobody wants", keep(7, "abcd")[:10], io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, true, func(m *muxed) {
				m.say(tt.said)
				_ = m.client.CloseWrite()
				m.closeAll()
				<-m.over
				if !errors.Is(m.err, tt.err) {
					t.Errorf("Each: got %v, want %v", m.err, tt.err)
				}
				if _, err := io.Copy(io.Discard, m.client); err == nil {
					t.Error("at the client: got an end in order, want a reset")
				}
			})
		})
	}
}

func TestMuxWithoutPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req, client := accepted(t, &Inbound{UUID: ids}, xrayMux+xrayXUDP, 0)
		_ = client.CloseWrite()
		err := req.(transport.Multiplexed).Each(t.Context(), func(r transport.Request) {
			t.Errorf("request: got one to %v, want none", r.Target())
		})
		got, hung := io.ReadAll(client)
		want := answer + wrong(0) + end(0) + end(0)
		if err != nil || hung != nil || string(got) != want {
			t.Errorf("got %v and at the client %q, %v, want %q", err, got, hung, want)
		}
	})
}

func TestMuxPadding(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "") + "\x00\x07\x00\x01\x02\x01\x00\x00\x00\x00\x03ask" + "\x00\x06\x00\x01\x03\x00\x00\x00")
		m.reads(m.stream(one), "ask", io.EOF)
	})
}

func TestMuxSessionDeadlines(t *testing.T) {
	start(t, 1, true, func(m *muxed) {
		m.say(m.tcp(1, one, ""))
		c := m.stream(one)
		at := time.Now().Add(time.Second)
		_ = c.SetDeadline(at)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Equal(at) {
			t.Errorf("Read: got %v at %v, want the deadline at %v", err, time.Now(), at)
		}
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := c.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n < outSize/2 || n > 2*outSize {
			t.Errorf("Write: got %d, %v, want the deadline when two buffers are full", n, err)
		}
	})
}
