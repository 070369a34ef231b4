package h2_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"relay/transport/h2"
)

// quiet are streams of a server that does what a test says.
func quiet() (h2.Service, chan *h2.Stream) {
	streams := make(chan *h2.Stream, 1000)
	return h2.Service{Handle: func(s *h2.Stream) { streams <- s }}, streams
}

// TestServedLeave: GOAWAY lets running streams end, and refuses those that cross it
// with what follows them.
func TestServedLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, streams := quiet()
		c, s, ended := newServed(t, 0, begun(), svc)
		one := <-streams
		c.Leave()
		c.Leave()
		if f := until[*http2.GoAwayFrame](s); f.LastStreamID != 1 || f.ErrCode != http2.ErrCodeNo {
			t.Errorf("GOAWAY: got %v, want NO_ERROR up to 1", f)
		}
		s.ok(s.ask(3, false))
		if f := until[*http2.RSTStreamFrame](s); f.StreamID != 3 || f.ErrCode != http2.ErrCodeRefusedStream {
			t.Errorf("RST_STREAM: got %v, want REFUSED_STREAM for 3", f)
		}
		s.ok(s.WriteData(3, true, make([]byte, 1000)))
		s.ok(s.WriteData(1, true, []byte("on")))
		if b, err := io.ReadAll(one); string(b) != "on" || err != nil || len(streams) != 0 {
			t.Errorf("Read: got %q, %v and %d streams more, want on, the end and none", b, err, len(streams))
		}
		began := time.Now()
		_ = one.Answer(200, nil, true)
		if err := <-ended; !errors.Is(err, net.ErrClosed) || time.Since(began) > 2*time.Second {
			t.Errorf("Serve: got %v after %v, want the end behind the last stream", err, time.Since(began))
		}
	})
}

// TestServedLeaveUnused: a connection without streams ends at once.
func TestServedLeaveUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, streams := quiet()
		c, s, ended := newServed(t, 0, begun(), svc)
		_ = (<-streams).Close()
		c.Leave()
		until[*http2.GoAwayFrame](s)
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: got %v, want the end", err)
		}
	})
}

// TestServedLeft: a client that says GOAWAY means that it opens no more streams. Those
// that run go on, whatever number it names, which is one of pushes.
func TestServedLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, streams := quiet()
		_, s, ended := newServed(t, 0, begun(), svc)
		one := <-streams
		s.ok(s.WriteGoAway(0, http2.ErrCodeNo, nil))
		s.ok(s.WriteData(1, true, []byte("on")))
		if b, err := io.ReadAll(one); string(b) != "on" || err != nil {
			t.Fatalf("Read: got %q, %v, want on and the end", b, err)
		}
		_ = one.Answer(200, nil, false)
		if _, err := one.Write([]byte("answer")); err != nil {
			t.Errorf("Write: got %v, want nil", err)
		}
		_ = one.Finish()
		if f := until[*http2.DataFrame](s); string(f.Data()) != "answer" {
			t.Errorf("DATA: got %q, want answer", f.Data())
		}
		var away *h2.GoAwayError
		if err := <-ended; !errors.As(err, &away) {
			t.Errorf("Serve: got %v, want the client's GOAWAY", err)
		}
	})
}

// TestServedIdle: a connection ends that has had no stream for too long, not before,
// and not while there is one.
func TestServedIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, streams := quiet()
		svc.Idle = time.Minute
		c, s, ended := newServed(t, 0, begun(), svc)
		one := <-streams
		time.Sleep(5 * time.Minute)
		_ = one.Close()
		time.Sleep(50 * time.Second)
		s.ok(s.ask(3, true))
		two := <-streams
		time.Sleep(5 * time.Minute)
		if err := c.Err(); err != nil {
			t.Fatalf("Err: got %v while there is a stream, want nil", err)
		}
		_ = two.Answer(200, nil, true)
		began := time.Now()
		until[*http2.GoAwayFrame](s)
		<-ended
		if took := time.Since(began); took < time.Minute || took > time.Minute+2*time.Second {
			t.Errorf("Serve: ended after %v, want a minute", took)
		}
	})
}

