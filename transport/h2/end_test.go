package h2_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"relay/transport/h2"
)

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		s1, s3, s5 := open(t, c, request("POST", "/"), nil, false), open(t, c, request("POST", "/"), nil, false), open(t, c, request("POST", "/"), nil, false)
		s.opening()
		s.answer(1, false)
		s.ok(s.WriteData(1, false, []byte("before")))
		s.ok(s.WriteRSTStream(1, http2.ErrCodeEnhanceYourCalm))
		b, err := io.ReadAll(s1)
		var reset *h2.ResetError
		if string(b) != "before" || !errors.As(err, &reset) || reset.Code != h2.EnhanceYourCalm {
			t.Errorf("Read: got %q and %v, want what came before, then the reset", b, err)
		}
		if _, err := s1.Write([]byte("x")); !errors.As(err, &reset) {
			t.Errorf("Write: got %v, want the reset", err)
		}
		// Refused streams may be opened elsewhere (RFC 9113, Section 8.7).
		s.ok(s.WriteRSTStream(3, http2.ErrCodeRefusedStream))
		if _, _, err := s3.Response(t.Context()); !errors.Is(err, h2.ErrUnprocessed) {
			t.Errorf("Response: got %v, want ErrUnprocessed", err)
		}
		// A whole answer to half a request (Section 8.1).
		s.answer(5, true)
		s.ok(s.WriteRSTStream(5, http2.ErrCodeNo))
		if status, _ := answer(t, s5); status != 200 {
			t.Errorf("answer: got %d, want 200", status)
		}
		synctest.Wait()
		if _, err := s5.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write: got %v, want EPIPE", err)
		}
		if got := c.Streams(); got != 0 {
			t.Errorf("Streams: got %d, want 0", got)
		}
	})
}

// TestClose: a stream that is closed is reset, unless it has ended.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		s1, s3 := open(t, c, request("GET", "/"), nil, true), open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.answer(1, true)
		answer(t, s1)
		_ = s1.Close()
		_ = s3.Close()
		if err := s3.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: got %v, want net.ErrClosed", err)
		}
		if f := until[*http2.RSTStreamFrame](s); f.StreamID != 3 || f.ErrCode != http2.ErrCodeCancel {
			t.Errorf("RST_STREAM: got %v, want CANCEL for 3", f)
		}
		if _, err := s3.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: got %v, want net.ErrClosed", err)
		}
		if _, err := s3.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: got %v, want net.ErrClosed", err)
		}
		if err := s3.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline: got %v, want net.ErrClosed", err)
		}
		// Frames that were on their way are no fault.
		s.answer(3, false)
		s.ok(s.WriteData(3, true, []byte("late")))
		s.ok(s.WriteWindowUpdate(3, 10))
		s.ok(s.WriteRSTStream(3, http2.ErrCodeNo))
		synctest.Wait()
		if err := c.Err(); err != nil {
			t.Errorf("Err: got %v, want nil", err)
		}
	})
}

// TestHalfClose: either half ends alone.
func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		up, down := open(t, c, request("POST", "/"), nil, false), open(t, c, request("POST", "/"), []byte("first"), false)
		s.opening()
		if f := until[*http2.DataFrame](s); string(f.Data()) != "first" || f.StreamEnded() {
			t.Errorf("DATA: got %q, want first", f.Data())
		}
		s.answer(1, true)
		if b, err := io.ReadAll(up); len(b) > 0 || err != nil {
			t.Errorf("Read: got %q, %v, want the end", b, err)
		}
		if _, err := up.Write([]byte("on")); err != nil {
			t.Errorf("Write: got %v, want nil", err)
		}
		if f := until[*http2.DataFrame](s); string(f.Data()) != "on" || f.StreamEnded() {
			t.Errorf("DATA: got %q, want on", f.Data())
		}
		for range 2 {
			if err := down.CloseWrite(); err != nil {
				t.Errorf("CloseWrite: got %v, want nil", err)
			}
		}
		if f := until[*http2.DataFrame](s); f.Length != 0 || !f.StreamEnded() || f.StreamID != 3 {
			t.Errorf("DATA: got %v, want the end of 3", f)
		}
		if _, err := down.Write([]byte("x")); err == nil {
			t.Error("Write after CloseWrite: got nil, want an error")
		}
		s.answer(3, false)
		s.ok(s.WriteData(3, false, []byte("still")))
		read(t, down, 5)
		s.ok(s.WriteData(3, true, nil))
		if n, err := down.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read: got %d, %v, want the end", n, err)
		}
		if got := c.Streams(); got != 1 {
			t.Errorf("Streams: got %d, want 1", got)
		}
	})
}

func TestGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		s1, s3 := open(t, c, request("GET", "/"), nil, true), open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.answer(1, false)
		s.ok(s.WriteGoAway(1, http2.ErrCodeNo, []byte("bye")))
		if _, _, err := s3.Response(t.Context()); !errors.Is(err, h2.ErrUnprocessed) {
			t.Errorf("Response: got %v, want ErrUnprocessed", err)
		}
		if c.Usable() || c.Room() != 0 {
			t.Error("Usable: got true, want false")
		}
		if _, err := c.Open(t.Context(), request("GET", "/"), nil, true); !errors.Is(err, h2.ErrUnprocessed) {
			t.Errorf("Open: got %v, want ErrUnprocessed", err)
		}
		if c.Err() != nil {
			t.Errorf("Err: got %v, want nil while a stream is open", c.Err())
		}
		s.ok(s.WriteData(1, true, []byte("rest")))
		if _, body := answer(t, s1); body != "rest" {
			t.Errorf("answer: got %q, want rest", body)
		}
		<-c.Done()
		var away *h2.GoAwayError
		if err := c.Err(); !errors.As(err, &away) || away.Code != h2.NoError {
			t.Errorf("Err: got %v, want the GOAWAY", err)
		}
	})
}

// TestLost: a connection that breaks off is no end of a stream.
func TestLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *script)
	}{
		{"end", func(s *script) { _ = s.conn.Close() }},
		{"within a frame", func(s *script) {
			_, _ = s.conn.Write([]byte("\x00\x00\x05\x00\x01\x00\x00\x00\x01ab"))
			_ = s.conn.CloseWrite()
		}},
		{"reset", func(s *script) { _ = s.conn.SetLinger(0); _ = s.conn.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newScript(t, 0)
				s1 := open(t, c, request("POST", "/"), nil, false)
				s.opening()
				s.answer(1, false)
				s.updates() // reads all
				tt.do(s)
				if _, err := io.ReadAll(s1); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("Read: got %v, want an error that is no end", err)
				}
				<-c.Done()
				if _, err := s1.Write([]byte("x")); err == nil {
					t.Error("Write: got nil, want an error")
				}
				if err := c.Ping(t.Context()); err == nil {
					t.Error("Ping: got nil, want an error")
				}
			})
		})
	}
}

// TestAbort: nothing waits for a connection that is cut.
func TestAbort(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *h2.Conn)
	}{
		{"Close", func(c *h2.Conn) { _ = c.Close() }},
		{"Abort", func(c *h2.Conn) { c.Abort() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newScript(t, 4<<10)
				s1 := open(t, c, request("POST", "/"), nil, false)
				time.AfterFunc(time.Second, func() { tt.do(c) })
				start := time.Now()
				var err error
				for err == nil {
					_, err = s1.Write(make([]byte, 10000))
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("Write: got %v after %v, want an error after 1 s", err, d)
				}
				if _, err := s1.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read: got %v, want net.ErrClosed", err)
				}
				<-c.Done()
				if !errors.Is(c.Err(), net.ErrClosed) {
					t.Errorf("Err: got %v, want net.ErrClosed", c.Err())
				}
			})
		})
	}
}

// TestRoom: streams are limited by what the peer says.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t)
		c := h2.NewConn(a, chrome())
		defer c.Close()
		if got := c.Room(); got != 100 {
			t.Errorf("at first: got %d, want 100", got)
		}
		fr := http2.NewFramer(b, nil)
		for _, tt := range []struct{ said, want int }{{2, 2}, {0, 0}, {100000, 256}, {1, 1}} {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(tt.said)})
			synctest.Wait()
			if got := c.Room(); got != tt.want {
				t.Errorf("at %d: got %d, want %d", tt.said, got, tt.want)
			}
		}
		s1 := open(t, c, request("GET", "/"), nil, true)
		if _, err := c.Open(t.Context(), request("GET", "/"), nil, true); err != h2.ErrBusy || !errors.Is(err, h2.ErrUnprocessed) || !c.Usable() {
			t.Errorf("Open: got %v, want ErrBusy", err)
		}
		_ = s1.Close()
		if got := c.Room(); got != 1 {
			t.Errorf("after Close: got %d, want 1", got)
		}
	})
}

// TestGoAwayThenEnd: the reason that the peer has given is the one that streams hear.
func TestGoAwayThenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		s1 := open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.answer(1, false)
		s.ok(s.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, nil))
		s.updates() // reads all
		_ = s.conn.Close()
		var away *h2.GoAwayError
		if _, err := io.ReadAll(s1); !errors.As(err, &away) || away.Code != h2.EnhanceYourCalm {
			t.Errorf("Read: got %v, want the GOAWAY", err)
		}
	})
}
