package h2_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 1<<20)
		s1 := open(t, c, request("POST", "/"), nil, false)
		s.opening()
		start := time.Now()
		_ = s1.SetDeadline(start.Add(3 * time.Second))
		if _, err := s1.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("Read: got %v after %v, want a time-out after 3 s", err, time.Since(start))
		}
		if err := s1.WaitRead(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("WaitRead: got %v, want a time-out", err)
		}
		// The window has 65535 bytes.
		_ = s1.SetDeadline(time.Now().Add(3 * time.Second))
		if n, err := s1.Write(make([]byte, 100000)); n != 65535 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: got %d, %v, want 65535 and a time-out", n, err)
		}
		if time.Since(start) != 6*time.Second {
			t.Errorf("time: got %v, want 6 s", time.Since(start))
		}
		_ = s1.SetDeadline(time.Time{})
		s.ok(s.WriteWindowUpdate(0, 100))
		s.ok(s.WriteWindowUpdate(1, 100))
		if n, err := s1.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Errorf("Write: got %d, %v, want 100", n, err)
		}
		// A deadline that is set while somebody waits.
		time.AfterFunc(time.Second, func() { _ = s1.SetDeadline(time.Now()) })
		if _, err := s1.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: got %v, want a time-out", err)
		}
		s.answer(1, false)
		s.ok(s.WriteData(1, true, []byte("x")))
		synctest.Wait()
		_ = s1.SetReadDeadline(time.Time{})
		if err := s1.WaitRead(); err != nil {
			t.Errorf("WaitRead: got %v, want nil", err)
		}
		read(t, s1, 1)
		if err := s1.WaitRead(); err != nil {
			t.Errorf("WaitRead at the end: got %v, want nil", err)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 1<<20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Open(ctx, request("POST", "/"), make([]byte, 70000), true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open: got %v, want a time-out", err)
		}
		s.opening()
		if f := until[*http2.RSTStreamFrame](s); f.ErrCode != http2.ErrCodeCancel {
			t.Errorf("RST_STREAM: got %v, want CANCEL", f)
		}
		if _, err := c.Open(ctx, request("GET", "/"), nil, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open: got %v, want a time-out", err)
		}
		ctx, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		s3 := open(t, c, request("GET", "/"), nil, true)
		if _, _, err := s3.Response(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Response: got %v, want a time-out", err)
		}
		if err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping: got %v, want a time-out", err)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("time: got %v, want 2 s", d)
		}
		// What waits ends with Close, too.
		time.AfterFunc(time.Second, func() { _ = s3.Close() })
		if _, err := s3.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: got %v, want net.ErrClosed", err)
		}
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		if !c.Sent().IsZero() {
			t.Errorf("Sent: got %v, want never", c.Sent())
		}
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			s.opening()
			for range 2 {
				f := until[*http2.PingFrame](s)
				time.Sleep(time.Second)
				_ = s.WritePing(true, [8]byte{9})
				_ = s.WritePing(true, f.Data)
			}
		})
		for range 2 {
			start := time.Now()
			if err := c.Ping(t.Context()); err != nil || time.Since(start) != time.Second {
				t.Errorf("Ping: got %v after %v, want an answer after 1 s", err, time.Since(start))
			}
			at, total := c.Heard()
			if time.Since(at) != 0 || total < 9+17 || c.Sent() != start {
				t.Errorf("Heard: got %v ago and %d, want now; Sent: got %v, want %v", time.Since(at), total, c.Sent(), start)
			}
		}
		wg.Wait()
		s.ok(s.WritePing(false, [8]byte{1, 2}))
		if f := until[*http2.PingFrame](s); !f.IsAck() || f.Data != [8]byte{1, 2} {
			t.Errorf("PING: got %v, want the answer", f)
		}
	})
}

// TestPingBehindRequest: after a silence a request has a PING behind its head, as
// Chrome's do, and none follows before it is answered.
func TestPingBehindRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		open(t, c, request("GET", "/"), nil, true)
		s.opening()
		until[*http2.HeadersFrame](s)
		for _, want := range []struct {
			wait time.Duration
			ping bool
		}{{10 * time.Second, false}, {1, true}, {time.Minute, false}} {
			time.Sleep(want.wait)
			open(t, c, request("GET", "/"), nil, true)
			synctest.Wait()
			until[*http2.HeadersFrame](s)
			_ = s.conn.SetReadDeadline(time.Now().Add(1))
			f, err := s.ReadFrame()
			if ping, ok := f.(*http2.PingFrame); ok != want.ping || ok && (ping.IsAck() || ping.Data != [8]byte{7: 1}) {
				t.Errorf("after %v more: got %v, %v, want a PING: %v", want.wait, f, err, want.ping)
			}
			_ = s.conn.SetReadDeadline(time.Time{})
		}
	})
}

// TestStalled: a connection that takes no byte for half a minute ends, and whoever has
// set a deadline need not wait for it.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 4<<10)
		s1 := open(t, c, request("POST", "/"), nil, false)
		s3 := open(t, c, request("POST", "/"), nil, false)
		start := time.Now()
		_ = s1.SetWriteDeadline(start.Add(time.Second))
		var err error
		for err == nil {
			_, err = s1.Write(make([]byte, 10000))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Write: got %v after %v, want a time-out after 1 s", err, time.Since(start))
		}
		for err = nil; err == nil; {
			_, err = s3.Write(make([]byte, 10000))
		}
		if d := time.Since(start); d < 30*time.Second || d > 41*time.Second || !strings.HasPrefix(err.Error(), "h2: write: ") {
			t.Errorf("Write: got %v after %v, want the connection to end after 30 s", err, d)
		}
		<-c.Done()
		_ = s
	})
}

// TestTurnGivenUp: whoever's turn it is to write may give up in the same moment; then
// it is the next one's.
func TestTurnGivenUp(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			c, s := newScript(t, 1<<20)
			s1, s3 := open(t, c, request("POST", "/"), make([]byte, 65535), false), open(t, c, request("POST", "/"), nil, false)
			s.ok(s.WriteWindowUpdate(1, 100))
			synctest.Wait()
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = s1.Write(make([]byte, 100)) })
			synctest.Wait()
			wg.Go(func() {
				_ = s3.SetWriteDeadline(time.Now().Add(time.Minute))
				if n, err := s3.Write(make([]byte, 100)); n != 100 || err != nil {
					t.Errorf("Write: got %d, %v, want 100", n, err)
				}
			})
			synctest.Wait()
			wg.Go(func() { _ = s.WriteWindowUpdate(0, 1000) })
			wg.Go(func() { _ = s1.SetWriteDeadline(time.Now()) })
			wg.Wait()
		})
	}
}
