package auth

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottleDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice")
		wrong := func(source string) time.Duration {
			begin := time.Now()
			_, _ = w.Verify(t.Context(), "http", netip.MustParseAddr(source), "alice", "wrong")
			return time.Since(begin)
		}
		for i, want := range []time.Duration{250e6, 500e6, 1e9, 2e9, 4e9, 8e9, 8e9, 8e9} {
			if got := wrong(home.String()); got != want {
				t.Errorf("attempt %d: got %v, want %v", i+1, got, want)
			}
		}
		// A right one is never slowed, and makes the wrong ones no cheaper.
		begin := time.Now()
		w.verify("http", "alice")
		if d := time.Since(begin); d != 0 {
			t.Errorf("right one: got %v, want no delay", d)
		}
		for _, tt := range []struct {
			name, source string
			want         time.Duration
		}{
			{"right one in between", "192.0.2.1", 8 * time.Second},
			{"another source", "192.0.2.2", throttleFirst},
			{"the same, as a mapped address", "::ffff:192.0.2.1", 8 * time.Second},
			{"another mapped one", "::ffff:198.51.100.1", throttleFirst},
			{"IPv6", "2001:db8::1", throttleFirst},
			{"same /56", "2001:db8:0:ff::1", 2 * throttleFirst},
			{"another /56", "2001:db8:0:100::1", throttleFirst},
			{"with a zone", "2001:db8:0:ff::2%eth0", 4 * throttleFirst},
		} {
			if got := wrong(tt.source); got != tt.want {
				t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
			}
		}
		if _, err := w.Verify(t.Context(), "http", netip.Addr{}, "alice", "wrong"); err == nil {
			t.Error("no source: got success, want it refused")
		}
		time.Sleep(throttleForget + time.Second)
		if got := wrong(home.String()); got != throttleFirst {
			t.Errorf("later: got %v, want %v", got, throttleFirst)
		}
	})
}

func TestThrottleCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		th.wait(ctx, home, begin)
		if got := time.Since(begin); got != 100*time.Millisecond {
			t.Errorf("got %v, want the end of the context", got)
		}
		// The delay counts from when the attempt came.
		begin = time.Now()
		time.Sleep(300 * time.Millisecond)
		if th.wait(t.Context(), home, begin); time.Since(begin) != 500*time.Millisecond {
			t.Errorf("got %v, want %v", time.Since(begin), 500*time.Millisecond)
		}
		// Those who wait do not wait for each other.
		begin = time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() { th.wait(t.Context(), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), begin) })
		}
		if wg.Wait(); time.Since(begin) != throttleFirst {
			t.Errorf("got %v for all, want %v", time.Since(begin), throttleFirst)
		}
	})
}

func TestThrottleIsBounded(t *testing.T) {
	th, now := newThrottle(), time.Now()
	for i := range 10 * throttleTable {
		th.note(throttlePrefix(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), now.Add(time.Duration(i)))
		if n := len(th.fails); n > throttleTable {
			t.Fatalf("got %d sources, want at most %d", n, throttleTable)
		}
	}
	if n := len(th.fails); n < throttleTable/2 {
		t.Errorf("got %d sources, want most of %d", n, throttleTable)
	}
	// What is old goes first and together.
	for i := len(th.fails); i < throttleTable; i++ {
		th.note(throttlePrefix(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)})), now)
	}
	th.note(throttlePrefix(home), now.Add(2*throttleForget))
	if n := len(th.fails); n != 1 {
		t.Errorf("got %d sources, want the new one alone", n)
	}
}

func BenchmarkThrottleFlood(b *testing.B) {
	th, now := newThrottle(), time.Now()
	i := 0
	for b.Loop() {
		i++
		th.note(throttlePrefix(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})), now)
	}
}

// Wrong passwords of one source hold a bounded number of connections for long.
func TestThrottleWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th, begin := newThrottle(), time.Now()
		for range 20 {
			th.note(throttlePrefix(home), begin)
		}
		var short, long atomic.Int32
		var wg sync.WaitGroup
		for range 3 * throttleWaiting {
			wg.Go(func() {
				th.wait(t.Context(), home, begin)
				switch time.Since(begin) {
				case throttleFirst:
					short.Add(1)
				case throttleMost:
					long.Add(1)
				}
			})
		}
		wg.Wait()
		if short.Load() != 2*throttleWaiting || long.Load() != throttleWaiting {
			t.Errorf("waits: got %d short and %d long, want %d and %d", short.Load(), long.Load(), 2*throttleWaiting, throttleWaiting)
		}
		if n := len(th.waiting); n != 0 {
			t.Errorf("sources that wait: got %d in the end, want 0", n)
		}
	})
}
