package vless

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// Streams that the client has not ended have broken off when the whole stream
// ends; what was ended gets its answer.
func TestMuxStreamEnds(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "ask") + end(1) + m.tcp(2, two, "half") + m.udp(3, "9.9.9.9:53", "d"))
		a, b, c := m.stream(one), m.stream(two), m.packets("9.9.9.9:53")
		_ = m.client.CloseWrite()
		m.reads(b, "half", errBrokenOff)
		if got, err := packetsOf(c, 100); !same(got, "9.9.9.9:53 d") || err != io.EOF {
			t.Errorf("datagrams: got %q, %v, want one and EOF", got, err)
		}
		m.reads(a, "ask", io.EOF)
		select {
		case <-m.over:
			t.Error("Each: got back, want it to wait for the answer")
		default:
		}
		m.writes(a, "late")
		_ = a.CloseWrite()
		for _, c := range []io.Closer{a, b, c} {
			_ = c.Close()
		}
		m.hears(answer+keep(1, "late")+end(1), io.EOF)
		if <-m.over; m.err != nil {
			t.Errorf("Each: got %v, want nil", m.err)
		}
	})
}

// What follows in a frame that has no address is padding.
// A client that resets its connection takes everything with it, except what it
// had said and ended.
func TestMuxReset(t *testing.T) {
	start(t, 0, true, func(m *muxed) {
		m.say(m.tcp(1, one, "ask") + end(1) + m.tcp(2, two, "half"))
		a, b := m.stream(one), m.stream(two)
		_ = m.client.SetLinger(0)
		_ = m.client.Close()
		synctest.Wait()
		m.reads(a, "ask", io.EOF)
		for _, c := range []transport.Conn{a, b} {
			if _, err := io.WriteString(c, "late"); err == nil {
				t.Error("Write: got nil, want an error")
			}
		}
		if _, err := b.Read(make([]byte, 9)); err == nil || err == io.EOF {
			t.Errorf("Read: got %v, want an error that is no end", err)
		}
		if <-m.over; m.err == nil {
			t.Error("Each: got nil, want an error")
		}
	})
}

func TestMuxCancel(t *testing.T) {
	start(t, 0, true, func(m *muxed) {
		m.say(m.tcp(1, one, "ask"))
		c := m.stream(one)
		why := errors.New("drained")
		m.cancel(why)
		if <-m.over; !errors.Is(m.err, why) {
			t.Errorf("Each: got %v, want %v", m.err, why)
		}
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, why) {
			t.Errorf("Read: got %v, want %v", err, why)
		}
	})
}

// A stream without sessions ends in order after a while; one with a session does
// not.
func TestMuxIdle(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		time.Sleep(idleTime - time.Second)
		m.say(m.tcp(1, one, ""))
		c := m.stream(one)
		time.Sleep(10 * idleTime)
		m.say(keep(1, "still here"))
		m.reads(c, "still here", nil)
		_ = c.Close()
		m.hears(answer+end(1), nil)
		closed := time.Now()
		<-m.over
		if took := time.Since(closed); took != idleTime || m.err != nil {
			t.Errorf("Each: got %v after %v, want nil after %v", m.err, took, idleTime)
		}
		m.hears("", io.EOF)
	})
	start(t, 0, false, func(m *muxed) {
		began := time.Now()
		<-m.over
		if took := time.Since(began); took != idleTime || m.err != nil {
			t.Errorf("Each without a session: got %v after %v, want nil after %v", m.err, took, idleTime)
		}
	})
}
