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
	mu        sync.Mutex
	count     map[netip.Prefix]int
	waiting   list.List // of *conn, in the order they came
	surplus   list.List // those of them that were over the limit and may see the cover
	borrowers list.List // those of them that have borrowed descriptors, in the order they began to
	leaving   int       // descriptors borrowed by those who have made room, and not returned yet
	limit     int       // per source; 0: none
	trusted   func(netip.Addr) bool
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
//
// In front of a cover nobody is told: a web server knows no such limit, and the
// connection that is reset would be a mark. What is over the limit goes the way of
// all, is the first to make room for others, and there may be as much of it as
// there may be strangers; then the oldest of it goes.
func (s *sources) enter(c *conn, cover *Cover) bool {
	p := transport.SourcePrefix(c.source)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[p]
	if s.limit > 0 && n >= s.limit && (s.trusted == nil || !s.trusted(c.source)) {
		if cover == nil {
			return false
		}
		if cover.Connections > 0 && s.surplus.Len() >= cover.Connections {
			s.end(s.surplus.Front().Value.(*conn))
		}
		c.over = s.surplus.PushBack(c)
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
	if c.over != nil {
		s.surplus.Remove(c.over)
		c.over = nil
	}
	if c.borrower != nil {
		s.borrowers.Remove(c.borrower)
		c.borrower = nil
	}
}

// borrow notes a descriptor that c has borrowed; false: c has made room.
func (s *sources) borrow(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.evicted.Load() {
		return false
	}
	if c.borrowed++; c.borrower == nil && c.place != nil {
		c.borrower = s.borrowers.PushBack(c)
	}
	return true
}

// giveBack is the end of what borrow has noted.
func (s *sources) giveBack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.borrowed--; c.borrowed == 0 && c.borrower != nil {
		s.borrowers.Remove(c.borrower)
		c.borrower = nil
	}
	if c.evicted.Load() {
		s.leaving--
	}
}

// trim gives up what the count does not need any more.
func (s *sources) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count = maps.Collect(maps.All(s.count))
}

// join notes that a connection which stays in the count, a stranger's, is going
// to the splice core: raw is not to be touched any more. False: it has made room.
func (s *sources) join(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.joined = !c.evicted.Load()
	return c.joined
}

// evict ends the connection that has waited longest without proving anything, first
// of all among those over their source's limit and those that have borrowed, but not
// c, and reports whether there was one. When a flood from many sources has taken every
// place, this is what lets others in: whoever means it is through the opening in a few
// round trips, long before a place that is not used comes to the front of the queue.
func (s *sources) evict(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evictLocked(c)
}

// spare is evict where n descriptors are missing: nobody has to make room for those
// that are being returned.
func (s *sources) spare(c *conn, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n <= int64(s.leaving) || s.evictLocked(c)
}

func (s *sources) evictLocked(c *conn) bool {
	for _, l := range [...]*list.List{&s.surplus, &s.borrowers, &s.waiting} {
		e := l.Front()
		if e != nil && e.Value == any(c) {
			e = e.Next()
		}
		if e != nil {
			s.end(e.Value.(*conn))
			return true
		}
	}
	return false
}

// displace ends one that is over its source's limit, for a stranger who is not.
func (s *sources) displace(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.surplus.Front()
	if c.over != nil || e == nil {
		return false
	}
	s.end(e.Value.(*conn))
	return true
}

// cut ends c, unless it has proved something by now.
func (s *sources) cut(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.place != nil {
		s.end(c)
	}
}

// end resets a connection that has proved nothing; under mu, as raw is not ours
// to touch once it has left.
func (s *sources) end(c *conn) {
	s.forget(c)
	c.evicted.Store(true)
	s.leaving += c.borrowed
	if c.joined {
		c.cut.cut(errEvicted)
		return
	}
	transport.Interrupt(c.raw)
}
