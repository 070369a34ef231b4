package vless

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// fills says so much of a session, and in how many frames.
func (m *muxed) fills(id uint16, size int) {
	m.t.Helper()
	full := keep(id, repeat("x", 32<<10))
	for range size / (32 << 10) {
		m.say(full)
	}
}

// alive is what a client hears while nothing of it is read.
func alive(n int) string {
	return strings.Repeat(frameOf(frame{status: statusKeepAlive}, "\x00"), n)
}

// A session whose target takes nothing holds what its queue holds, then the whole
// stream, and is given up; the others go on.
func TestMuxStall(t *testing.T) {
	tests := []struct {
		name   string
		others int           // what waits elsewhere
		room   int           // of the session
		after  time.Duration // since the target has taken something, until it is full
		held   time.Duration // how long it then holds up the others
	}{
		{"at once", 0, mostAhead, 0, holdTime},
		{"soon", 0, mostAhead, stallTime - time.Second, time.Second},
		{"late", 0, mostAhead, stallTime, 0},
		{"beside many", mostHeld, queueSize, 0, holdTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				m.say(m.tcp(1, one, "") + m.tcp(2, two, ""))
				a, b := m.stream(one), m.stream(two)
				m.in.ahead.Add(int64(tt.others))
				defer m.in.ahead.Add(-int64(tt.others))
				m.fills(1, tt.room)
				time.Sleep(tt.after)
				m.say(keep(2, "beside it"))
				m.reads(b, "beside it", nil)
				began := time.Now()
				m.say(keep(1, "one byte too many") + keep(2, "at last"))
				m.reads(b, "at last", nil)
				if took := time.Since(began); took != tt.held {
					t.Errorf("other session: held up for %v, want %v", took, tt.held)
				}
				m.hears(answer+alive(int(tt.held/aliveTime))+wrong(1), nil)
				if _, err := a.Read(make([]byte, 9)); !errors.Is(err, errStalled) {
					t.Errorf("Read: got %v, want %v", err, errStalled)
				}
				// What comes for it still is nobody's, and the client is told.
				m.say(keep(1, "more") + keep(2, "and on"))
				m.reads(b, "and on", nil)
				m.hears(end(1), nil)
				_ = a.Close()
				_ = b.Close()
				if n := m.in.ahead.Load() - int64(tt.others); n != 0 {
					t.Errorf("waiting for nobody: got %d bytes, want none", n)
				}
			})
		})
	}
}

// Several of them hold the stream up for as long as one does, but for those whose
// targets take something meanwhile, and those that come later.
func TestMuxStallTogether(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "") + m.tcp(2, two, "") + m.tcp(3, "93.184.216.36:443", "") + m.tcp(4, "93.184.216.37:443", ""))
		a, b, c, d := m.stream(one), m.stream(two), m.stream("93.184.216.36:443"), m.stream("93.184.216.37:443")
		for id := uint16(1); id <= 3; id++ {
			m.fills(id, mostAhead)
		}
		time.Sleep(time.Second)
		take := make([]byte, 9)
		go func() {
			time.Sleep(holdTime - time.Second)
			_, _ = io.ReadFull(c, take)
		}()
		began := time.Now()
		m.say(keep(1, "too many") + keep(2, "too many") + keep(3, "too many") + keep(4, "at last"))
		m.reads(d, "at last", nil)
		if took := time.Since(began); took != holdTime {
			t.Errorf("beside two that are stalled and one that is slow: held up for %v, want %v", took, holdTime)
		}
		for i, s := range []transport.Conn{a, b} {
			if _, err := s.Read(take); !errors.Is(err, errStalled) {
				t.Errorf("stalled session %d: got %v, want %v", i+1, err, errStalled)
			}
		}
		if _, err := c.Read(take); err != nil {
			t.Errorf("the slow one: got %v, want nil", err)
		}
		// One that stalls when the others have been free for a time has its own.
		m.say(keep(4, "and on"))
		m.reads(d, "and on", nil)
		time.Sleep(holdTime + time.Second)
		m.fills(4, mostAhead)
		began = time.Now()
		m.say(keep(4, "too many") + keep(3, "at last"))
		synctest.Wait()
		time.Sleep(holdTime - time.Second)
		synctest.Wait()
		if _, err := d.Read(take); err != nil {
			t.Errorf("one that stalls later, after %v: got %v, want nil", time.Since(began), err)
		}
		for _, s := range []transport.Conn{a, b, c, d} {
			_ = s.Close()
		}
	})
}

