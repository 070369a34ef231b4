package relay

import (
	"container/list"
	"maps"
	"net/netip"
	"sync"

	"relay/transport"
)

// sources knows the connections that have not proved anything yet, counts them
// by source, and finds the one that has waited longest. Its size is bounded by
// their number. Carrier NAT puts thousands of users behind one address: that is
// why a connection leaves the count as soon as it is authenticated.
type sources struct {
	mu      sync.Mutex
	count   map[netip.Prefix]int
	waiting list.List // of *conn, in the order they came
	limit   int       // per source; 0: none
	trusted func(netip.Addr) bool
}

func newSources() *sources { return &sources{count: make(map[netip.Prefix]int)} }

// set changes the limits for connections to come.
func (s *sources) set(limit int, trusted func(netip.Addr) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.trusted = limit, trusted
}

// enter counts a connection; false says that its source has too many. leave
// must be called once for every enter that returned true.
func (s *sources) enter(c *conn) bool {
	p := transport.SourcePrefix(c.source)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[p]
	if s.limit > 0 && n >= s.limit && (s.trusted == nil || !s.trusted(c.source)) {
		return false
	}
	s.count[p] = n + 1
	c.place = s.waiting.PushBack(c)
	return true
}

func (s *sources) leave(c *conn) {
	p := transport.SourcePrefix(c.source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.count[p]; n > 1 {
		s.count[p] = n - 1
	} else {
		delete(s.count, p)
	}
	s.forget(c)
}

// forget takes c off the queue; under mu.
func (s *sources) forget(c *conn) {
	if c.place != nil {
		s.waiting.Remove(c.place)
		c.place = nil
	}
}

// trim gives up what the count does not need any more.
func (s *sources) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count = maps.Collect(maps.All(s.count))
}

// join notes that a connection which stays in the count, a stranger's, is going
// to the splice core: raw is not to be touched any more.
func (s *sources) join(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.joined = true
}

// evict ends the connection that has waited longest without proving
// anything, unless that is c, and reports whether there was one. When a flood
// from many sources has taken every place, this is what lets others in: whoever
// means it is through the opening in a few round trips, long before a place
// that is not used comes to the front of the queue.
func (s *sources) evict(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.waiting.Front()
	if e == nil || e.Value == any(c) {
		return false
	}
	old := e.Value.(*conn)
	s.forget(old)
	old.evicted.Store(true)
	if old.joined {
		old.cut.cut(errEvicted)
		return true
	}
	// Under mu: once it has left, raw is not ours to touch.
	transport.Interrupt(old.raw)
	return true
}
