package interop

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestEntryStalled has a stream on each WebSocket whose target takes nothing, or whose
// program takes nothing: those beside it go on, and so does what they share.
func TestEntryStalled(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, c := range []struct {
		name   string
		target func(c *net.TCPConn, over chan struct{})
		stall  func(c net.Conn)
	}{
		{"up", func(c *net.TCPConn, over chan struct{}) {
			_ = c.SetReadBuffer(4 << 10)
			<-over
		}, pour},
		{"down", func(c *net.TCPConn, _ chan struct{}) { pour(c) }, func(net.Conn) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newExit(t)
			censor := newCensor(t, e.addr, censorRules{})
			via := entry(t, upstream(e.link(t, "ws", censor.addr)), "").proxy("socks5")
			// It shares the WebSocket, and stays.
			echoes := listen(t, echo)
			beside := dialVia(t, via, echoes)
			defer beside.Close()
			if err := roundTrip(beside, "hello", 5*time.Second); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			defer close(over)
			stalled := dialVia(t, via, listen(t, func(far *net.TCPConn) { c.target(far, over) }))
			defer stalled.Close()
			go c.stall(stalled)
			var longest time.Duration
			for i := range 40 {
				began := time.Now()
				if err := roundTrip(beside, fmt.Sprint(i), 10*time.Second); err != nil {
					t.Fatalf("beside a stream that stands still, at %d: %v", i, err)
				}
				other, err := tryVia(via, echoes)
				if err == nil {
					err = roundTrip(other, "hello", 5*time.Second)
					_ = other.Close()
				}
				if err != nil {
					t.Errorf("a new stream, at %d: %v", i, err)
				}
				longest = max(longest, time.Since(began))
				pause(t, 250*time.Millisecond)
			}
			if longest > noticeTime+slowMachine {
				t.Errorf("beside a stream that stands still: got an answer after %v, want it within %v", longest, noticeTime)
			}
			t.Logf("at most %v beside a stream that stands still; connections: %d", longest, len(censor.seen()))
		})
	}
}

// pour writes as long as somebody takes it.
func pour(c net.Conn) {
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// TestEntryUnread has forty paused downloads, of which each has more to come than all
// windows hold: another stream goes on beside them.
func TestEntryUnread(t *testing.T) {
	integration(t)
	const (
		paused   = 40
		small    = 100_000
		mostHeld = 64<<20 + 5*15<<20 // set aside, and the windows of five connections
	)
	e, o := newExit(t), startOrigin(t, false)
	r := entry(t, upstream(e.link(t, "xhttp", e.addr)), "")
	via := r.proxy("socks5")
	before, target := r.rss(t), listen(t, func(c *net.TCPConn) { pour(c) })
	for range paused {
		c := dialVia(t, via, target)
		defer c.Close()
		_ = c.SetReadBuffer(4 << 10)
	}
	client := manyRequests(via)
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); {
		began := time.Now()
		if err := request(t, client, 2*noticeTime, "GET", fmt.Sprintf("http://%s/bytes/%d", o.addr, small), nil, whole(small)); err != nil {
			t.Errorf("beside downloads that nobody reads: %v", err)
		}
		rss := r.rss(t) - before
		t.Logf("%d bytes after %v, beside %d MiB", small, time.Since(began), rss>>20)
		if rss > 2*mostHeld { // with what is collected late
			t.Errorf("memory for %d downloads that nobody reads: got %d MiB, want at most %d", paused, rss>>20, 2*mostHeld>>20)
		}
		pause(t, time.Second)
	}
}

// TestEntrySlow has a target that takes 50 kB/s of an upload in a WebSocket: it goes on,
// and streams that begin meanwhile do not wait for it.
func TestEntrySlow(t *testing.T) {
	integration(t)
	t.Parallel()
	const (
		lasts = 14 * time.Second // longer than whoever takes nothing is waited for
		late  = 6 * time.Second  // of it
		rate  = 50_000
	)
	e := newExit(t)
	via := entry(t, upstream(e.link(t, "ws", e.addr)), "").proxy("socks5")
	var took atomic.Int64
	over := make(chan struct{})
	defer close(over)
	slow := dialVia(t, via, listen(t, func(c *net.TCPConn) {
		_ = c.SetReadBuffer(256 << 10) // less than some frames of loopback would stall by itself
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for b := make([]byte, rate/10); ; {
			n, err := io.ReadFull(c, b)
			if took.Add(int64(n)); err != nil {
				return
			}
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	}))
	defer slow.Close()
	go pour(slow)
	pause(t, time.Second) // until it is known to hold others up
	echoes := listen(t, echo)
	var before int64
	for began := time.Now(); time.Since(began) < lasts; pause(t, 500*time.Millisecond) {
		if before == 0 && time.Since(began) > lasts-late {
			before = took.Load()
		}
		c := dialVia(t, via, echoes)
		if err := roundTrip(c, "hello", noticeTime); err != nil {
			t.Errorf("a stream that begins beside a slow one: %v", err)
		}
		_ = c.Close()
	}
	if n := took.Load() - before; n < rate*int64(late/time.Second)/2 {
		t.Errorf("the slow target: got %d bytes in the last %v, want that it goes on", n, late)
	}
}
