package vless

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// sharing is a dialer with a mux, and what its exit has been told, frame by frame.
type sharing struct {
	*exit
	d *Dialer
}

func shared(t *testing.T, max int, f func(t *testing.T, s *sharing)) {
	t.Helper()
	dialing(t, func(t *testing.T, x *exit) {
		d := x.dialer()
		d.Mux = max
		defer d.Close()
		f(t, &sharing{x, d})
	})
}

func (s *sharing) dial(to string) transport.Conn {
	s.t.Helper()
	c, err := s.d.DialStream(s.t.Context(), target(s.t, to), nil)
	if err != nil {
		s.t.Fatalf("DialStream: got %v, want nil", err)
	}
	return c
}

// hears compares all that has come to the last stream since it was asked last.
func (s *sharing) hears(want string) {
	s.t.Helper()
	end := s.end()
	var all []byte
	_ = end.SetReadDeadline(time.Now().Add(time.Millisecond))
	b := make([]byte, 64<<10)
	for {
		n, err := end.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			break
		}
	}
	if string(all) != want {
		s.t.Errorf("at the exit: got %q, want %q", all, want)
	}
}

func (s *sharing) says(frames string) {
	s.t.Helper()
	if _, err := io.WriteString(s.end(), frames); err != nil {
		s.t.Errorf("exit's write: got %v, want nil", err)
	}
}

func newTCP(t *testing.T, id uint16, to, data string) string {
	return frameOf(frame{id: id, status: statusNew, network: networkTCP, peer: target(t, to)}, data)
}

// The bytes are those of Xray's client.
func TestClientMuxWritesXraysFrames(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		one, two := s.dial("93.184.216.34:443"), s.dial("www.example.org:80")
		time.Sleep(time.Second)
		s.opened()
		_, _ = io.WriteString(one, "hello one")
		const began = xrayMux + "\x00\f\x00\x01\x01\x01\x01\x01\xbb\x01]\xb8\xd8\"\x00\thello one"
		s.opened(began)
		s.hears(began)
		go func() { _, _ = two.Read(make([]byte, 1)) }()
		time.Sleep(2 * firstWait)
		s.hears("\x00\x18\x00\x02\x01\x00\x01\x00P\x02\x0fwww.example.org")
		_, _ = io.WriteString(two, "hello two")
		_, _ = io.WriteString(one, " and on")
		s.hears("\x00\x04\x00\x02\x02\x01\x00\thello two\x00\x04\x00\x01\x02\x01\x00\a and on")
		_ = one.Close()
		_ = two.CloseWrite()
		s.hears("\x00\x04\x00\x01\x03\x00\x00\x04\x00\x02\x03\x00")
		_ = two.Close()
		s.hears(end(2)) // once more: nobody reads the answer
	})
}

func TestClientMuxAnswers(t *testing.T) {
	for _, c := range []struct {
		name, said string
		want       string
		end        error
	}{
		{"in order", keep(1, "answer") + end(1), "answer", nil},
		{"an error behind it", keep(1, "answer") + wrong(1), "answer", errBrokenOff},
		{"refused", wrong(1), "", errBrokenOff},
		{"new ones and keep alive", newUDPAnswer + "\x00\x04\x00\x01\x04\x00" + keep(1, "answer") + end(1), "answer", nil},
		{"data beside the end", keep(1, "answer") + "\x00\x04\x00\x01\x03\x01\x00\x01x", "answer", nil},
		{"broken off", keep(1, "answer"), "answer", errBrokenOff},
		{"bad frame", "\x02\x01", "", errFrame},
	} {
		shared(t, 8, func(t *testing.T, s *sharing) {
			conn := s.dial("93.184.216.34:443")
			_, _ = io.WriteString(conn, "ask")
			s.says(answer + c.said)
			_ = s.end().CloseWrite()
			got, err := io.ReadAll(conn)
			if string(got) != c.want || !errors.Is(err, c.end) {
				t.Errorf("%s: got %q, %v, want %q, %v", c.name, got, err, c.want, c.end)
			}
			_ = conn.Close()
		})
	}
}

// newUDPAnswer begins a session, which a server has no business to.
const newUDPAnswer = "\x00\x0c\x00\x07\x01\x01\x02\r\x96\x01\t\t\t\t\x00\x01x"

// An answer that comes behind the end of what was said is read, and an exit that has
// forgotten the session ends writing.
func TestClientMuxHalves(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		c := s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		_ = c.CloseWrite()
		s.says(answer + keep(1, "late") + end(1))
		if got, err := io.ReadAll(c); string(got) != "late" || err != nil {
			t.Errorf("answer behind the end: got %q, %v, want it", got, err)
		}
		s.hears(xrayMux + newTCP(t, 1, "93.184.216.34:443", "ask") + end(1))
		_ = c.Close()
		s.hears("")

		c = s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		s.says(end(2))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: got %v, want the end", err)
		}
		_, _ = io.WriteString(c, "more")
		s.hears(newTCP(t, 2, "93.184.216.34:443", "ask") + keep(2, "more"))
		s.says(end(2))
		synctest.Wait()
		if _, err := io.WriteString(c, "yet more"); !errors.Is(err, errForgotten) {
			t.Errorf("write to an exit that has forgotten: got %v, want %v", err, errForgotten)
		}
		_ = c.Close()
		s.hears("")
	})
}

// What an exit still says in a session that was closed is met with an end.
func TestClientMuxClosedSession(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		c := s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		_ = transport.Abort(c)
		s.hears(xrayMux + newTCP(t, 1, "93.184.216.34:443", "ask") + wrong(1))
		s.says(answer + keep(1, "answer"))
		s.hears(end(1))
		// One that nothing was said in leaves no trace.
		_ = s.dial("93.184.216.34:443").Close()
		s.hears("")
	})
}

