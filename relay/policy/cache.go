package policy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// maxFound and maxMissing bound the cache. Names that do not exist have a
	// bound of their own, so that a flood of them pushes out nothing useful.
	maxFound   = 4096
	maxMissing = 1024
	// maxLookups bounds the lookups under way, and with it sockets and
	// goroutines. Callers beyond it wait, each within its own time limit.
	maxLookups = 256

	minTTL      = time.Second
	maxTTL      = 5 * time.Minute
	negativeTTL = 5 * time.Second
	// sampled is how many entries are looked at to find one to evict.
	sampled = 8
)

// lookupFunc resolves a name and says for how long the answer holds. An error
// that is ErrNotFound is an answer too.
type lookupFunc func(ctx context.Context, name string) ([]netip.Addr, time.Duration, error)

// cache remembers answers and joins callers who ask for the same name at the
// same time.
type cache struct {
	ask     lookupFunc
	timeout time.Duration // of one lookup
	slots   chan struct{} // one token per lookup under way

	mu      sync.Mutex
	found   store
	missing store
	flights map[string]*flight // at most maxLookups
}

// flight is one lookup under way. waiting is guarded by cache.mu; addrs and
// err are set before done is closed.
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	addrs   []netip.Addr
	err     error
}

func newCache(ask lookupFunc, timeout time.Duration) *cache {
	return &cache{
		ask:     ask,
		timeout: timeout,
		slots:   make(chan struct{}, maxLookups),
		found:   store{limit: maxFound, entries: make(map[string]*entry)},
		missing: store{limit: maxMissing, entries: make(map[string]*entry)},
		flights: make(map[string]*flight),
	}
}

// lookup returns the addresses of a name, which the caller must not change. It
// returns when ctx ends; a lookup that others wait for goes on without it.
func (c *cache) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, f, err := c.join(name, false)
	if f != nil {
		return c.wait(ctx, name, f)
	}
	if addrs != nil || err != nil {
		return addrs, err
	}
	// The slot is taken before the flight is known to others: a caller that
	// waits for one holds nothing but its own goroutine.
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	addrs, f, err = c.join(name, true)
	if f == nil {
		return addrs, err
	}
	return c.wait(ctx, name, f)
}

// join returns what is known about a name, or the lookup under way for it with
// the caller counted in. With haveSlot it starts one if there is none, which
// then owns the slot; otherwise it gives the slot back.
func (c *cache) join(name string, haveSlot bool) ([]netip.Addr, *flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addrs, f, err := c.known(name)
	switch {
	case f != nil:
		f.waiting++
	case addrs == nil && err == nil && haveSlot:
		return nil, c.start(name), nil
	}
	if haveSlot {
		<-c.slots
	}
	return addrs, f, err
}

func (c *cache) known(name string) ([]netip.Addr, *flight, error) {
	now := time.Now()
	if e := c.found.get(name, now); e != nil {
		return e.addrs, nil, nil
	}
	if e := c.missing.get(name, now); e != nil {
		return nil, nil, ErrNotFound
	}
	return nil, c.flights[name], nil
}

func (c *cache) start(name string) *flight {
	// A name may be a part of a whole request, which the cache must not keep.
	name = strings.Clone(name)
	// Not the caller's context: the answer is for whoever waits.
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	f := &flight{waiting: 1, cancel: cancel, done: make(chan struct{})}
	c.flights[name] = f
	go c.fly(ctx, name, f)
	return f
}

// fly is the goroutine of a lookup. Those who wait for it own it: the last of
// them to leave cancels it.
func (c *cache) fly(ctx context.Context, name string, f *flight) {
	addrs, ttl, err := c.ask(ctx, name)
	if err == nil && len(addrs) == 0 {
		err = ErrNotFound
	}
	f.addrs, f.err = addrs, err
	f.cancel()

	c.mu.Lock()
	now := time.Now()
	switch {
	case err == nil:
		c.found.put(name, &entry{addrs: addrs, until: now.Add(min(max(ttl, minTTL), maxTTL))}, now)
	case errors.Is(err, ErrNotFound):
		c.missing.put(name, &entry{until: now.Add(negativeTTL)}, now)
	}
	if c.flights[name] == f { // not if all have left and a new one took off
		delete(c.flights, name)
	}
	c.mu.Unlock()
	<-c.slots
	close(f.done)
}

func (c *cache) wait(ctx context.Context, name string, f *flight) ([]netip.Addr, error) {
	select {
	case <-f.done:
		return f.addrs, f.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	if last && c.flights[name] == f {
		// Whoever comes now gets a lookup that is not cancelled.
		delete(c.flights, name)
	}
	c.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
	return nil, ctx.Err()
}

// entry is one remembered answer. used says that somebody asked again.
type entry struct {
	addrs []netip.Addr
	until time.Time
	used  bool
}

// store is a map with a bound.
type store struct {
	limit   int
	entries map[string]*entry
}

func (s *store) get(name string, now time.Time) *entry {
	e := s.entries[name]
	if e == nil {
		return nil
	}
	if !now.Before(e.until) {
		delete(s.entries, name)
		return nil
	}
	e.used = true
	return e
}

// put remembers an answer. In a full store the place comes from a few entries
// chosen at random (the order of a map): one that has expired, or else one
// that nobody asked for again. If all of them are in use the newcomer is not
// kept. So a flood of random names replaces only itself, in constant time.
func (s *store) put(name string, e *entry, now time.Time) {
	if _, ok := s.entries[name]; !ok && len(s.entries) >= s.limit {
		victim, looked := "", 0
		for k, old := range s.entries {
			if !now.Before(old.until) {
				victim = k
				break
			}
			if victim == "" && !old.used {
				victim = k
			}
			if looked++; looked == sampled {
				break
			}
		}
		if victim == "" {
			return
		}
		delete(s.entries, victim)
	}
	s.entries[name] = e
}