// Beside a target that is slow all the time one that pauses has what it has beside none.
func TestMuxPauseBesideSlow(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "") + m.tcp(2, two, ""))
		slow, pauses := m.stream(one), m.stream(two)
		takes := func(c transport.Conn) {
			if _, err := io.ReadFull(c, make([]byte, 32<<10)); err != nil {
				t.Errorf("towards the target: got %v, want nil", err)
			}
		}
		m.fills(1, mostAhead)
		m.fills(2, mostAhead)
		for i := range 12 {
			m.fills(1, 32<<10)
			time.Sleep(time.Second)
			takes(slow)
			if synctest.Wait(); i == 6 {
				takes(pauses)
				m.fills(2, 32<<10)
			}
		}
		m.fills(2, 32<<10)
		time.Sleep(time.Second)
		takes(pauses)
		_ = slow.Close()
		_ = pauses.Close()
	})
}

// A target that takes something, however slowly, keeps its session.
func TestMuxSlow(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, ""))
		a := m.stream(one)
		const all = mostAhead + 4*queueSize
		go func() {
			for range all / (16 << 10) {
				m.say(keep(1, repeat("x", 16<<10)))
			}
			m.say(end(1))
		}()
		got, b := 0, make([]byte, 16<<10)
		for {
			n, err := a.Read(b)
			if got += n; err != nil {
				if err != io.EOF || got != all {
					t.Errorf("towards the target: got %d bytes, %v, want %d, EOF", got, err, all)
				}
				return
			}
			time.Sleep(holdTime - time.Second)
		}
	})
}

// What is too much for one buffer waits for the client, and each session comes to
// its turn.
func TestMuxBulkDown(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "") + m.tcp(2, two, ""))
		const all = 16 * outSize
		for i, c := range []transport.Conn{m.stream(one), m.stream(two)} {
			go func() {
				m.writes(c, repeat(string([]byte{byte('a' + i)}), all))
				_ = c.CloseWrite()
			}()
		}
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		want := [][]string{1: {repeat("a", all)}, 2: {repeat("b", all)}}
		compare(t, m.heard[len(answer):], want, len(want))
	})
}

// Closing a session, or the end of all, frees whoever waits with it for the client,
// and the mux that waits with it for the target.
func TestMuxCloseFreesTheQueue(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "") + m.tcp(2, two, ""))
		a, b := m.stream(one), m.stream(two)
		began := time.Now()
		m.fills(1, mostAhead+queueSize)
		m.say(keep(2, "at last"))
		synctest.Wait()
		_ = a.Close()
		m.reads(b, "at last", nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("other session: held up for %v, want not at all", took)
		}
	})
}

func TestMuxClientReadsNothing(t *testing.T) {
	start(t, 1, true, func(m *muxed) {
		m.say(m.tcp(1, one, "") + m.tcp(2, two, ""))
		a, b := m.stream(one), m.stream(two)
		failed := make(chan error, 2)
		for _, c := range []transport.Conn{a, b} {
			go func() {
				_, err := c.Write(make([]byte, 1<<20))
				failed <- err
			}()
		}
		synctest.Wait()
		_ = a.Close()
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write of a session that is closed: got %v, want net.ErrClosed", err)
		}
		// Ends of requests that are refused need no room, up to a bound: then the
		// stream is over.
		go func() {
			for range 2 * outSpare {
				if _, err := io.WriteString(m.client, "\x00\x0c\x00\x07\x01\x00\x01\x00\x00\x01\x01\x02\x03\x04"); err != nil {
					return
				}
			}
			t.Error("refusals without end: got all of them taken, want the stream to end")
		}()
		if err := <-failed; !errors.Is(err, errNotReading) {
			t.Errorf("Write: got %v, want %v", err, errNotReading)
		}
		if <-m.over; !errors.Is(m.err, errNotReading) {
			t.Errorf("Each: got %v, want %v", m.err, errNotReading)
		}
	})
}

// A client that reads nothing and has no session left does not hold the stream:
// it is idle, and what waits for it has flushTime.
func TestMuxEndWithoutReader(t *testing.T) {
	start(t, 1, true, func(m *muxed) {
		m.say(m.tcp(1, one, ""))
		c := m.stream(one)
		m.writes(c, "it will not read this")
		_ = c.Close()
		began := time.Now()
		<-m.over
		if took, want := time.Since(began), idleTime+flushTime; took != want || m.err == nil {
			t.Errorf("Each: got %v after %v, want an error after %v", m.err, took, want)
		}
	})
}

