package web

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"relay/transport"
)

// held is what all downloads hold that nobody has read.
func (d *dialled) held() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.downloads {
		unread, _, _ := s.Held()
		n += unread
	}
	return n
}

// TestClientManyUnread has forty paused downloads, of which each would close most of a
// connection's window: another stream goes on, some of them can, and what is held of
// them is bounded.
func TestClientManyUnread(t *testing.T) {
	const paused, size, small = 40, 8 << 20, 100_000
	d := newDialled(t, ModeStreamOne, joined(func(c transport.Conn) {
		defer c.Close()
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		n := small
		if b[0] == 'x' {
			n = size
		}
		_, _ = c.Write(make([]byte, n))
	}))
	get := func(when string) {
		t.Helper()
		began := time.Now()
		c := d.open(t, "y")
		_ = c.SetReadDeadline(began.Add(15 * time.Second))
		n, err := io.Copy(io.Discard, c)
		if n != small || err != nil {
			t.Errorf("%s: got %d bytes and %v, want %d", when, n, err, small)
		}
		t.Logf("%s: %d bytes after %v, beside %d MiB, of %d connections", when, n, time.Since(began), d.held()>>20, d.conns.Load())
	}
	var all []transport.Conn
	var longest time.Duration
	for range paused {
		began := time.Now()
		c := d.open(t, "x")
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("a download's first byte: got %v", err)
		}
		all = append(all, c)
		longest = max(longest, time.Since(began))
	}
	if longest > 2*unreadTime {
		t.Errorf("the first byte of one of them took %v, want at most %v", longest, 2*unreadTime)
	}
	const most = mostAside + mostAlive*15<<20
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); time.Sleep(time.Second) {
		get("while they come")
		if n := d.held(); n > most {
			t.Errorf("got %d bytes of downloads that nobody reads, want at most %d", n, most)
		}
	}
	began := time.Now()
	get("when they stand")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a stream beside them took %v, want at most 3s", took)
	}
	// Whoever goes on has the rest, or an error.
	var mu sync.Mutex
	var whole, ended int
	var reading sync.WaitGroup
	for _, c := range all {
		reading.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
			n, err := io.Copy(io.Discard, c)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errUnread):
				ended++
			case err == nil && n == size-1:
				whole++
			default:
				t.Errorf("a download that goes on: got %d bytes and %v", n, err)
			}
		})
	}
	reading.Wait()
	if whole < mostAside/(6<<20)-1 || ended == 0 {
		t.Errorf("of %d downloads got %d whole and %d ended, want as many as there is room for", paused, whole, ended)
	}
	t.Logf("%d whole, %d ended", whole, ended)
}
