package vless

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// A session that nobody reads holds the others up for a time, and is ended. Those that
// begin meanwhile have another stream.
func TestClientMuxStall(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		slow, other := s.dial("93.184.216.34:443"), s.dial("93.184.216.35:443")
		_, _ = io.WriteString(slow, "ask")
		_, _ = io.WriteString(other, "ask")
		far := s.end()
		sent := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(sent)
			_, _ = io.WriteString(far, answer)
			for range mostAhead/pieceSize + 1 {
				_, _ = io.WriteString(far, keep(1, repeat("s", pieceSize)))
			}
			_, _ = io.WriteString(far, keep(2, "for the other"))
		}()
		synctest.Wait()
		third := s.dial("93.184.216.36:443")
		_, _ = io.WriteString(third, "ask")
		synctest.Wait()
		if n := len(s.firsts); n != 2 {
			t.Errorf("a session beside one that is held up: got %d streams, want 2", n)
		}
		b := make([]byte, 100)
		n, err := other.Read(b)
		if took := time.Since(began); string(b[:n]) != "for the other" || err != nil || took != holdTime {
			t.Errorf("beside one that nobody reads: got %q, %v after %v, want it after %v", b[:n], err, took, holdTime)
		}
		<-sent
		if _, err := io.ReadAll(slow); !errors.Is(err, errStalled) {
			t.Errorf("the one that nobody read: got %v, want %v", err, errStalled)
		}
		fourth := s.dial("93.184.216.37:443")
		_, _ = io.WriteString(fourth, "ask")
		synctest.Wait()
		if n := len(s.firsts); n != 2 {
			t.Errorf("a session after that: got %d streams, want 2", n)
		}
		for _, c := range []transport.Conn{slow, other, third, fourth} {
			_ = c.Close()
		}
		if n := s.d.ahead.Load(); n != 0 {
			t.Errorf("waiting in the queues of no session: got %d bytes, want none", n)
		}
	})
}

// A stream whose write goes on for long gets no more sessions, up to a number of streams.
func TestClientMuxBusy(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		var open []transport.Conn
		for i := range mostSpread + 2 {
			c := s.dial("93.184.216.34:443")
			open = append(open, c)
			go func() { _, _ = c.Write(make([]byte, 1<<20)) }()
			time.Sleep(2 * busyTime)
			synctest.Wait()
			if got, want := len(s.firsts), min(i+1, mostSpread); got != want {
				t.Errorf("session %d: got %d streams, want %d", i, got, want)
			}
		}
		for _, c := range open {
			_ = c.Close()
		}
	})
}

// Alone is one session in the life of a stream.
func TestClientMuxAlone(t *testing.T) {
	shared(t, 8, func(t *testing.T, s *sharing) {
		alone := true
		s.d.Alone = func() bool { return alone }
		var open []transport.Conn
		for i, want := range []int{1, 2, 3, 4, 4} {
			alone = i < 3
			c := s.dial("93.184.216.34:443")
			_, _ = io.WriteString(c, "ask")
			open = append(open, c)
			synctest.Wait()
			if got := len(s.firsts); got != want {
				t.Errorf("session %d: got %d streams, want %d", i, got, want)
			}
		}
		_ = open[0].Close()
		synctest.Wait()
		if _, err := io.ReadAll(s.ends[0]); err != nil {
			t.Errorf("the stream of a session that has ended: got %v, want its end", err)
		}
		for _, c := range open[1:] {
			_ = c.Close()
		}
	})
}