// Sessions at rest hold no buffer, nor does their stream.
func TestMuxHoldsNothing(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, one, "ask") + m.udp(2, "9.9.9.9:53", "ask"))
		a, p := m.stream(one), m.packets("9.9.9.9:53")
		m.reads(a, "ask", nil)
		m.writes(a, "answer")
		if _, _, err := p.ReadPacket(make([]byte, 100)); err != nil {
			t.Errorf("ReadPacket: got %v, want nil", err)
		}
		m.hears(answer+keep(1, "answer"), nil)
		c := a.(muxConn)
		if c.m.in.held != nil || c.m.held != nil || c.waits.first != nil || p.(muxPacketConn).waits.first != nil {
			t.Errorf("buffers: got %v, %v, %v, %v, want none", c.m.in.held, c.m.held, c.waits.first, p.(muxPacketConn).waits.first)
		}
	})
}

func TestMuxManySessions(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		for i := range maxSessions {
			m.say(m.tcp(uint16(i), fmt.Sprintf("192.0.2.1:%d", i+1), "ask"))
		}
		m.hears("", nil)
		m.say(m.tcp(1000, one, "one too many"))
		m.hears(answer+wrong(1000), nil)
		if n := m.opened(); n != maxSessions {
			t.Errorf("requests: got %d, want %d", n, maxSessions)
		}
		_ = m.stream("192.0.2.1:1").Close()
		m.say(m.tcp(1000, one, "now"))
		m.reads(m.stream(one), "now", nil)
		m.hears(end(0), nil)
	})
}

// A session that the client gives up counts until its target has been dialled: or a
// client could have us dial without bound.
func TestMuxGivenUp(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		dialled := make(chan struct{})
		var dials atomic.Int32
		m.join = func(near transport.Conn) {
			dials.Add(1)
			m.mu.Unlock()
			<-dialled
			m.mu.Lock()
			_ = near.Close()
		}
		for range maxSessions {
			m.say(m.tcp(1, one, "") + wrong(1))
		}
		m.hears("", nil)
		m.say(m.tcp(1, one, "") + m.tcp(2, one, ""))
		m.hears(answer+wrong(1)+wrong(2), nil)
		close(dialled)
		m.hears("", nil)
		m.say(m.tcp(3, one, ""))
		if synctest.Wait(); dials.Load() != maxSessions+1 {
			t.Errorf("dials: got %d, want %d and one more", dials.Load(), maxSessions)
		}
	})
}

// Datagrams that find no room are dropped, whether bytes or numbers are too many.
func TestMuxDatagramBounds(t *testing.T) {
	for _, tt := range []struct {
		name       string
		size, want int
	}{
		{"many", 1, queuePackets},
		{"large", 20 << 10, queueSize / (20 << 10)},
		{"larger than any", 65535, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				m.say(m.udp(1, "9.9.9.9:53", ""))
				c := m.packets("9.9.9.9:53")
				for round := range 3 {
					for range queuePackets + 10 {
						m.say(keep(1, repeat("d", tt.size)))
					}
					m.say("\x00\x04\x00\x01\x02\x01\x00\x00" + "\x00\x0c\x00\x01\x02\x01\x02\x00\x00\x01\x01\x02\x03\x04\x00\x01x") // length 0, and no peer
					if round == 2 {
						m.say(end(1))
					}
					synctest.Wait()
					_ = c.SetDeadline(time.Now().Add(time.Second))
					if got, err := packetsOf(c, transport.MaxPacket); len(got) != tt.want || err == nil {
						t.Errorf("datagrams: got %d, %v, want %d", len(got), err, tt.want)
					}
				}
			})
		})
	}
}

// A datagram longer than the reader's buffer is dropped, the next one is not.
func TestMuxDatagramTooLong(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.udp(1, "9.9.9.9:53", "longer than eight") + m.datagram(1, one, "short") + end(1))
		got, err := packetsOf(m.packets("9.9.9.9:53"), 8)
		if !same(got, one+" short") || err != io.EOF {
			t.Errorf("datagrams: got %q, %v, want the short one, EOF", got, err)
		}
	})
}

// Xray's clients give the whole stream up at an answer that is too long for them.
func TestMuxLongAnswers(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.udp(1, "9.9.9.9:53", "ask"))
		c := m.packets("9.9.9.9:53")
		longest := repeat("d", maxAnswer)
		for _, tt := range []struct {
			text string
			err  error
		}{{"", nil}, {longest + "d", errTooLarge}, {longest, nil}} {
			if err := c.WritePacket([]byte(tt.text), target(t, "9.9.9.9:53")); err != tt.err {
				t.Errorf("WritePacket of %d bytes: got %v, want %v", len(tt.text), err, tt.err)
			}
		}
		m.hears(answer+m.datagram(1, "9.9.9.9:53", longest), nil)
		m.say(end(1))
		_ = c.Close()
		if err := c.WritePacket([]byte("late"), target(t, one)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WritePacket after Close: got %v, want net.ErrClosed", err)
		}
	})
}
