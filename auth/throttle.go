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
	// throttleWaiting is how many answers of one source may be outstanding.
	// Each holds a connection that has proved nothing: without a bound, wrong
	// passwords would use up what their source may have of those, and keep the
	// right ones of the same carrier out.
	throttleWaiting = 32
)

// throttle slows wrong attempts down, by source: the more of them, the later
// the answer. Sources are the keys of a bounded map and are forgotten.
type throttle struct {
	mu      sync.Mutex
	fails   map[netip.Prefix]failure
	waiting map[netip.Prefix]int
}

type failure struct {
	n    int
	last time.Time
}

func newThrottle() *throttle {
	return &throttle{fails: make(map[netip.Prefix]failure), waiting: make(map[netip.Prefix]int)}
}

// wait notes a wrong attempt and returns when its answer may be sent, or when
// ctx ends. The time counts from began, when the attempt came, so that it does
// not tell how long the check took, which depends on whether the name exists.
// With too many answers of the source outstanding this one waits only as long
// as a first one.
func (t *throttle) wait(ctx context.Context, source netip.Addr, began time.Time) {
	p := throttlePrefix(source)
	delay := t.note(p, time.Now())
	if t.enter(p) {
		defer t.leave(p)
	} else {
		delay = throttleFirst
	}
	timer := time.NewTimer(time.Until(began.Add(delay)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (t *throttle) enter(p netip.Prefix) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[p] >= throttleWaiting {
		return false
	}
	t.waiting[p]++
	return true
}

func (t *throttle) leave(p netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[p]--; t.waiting[p] == 0 {
		delete(t.waiting, p)
	}
}

func throttlePrefix(source netip.Addr) netip.Prefix {
	source = source.Unmap() // or all of IPv4 would be one /56
	bits := 32
	if source.Is6() {
		bits = 56
	}
	p, _ := source.Prefix(bits) // an invalid source is counted as one
	return p
}

func (t *throttle) note(p netip.Prefix, now time.Time) time.Duration {
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