// So many streams share one, so many go through it in its life, and then it ends.
func TestClientMuxLimits(t *testing.T) {
	shared(t, 3, func(t *testing.T, s *sharing) {
		var open []transport.Conn
		var want []string
		for i := range 7 {
			c := s.dial("93.184.216.34:443")
			open = append(open, c)
			_, _ = io.WriteString(c, "ask")
			synctest.Wait()
			if i%3 == 0 {
				want = append(want, xrayMux+newTCP(t, 1, "93.184.216.34:443", "ask"))
			}
			s.opened(want...)
		}
		for _, c := range open {
			_ = c.Close()
		}
	})
	shared(t, 3, func(t *testing.T, s *sharing) {
		for i := range clientLife + 1 {
			c := s.dial("93.184.216.34:443")
			_, _ = io.WriteString(c, "ask")
			synctest.Wait()
			if got, want := len(s.firsts), 1+i/clientLife; got != want {
				t.Fatalf("stream %d: got %d of the carrier's, want %d", i, got, want)
			}
			_ = c.Close()
		}
		synctest.Wait()
		first := s.ends[0]
		_, err := io.ReadAll(first)
		if err != nil {
			t.Errorf("a stream at the end of its life: got %v, want its end", err)
		}
	})
}

func TestClientMuxIdle(t *testing.T) {
	shared(t, 3, func(t *testing.T, s *sharing) {
		for range 3 { // each time it is the same one
			time.Sleep(clientIdle - time.Second)
			c := s.dial("93.184.216.34:443")
			_, _ = io.WriteString(c, "ask")
			_ = c.Close()
			synctest.Wait()
		}
		if len(s.firsts) != 1 {
			t.Fatalf("streams: got %d, want 1", len(s.firsts))
		}
		began := time.Now()
		_, err := io.ReadAll(s.end())
		if took := time.Since(began); err != nil || took != clientIdle {
			t.Errorf("without a session: got %v after %v, want its end after %v", err, took, clientIdle)
		}
		// One that never was opened ends as well, without a trace.
		synctest.Wait()
		_ = s.dial("93.184.216.34:443").Close()
		time.Sleep(2 * clientIdle)
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		if len(s.firsts) != 1 || len(s.d.muxes) != 0 {
			t.Errorf("streams: got %d opened and %d kept, want 1 and none", len(s.firsts), len(s.d.muxes))
		}
	})
}

// A queue takes its limit without holding anybody up, and in order.
func TestClientMuxQueue(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		c := s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		s.says(answer)
		sent := ""
		for i := range clientQueue / pieceSize {
			piece := repeat(string(rune('a'+i%26)), pieceSize)
			sent += piece
			s.says(keep(1, piece))
			if i%10 == 0 { // so that the rest has to move
				b := make([]byte, 1000)
				_, _ = io.ReadFull(c, b)
				if string(b) != sent[:len(b)] {
					t.Fatalf("read: got %.20q, want %.20q", b, sent[:len(b)])
				}
				sent = sent[len(b):]
			}
		}
		s.says(end(1))
		if got, err := io.ReadAll(c); string(got) != sent || err != nil {
			t.Errorf("read: got %d bytes, %v, want the %d sent", len(got), err, len(sent))
		}
		_ = c.Close()
	})
}

func TestClientMuxOpenFails(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		s.fail = errNoWay
		c, beside := s.dial("93.184.216.34:443"), s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errNoWay) {
			t.Errorf("read: got %v, want why", err)
		}
		if _, err := io.WriteString(beside, "ask"); !errors.Is(err, errNoWay) {
			t.Errorf("write: got %v, want why", err)
		}
		_, _ = c.Close(), beside.Close()
		s.fail = nil
		c = s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		s.opened(xrayMux + newTCP(t, 1, "93.184.216.34:443", "ask"))
		_ = c.Close()
	})
}

func TestClientMuxDeadlines(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		c := s.dial("93.184.216.34:443")
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: got %v, want a time-out", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		s.says(answer + keep(1, "x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("read: got %v, want nil", err)
		}
		_ = c.Close()
	})
}

func TestDialerClose(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		c := s.dial("93.184.216.34:443")
		_, _ = io.WriteString(c, "ask")
		synctest.Wait()
		_ = s.d.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: got %v, want net.ErrClosed", err)
		}
		if _, err := s.d.DialStream(t.Context(), target(t, "93.184.216.34:443"), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("DialStream: got %v, want net.ErrClosed", err)
		}
		_ = c.Close()
	})
}

// An exit that ends the stream has said nothing of the targets in it: who has not begun
// may begin elsewhere. Who has, knows that he must not.
func TestClientMuxLeft(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		mute, said, ended := s.dial("93.184.216.34:443"), s.dial("93.184.216.34:80"), s.dial("93.184.216.34:81")
		for _, c := range []transport.Conn{mute, said, ended} {
			_, _ = io.WriteString(c, "question")
		}
		synctest.Wait()
		s.says(answer + keep(2, "answer") + end(3))
		_ = s.end().CloseWrite()
		synctest.Wait()
		for i, want := range []bool{false, true, true} {
			c := []transport.Conn{mute, said, ended}[i]
			if got := c.(interface{ Begun() bool }).Begun(); got != want {
				t.Errorf("session %d: got begun %v, want %v", i+1, got, want)
			}
		}
		if _, err := mute.Read(make([]byte, 1)); !errors.Is(err, transport.ErrCarrier) {
			t.Errorf("Read: got %v, want that of the carrier", err)
		}
		if _, err := ended.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read of one that had ended: got %v, want io.EOF", err)
		}
	})
}
