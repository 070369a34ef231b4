package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var someAddrs = []netip.Addr{netip.MustParseAddr("1.1.1.1")}

func TestCacheTTL(t *testing.T) {
	tests := []struct {
		name string
		ttl  time.Duration
		err  error
		want time.Duration // how long the answer is kept
	}{
		{"as told", 30 * time.Second, nil, 30 * time.Second},
		{"at least", 0, nil, minTTL},
		{"at most", time.Hour, nil, maxTTL},
		{"not found", 0, ErrNotFound, negativeTTL},
		{"failed", 0, ErrResolve, 0},
		{"timed out", 0, ErrTimeout, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				c := newCache(func(context.Context, string) ([]netip.Addr, time.Duration, error) {
					asked++
					if tt.err != nil {
						return nil, 0, tt.err
					}
					return someAddrs, tt.ttl, nil
				}, time.Second)
				ask := func(want int) {
					t.Helper()
					if _, err := c.lookup(t.Context(), "a.example"); !errors.Is(err, tt.err) {
						t.Errorf("got %v, want %v", err, tt.err)
					}
					if asked != want {
						t.Errorf("questions: got %d, want %d", asked, want)
					}
				}
				ask(1)
				if tt.want > 0 {
					time.Sleep(tt.want - time.Millisecond)
					ask(1)
					time.Sleep(time.Millisecond)
				}
				ask(2)
			})
		})
	}
}

func TestCacheJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := newCache(func(ctx context.Context, _ string) ([]netip.Addr, time.Duration, error) {
			asked.Add(1)
			select {
			case <-time.After(time.Second):
				return someAddrs, time.Minute, nil
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			}
		}, 5*time.Second)
		var wg sync.WaitGroup
		// The first to ask, who started the lookup, leaves early.
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := c.lookup(ctx, "a.example"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who left: got %v, want its own deadline", err)
			}
			if d := time.Since(start); d != 100*time.Millisecond {
				t.Errorf("who left: waited %s, want 100ms", d)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				if addrs, err := c.lookup(t.Context(), "a.example"); err != nil || len(addrs) != 1 {
					t.Errorf("who stayed: got %v, %v, want the answer", addrs, err)
				}
			})
		}
		wg.Wait()
		if got := asked.Load(); got != 1 {
			t.Errorf("questions: got %d, want 1", got)
		}
	})
}

func TestCacheAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		c := newCache(func(ctx context.Context, _ string) ([]netip.Addr, time.Duration, error) {
			<-ctx.Done()
			ended++
			return nil, 0, ctx.Err()
		}, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.lookup(ctx, "a.example"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if ended != 1 || len(c.flights) != 0 || len(c.slots) != 0 {
			t.Errorf("left behind: %d lookups ended, %d known, %d slots taken; want 1, 0, 0", ended, len(c.flights), len(c.slots))
		}
	})
}

func TestCacheBoundsLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		c := newCache(func(context.Context, string) ([]netip.Addr, time.Duration, error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			running.Add(-1)
			return nil, 0, ErrNotFound
		}, time.Minute)
		var wg sync.WaitGroup
		var waited atomic.Int32
		for i := range 3 * maxLookups {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
				defer cancel()
				if _, err := c.lookup(ctx, fmt.Sprintf("n%d.example", i)); errors.Is(err, context.DeadlineExceeded) {
					waited.Add(1)
				}
			})
		}
		wg.Wait()
		if most.Load() != maxLookups {
			t.Errorf("lookups at once: got %d, want %d", most.Load(), maxLookups)
		}
		if waited.Load() != maxLookups {
			t.Errorf("callers that waited in vain: got %d, want %d", waited.Load(), maxLookups)
		}
		synctest.Wait()
		if len(c.slots) != 0 || len(c.flights) != 0 {
			t.Errorf("left behind: %d slots, %d lookups", len(c.slots), len(c.flights))
		}
	})
}

func TestCacheFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(map[string]int)
		missing := false
		c := newCache(func(_ context.Context, name string) ([]netip.Addr, time.Duration, error) {
			asked[name]++
			if missing {
				return nil, 0, ErrNotFound
			}
			return someAddrs, maxTTL, nil
		}, time.Second)
		ask := func(name string) { _, _ = c.lookup(t.Context(), name) }
		const useful = 100
		for i := range useful {
			ask(fmt.Sprintf("useful%d.example", i))
			ask(fmt.Sprintf("useful%d.example", i))
		}
		for i := range 5 * maxFound {
			ask(fmt.Sprintf("random%d.example", i))
		}
		missing = true
		for i := range 5 * maxMissing {
			ask(fmt.Sprintf("missing%d.example", i))
		}
		missing = false
		if f, m := len(c.found.entries), len(c.missing.entries); f != maxFound || m != maxMissing {
			t.Errorf("kept: got %d found, %d missing, want %d, %d", f, m, maxFound, maxMissing)
		}
		for i := range useful {
			name := fmt.Sprintf("useful%d.example", i)
			if ask(name); asked[name] != 1 {
				t.Errorf("%s: asked %d times, want 1", name, asked[name])
			}
		}
		// When everything in it is in use, the store takes nothing more.
		for name := range c.found.entries {
			ask(name)
		}
		ask("late.example")
		if ask("late.example"); asked["late.example"] != 2 || len(c.found.entries) != maxFound {
			t.Errorf("full store: asked %d times with %d kept, want 2 with %d", asked["late.example"], len(c.found.entries), maxFound)
		}
		// And room comes back with time.
		time.Sleep(maxTTL)
		ask("late.example")
		if ask("late.example"); asked["late.example"] != 3 {
			t.Errorf("after the TTL: asked %d times, want 3", asked["late.example"])
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	c := newCache(func(context.Context, string) ([]netip.Addr, time.Duration, error) { return someAddrs, maxTTL, nil }, time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.lookup(b.Context(), "www.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
