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
// ctx ends. The time counts from began, when the attempt came, so that it does
// not tell how long the check took, which depends on whether the name exists.
func (t *throttle) wait(ctx context.Context, source netip.Addr, began time.Time) {
	timer := time.NewTimer(time.Until(began.Add(t.note(source, time.Now()))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (t *throttle) note(source netip.Addr, now time.Time) time.Duration {
	source = source.Unmap() // or all of IPv4 would be one /56
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

// evict makes room: everything old goes, or else a quarter, whatever comes
// first, so that a flood of sources does not pay for a walk each time.
func (t *throttle) evict(now time.Time) {
	for p, f := range t.fails {
		if now.Sub(f.last) > throttleForget {
			delete(t.fails, p)
		}
	}
	for p := range t.fails {
		if len(t.fails) <= throttleTable*3/4 {
			return
		}
		delete(t.fails, p)
	}
}