// TestServedMost: streams beyond what was announced are refused, and so are those of a
// client that resets what it asks for while nobody has noticed; others go on.
func TestServedMost(t *testing.T) {
	for _, resets := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			svc, streams := quiet()
			_, s, _ := newServed(t, 1<<20, begun(), svc)
			most := 250
			if resets {
				most = 500
			}
			id := uint32(3)
			for range most - 1 {
				s.ok(s.ask(id, false))
				if resets {
					s.ok(s.WriteRSTStream(id, http2.ErrCodeCancel))
				}
				id += 2
			}
			s.ok(s.ask(id, false))
			if f := until[*http2.RSTStreamFrame](s); f.StreamID != id || f.ErrCode != http2.ErrCodeRefusedStream {
				t.Errorf("RST_STREAM: got %v, want REFUSED_STREAM for %d", f, id)
			}
			s.ok(s.WriteData(id, true, []byte("x")))
			synctest.Wait()
			if len(streams) != most {
				t.Errorf("Handle: got %d streams, want %d", len(streams), most)
			}
			_ = (<-streams).Close()
			s.ok(s.ask(id+2, false))
			synctest.Wait()
			if len(streams) != most {
				t.Errorf("Handle: got %d streams behind one that was closed, want %d", len(streams), most)
			}
		})
	}
}

// deaf is a connection whose peer takes nothing until it is told to.
type deaf struct {
	net.Conn
	wrote atomic.Int64 // given to Write
	gate  chan struct{}
}

func (d *deaf) Write(b []byte) (int, error) {
	d.wrote.Add(int64(len(b)))
	<-d.gate
	return d.Conn.Write(b)
}

func (d *deaf) Close() error {
	select {
	case <-d.gate:
	default:
		close(d.gate)
	}
	return d.Conn.Close()
}

// TestServedDeaf: while a client takes no answers its requests wait, and what is to be
// said to it stays short.
func TestServedDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled atomic.Int64
		fields := []h2.Field{{Name: "a", Value: strings.Repeat("~", 4000)}, {Name: "etag", Value: strings.Repeat("~", 4000)}}
		far, s := newClient(t, 0)
		d := &deaf{Conn: far, gate: make(chan struct{})}
		c := h2.NewServer(d, begun(), h2.Service{Handle: func(s *h2.Stream) {
			handled.Add(1)
			_ = s.Answer(200, fields, true)
			_ = s.Close()
		}})
		ended := make(chan error, 1)
		go func() { ended <- c.Serve() }()
		sent := make(chan int)
		go func() {
			n := 0
			for id := uint32(3); n < 1000 && s.ask(id, true) == nil; id += 2 {
				n++
			}
			sent <- n
		}()
		synctest.Wait()
		// Each answer has at least the field that is not indexed.
		if got := handled.Load(); got*2000 > 400<<10 || got < 20 {
			t.Errorf("Handle: got %d requests while nothing is taken, want some, and fewer than 200", got)
		}
		close(d.gate)
		go func() { _, _ = io.Copy(io.Discard, s.conn) }()
		if got := <-sent; got != 1000 {
			t.Errorf("requests: %d were taken, want 1000", got)
		}
		synctest.Wait()
		if got := handled.Load(); got != 1001 {
			t.Errorf("Handle: got %d requests, want 1001", got)
		}
		_ = c.Close()
		<-ended
	})
}

// TestServedStuck: a client that takes nothing at all for too long loses the
// connection, also while the reader waits for it.
func TestServedStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := h2.Service{Handle: func(s *h2.Stream) {
			_ = s.Answer(200, []h2.Field{{Name: "etag", Value: strings.Repeat("~", 8000)}}, false)
			go func() { _, _ = s.Write(make([]byte, 100000)); _ = s.Close() }()
		}}
		_, s, ended := newServed(t, 4096, begun(), svc)
		go func() {
			for id := uint32(3); s.ask(id, true) == nil; id += 2 {
			}
		}()
		began := time.Now()
		err := <-ended
		if took := time.Since(began); err == nil || took < time.Minute || took > 75*time.Second {
			t.Errorf("Serve: got %v after %v, want the time-out of writes", err, took)
		}
	})
}

// TestServedSlow: a client that takes 1.5 KiB each second is not one that takes nothing.
func TestServedSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 400 << 10
		svc := h2.Service{Handle: func(s *h2.Stream) {
			_ = s.Answer(200, nil, false)
			go func() {
				_, _ = s.Write(make([]byte, size))
				_ = s.Finish()
			}()
		}}
		c, s, ended := newServed(t, 64<<10, begun(h2.Setting{ID: h2.SettingInitialWindowSize, Value: 1 << 20}), svc)
		s.ok(s.WriteWindowUpdate(0, 1<<20))
		b, n := make([]byte, 1536), 0
		for n < size {
			m, err := s.conn.Read(b)
			if n += m; err != nil {
				t.Fatalf("read: got %v behind %d bytes, want %d and more", err, n, size)
			}
			time.Sleep(time.Second)
		}
		_ = c.Close()
		<-ended
	})
}
