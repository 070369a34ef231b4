package auth

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	throttleFirst  = 250 * time.Millisecond
	throttleMost   = 8 * time.Second
	throttleForget = 5 * time.Minute
	throttleTable  = 8192
)

// throttle slows wrong attempts down, by source: the more of them, the later
// the answer. Sources are the keys of a bounded map and are forgotten.
type throttle struct {
	mu    sync.Mutex
	fails map[netip.Prefix]failure
}

type failure struct {
	n    int
	last time.Time
}

func newThrottle() *throttle { return &throttle{fails: make(map[netip.Prefix]failure)} }

// wait notes a wrong attempt and returns when its answer may be sent, or when
// ctx ends.
func (t *throttle) wait(ctx context.Context, source netip.Addr) {
	timer := time.NewTimer(t.note(source, time.Now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (t *throttle) note(source netip.Addr, now time.Time) time.Duration {
	bits := 32
	if source.Is6() {
		bits = 56
	}
	p, _ := source.Prefix(bits) // an invalid source is counted as one
	t.mu.Lock()
	defer t.mu.Unlock()
	f, known := t.fails[p]
	if known && now.Sub(f.last) > throttleForget {
		f.n = 0
	}
	if !known && len(t.fails) >= throttleTable {
		t.evict(now)
	}
	f.n, f.last = min(f.n+1, 16), now
	t.fails[p] = f
	return min(throttleFirst<<(f.n-1), throttleMost)
}

// evict makes room: everything old, or else whatever comes first.
func (t *throttle) evict(now time.Time) {
	for p, f := range t.fails {
		if now.Sub(f.last) > throttleForget {
			delete(t.fails, p)
		}
	}
	for p := range t.fails {
		if len(t.fails) < throttleTable {
			return
		}
		delete(t.fails, p)
	}
}
