package relay

import (
	"container/list"
	"maps"
	"math/bits"
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
	waiting   list.List                    // of *conn, in the order they came
	surplus   list.List                    // those of them that were over the limit and may see the cover
	leaving   int                          // borrowed by those who have made room, and not returned yet
	borrowed  int                          // by those of waiting
	borrowers [bits.UintSize + 1]list.List // those of waiting that have borrowed, by the bits of how much
	limit     int                          // per source; 0: none
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
		s.borrowers[bits.Len(uint(c.borrowed))].Remove(c.borrower)
		c.borrower = nil
		s.borrowed -= c.borrowed
	}
}

const (
	// mostBorrowed is what strangers may have borrowed together: a stream that is not
	// read takes some 50 kB, of buffers and stacks, or 64 KiB of what was asked.
	mostBorrowed = 2048
	// manyBorrowed is what makes room before others do, as bits: 8 and more. A page is
	// loaded with a few.
	manyBorrowed = 4
)

// borrow notes what c has borrowed; false: c has made room, or strangers have borrowed
// too much, and nobody more than c.
func (s *sources) borrow(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.evicted.Load() {
		return false
	}
	if c.place != nil && s.borrowed >= mostBorrowed {
		most := s.borrower(bits.Len(uint(c.borrowed)))
		if most == nil || s.leaving >= mostBorrowed {
			return false
		}
		s.end(most)
	}
	s.note(c, 1)
	return true
}

// giveBack is the end of what borrow has noted.
func (s *sources) giveBack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(c, -1)
	if c.evicted.Load() {
		s.leaving--
	}
}

// lent is what strangers have borrowed, and not returned yet.
func (s *sources) lent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.borrowed + s.leaving
}

// note changes what c has borrowed; under mu.
func (s *sources) note(c *conn, by int) {
	before := bits.Len(uint(c.borrowed))
	c.borrowed += by
	if c.place == nil {
		return
	}
	s.borrowed += by
	now := bits.Len(uint(c.borrowed))
	if now == before {
		return
	}
	if c.borrower != nil {
		s.borrowers[before].Remove(c.borrower)
		c.borrower = nil
	}
	if now > 0 {
		c.borrower = s.borrowers[now].PushBack(c)
	}
}

// borrower is one of those who have borrowed most, and more than so many bits; nil:
// nobody has. Under mu.
func (s *sources) borrower(more int) *conn {
	for size := len(s.borrowers) - 1; size > more; size-- {
		if e := s.borrowers[size].Front(); e != nil {
			return e.Value.(*conn)
		}
	}
	return nil
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

// evict ends a connection that has proved nothing, and not c, and reports whether there
// was one: of those over their source's limit, of those that have borrowed much, or else
// the one that has waited longest. When a flood from many sources has taken every place,
// this is what lets others in: whoever means it is through the opening in a few round
// trips, long before a place that is not used comes to the front of the queue. Who has
// borrowed much himself only takes the room of those who have more.
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
	own := bits.Len(uint(c.borrowed))
	few := own < manyBorrowed
	last := s.borrower(max(own, manyBorrowed-1))
	if few {
		if over := first(&s.surplus, c); over != nil {
			last = over
		} else if last == nil {
			last = first(&s.waiting, c)
		}
	}
	if last == nil {
		return false
	}
	s.end(last)
	return true
}

// first is the first of a list, but for c; nil: there is none.
func first(l *list.List, c *conn) *conn {
	e := l.Front()
	if e != nil && e.Value == any(c) {
		e = e.Next()
	}
	if e == nil {
		return nil
	}
	return e.Value.(*conn)
}

// displace ends one that is over its source's limit, for a stranger who is not. over
// says that c is, who takes nobody's place.
func (s *sources) displace(c *conn) (done, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.over != nil {
		return false, true
	}
	e := s.surplus.Front()
	if e == nil {
		return false, false
	}
	s.end(e.Value.(*conn))
	return true, false
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
