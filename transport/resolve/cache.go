package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// minTTL and maxTTL bound how long an answer counts as new. Who moves a relay
	// waits for the longer one, and Expire does not.
	minTTL = 10 * time.Second
	maxTTL = time.Hour
	// negativeTTL is how long nobody is asked again after nobody had an answer.
	negativeTTL = 5 * time.Second
	// staleFor is how long an old answer is better than none. Addresses outlive
	// their TTL, and whoever blocks a resolver blocks it for longer than that.
	staleFor = 24 * time.Hour
	// staleAfter is how long a caller waits for a new answer where there is an old one
	// (RFC 8767, Section 5, has 1.8 s).
	staleAfter = time.Second
	// defaultLimit is what one resolver may take: three round trips and a slow server.
	defaultLimit = 3 * time.Second
	// maxNames bounds the names that are kept; a configuration has a few dozen.
	maxNames = 256
)

// Cache asks resolvers in order, each for at most its share of time, and remembers
// what they said. A name is asked for once, however many wait for it. It is a
// Resolver, and the one that dialers use.
type Cache struct {
	resolvers []Resolver
	limit     time.Duration
	flying    sync.WaitGroup

	mu     sync.Mutex
	names  map[string]*entry // at most maxNames
	closed bool
}

// entry is what is known of a name. All of it is guarded by the cache's mu.
type entry struct {
	answer Answer
	asked  time.Time // when answer came; zero: there is none
	until  time.Time // nobody is asked before
	err    error     // of the last lookup
	flight *flight   // the lookup under way
}

// flight is a lookup under way. What it has found is set before done is closed.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{}
	answer Answer
	err    error
}

// NewCache returns a Cache. limit is how long each resolver may take; 0 means 3 s.
// Whoever makes one closes it.
func NewCache(limit time.Duration, resolvers ...Resolver) *Cache {
	if limit == 0 {
		limit = defaultLimit
	}
	return &Cache{resolvers: resolvers, limit: limit, names: make(map[string]*entry)}
}

// Lookup implements Resolver. An address is its own answer and nobody is asked. An
// answer that is too old is returned too if no resolver has a new one soon.
func (c *Cache) Lookup(ctx context.Context, name string) (Answer, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return Answer{Addrs: []netip.Addr{a.Unmap()}, TTL: maxTTL}, nil
	}
	name, err := clean(name)
	if err != nil {
		return Answer{}, err
	}
	old, f, err := c.join(name)
	if f == nil {
		return old, err
	}
	var late <-chan time.Time
	if old.Addrs != nil {
		t := time.NewTimer(staleAfter)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-f.done:
		if f.err != nil && old.Addrs != nil {
			return old, nil
		}
		return f.answer, f.err
	case <-late:
		return old, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// join returns what is known of a name, and the lookup to wait for where that is not
// enough.
func (c *Cache) join(name string) (Answer, *flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	e := c.names[name]
	if e == nil {
		e = c.add(name, now)
	}
	if e == nil || c.closed {
		return Answer{}, nil, fmt.Errorf("%w: too many names at once, or the relay stops", ErrFailed)
	}
	var old Answer
	if !e.asked.IsZero() && now.Sub(e.asked) < staleFor {
		old = e.answer
	}
	if now.Before(e.until) {
		if old.Addrs != nil {
			return old, nil, nil
		}
		return Answer{}, nil, e.err
	}
	if e.flight == nil {
		// Not the caller's context: the answer is for whoever waits.
		ctx, cancel := context.WithCancel(context.Background())
		f := &flight{cancel: cancel, done: make(chan struct{})}
		e.flight = f
		c.flying.Go(func() { c.fly(ctx, name, e, f) })
	}
	return old, e.flight, nil
}

// add makes room for a name: an entry that nobody waits for gives way, the one that
// was asked for longest ago. nil: there is none.
func (c *Cache) add(name string, now time.Time) *entry {
	if len(c.names) >= maxNames {
		victim := ""
		for n, e := range c.names {
			if e.flight == nil && (victim == "" || e.until.Before(c.names[victim].until)) {
				victim = n
			}
		}
		if victim == "" {
			return nil
		}
		delete(c.names, victim)
	}
	e := &entry{until: now}
	c.names[name] = e
	return e
}

// fly is the goroutine of a lookup; Close waits for it.
func (c *Cache) fly(ctx context.Context, name string, e *entry, f *flight) {
	f.answer, f.err = c.ask(ctx, name)
	f.cancel()
	c.mu.Lock()
	now := time.Now()
	e.flight, e.err = nil, f.err
	if f.err == nil {
		if f.answer.part && f.answer.ECH == nil && now.Sub(e.asked) < staleFor {
			// Perhaps the part with the list is missing, and without it a name would go
			// out that had been hidden.
			f.answer.ECH = e.answer.ECH
		}
		e.answer, e.asked = f.answer, now
		e.until = now.Add(min(max(f.answer.TTL, minTTL), maxTTL))
	} else {
		e.until = now.Add(negativeTTL)
	}
	c.mu.Unlock()
	close(f.done)
}

// ask asks the resolvers in order until one has an answer. That a name does not exist
// is no answer as long as there is another to ask: a censor's resolver says so too.
func (c *Cache) ask(ctx context.Context, name string) (Answer, error) {
	var all []error
	for i, r := range c.resolvers {
		share, cancel := context.WithTimeout(ctx, c.limit)
		a, err := r.Lookup(share, name)
		cancel()
		if err == nil && len(a.Addrs) == 0 {
			err = ErrNotFound
		}
		if err == nil {
			return a, nil
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = ErrTimeout
		}
		if len(c.resolvers) > 1 {
			err = fmt.Errorf("resolver %d: %w", i+1, err)
		}
		all = append(all, err)
	}
	switch len(all) {
	case 0:
		return Answer{}, fmt.Errorf("resolve: %w: there is none", ErrFailed)
	case 1:
		return Answer{}, fmt.Errorf("resolve: %w", all[0])
	}
	return Answer{}, fmt.Errorf("resolve: %w", several(all))
}

// several is the errors of several resolvers, on one line.
type several []error

// Error implements error.
func (s several) Error() string {
	text := s[0].Error()
	for _, err := range s[1:] {
		text += "; " + err.Error()
	}
	return text
}

// Unwrap has errors.Is find each of them.
func (s several) Unwrap() []error { return s }

// Expire has the next Lookup of a name ask again, for when none of its addresses
// could be reached. What is known stays as the answer if nobody has a new one. An
// answer is at least minTTL old by then: a dead upstream must not make a loop.
func (c *Cache) Expire(name string) {
	name, err := clean(name)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.names[name]; e != nil && e.err == nil && !e.asked.IsZero() {
		e.until = e.asked.Add(minTTL)
	}
}

// Close ends the lookups under way and waits for them. Lookups fail from then on.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true // no lookup begins once the waiting does
	for _, e := range c.names {
		if e.flight != nil {
			e.flight.cancel()
		}
	}
	c.mu.Unlock()
	c.flying.Wait()
}
