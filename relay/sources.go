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
	mu       sync.Mutex
	count    map[netip.Prefix]int
	waiting  list.List // of *conn, in the order they came
	surplus  list.List // those of them that were over the limit and may see the cover
	leaving  int       // borrowed by those who have made room, and not returned yet
	borrowed int       // by those of waiting
	units    crowds    // of *conn, once for each that is borrowed, by those of waiting
	limit    int       // per source; 0: none
	trusted  func(netip.Addr) bool
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
	for len(c.units) > 0 {
		s.returned(c)
	}
	c.units = nil
}

const (
	// mostBorrowed is what strangers may have borrowed together: a stream that is not
	// read takes some 50 kB, of buffers and stacks.
	mostBorrowed = 2048
	// fewBorrowed is what those of a neighbourhood may have borrowed and still take the
	// place of others, however little those have: what a browser loads a page with.
	fewBorrowed = 32
)

// borrow notes what c has borrowed; false: c has made room, or strangers have borrowed
// too much, and those of other neighbourhoods no more than of its own.
func (s *sources) borrow(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.evicted.Load() {
		return false
	}
	if c.place != nil {
		if s.borrowed >= mostBorrowed {
			last := s.borrower(c)
			if last == nil || s.leaving >= mostBorrowed {
				return false
			}
			s.end(last)
		}
		c.units = append(c.units, s.units.add(neighbourhood(c.source), c))
		s.borrowed++
	}
	c.borrowed++
	return true
}

// giveBack is the end of what borrow has noted.
func (s *sources) giveBack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.borrowed--
	if len(c.units) > 0 {
		s.returned(c)
	}
	if c.evicted.Load() {
		s.leaving--
	}
}

// returned is under mu.
func (s *sources) returned(c *conn) {
	last := len(c.units) - 1
	s.units.remove(neighbourhood(c.source), c.units[last])
	c.units = c.units[:last]
	s.borrowed--
}

// lent is what strangers have borrowed, and not returned yet.
func (s *sources) lent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.borrowed + s.leaving
}

// borrower is one of those who have borrowed, of another neighbourhood than c, who makes
// room for it; nil: there is none. Under mu.
func (s *sources) borrower(c *conn) *conn {
	from := neighbourhood(c.source)
	in := s.units.largest(from)
	if in == nil && s.units.count(from) < fewBorrowed {
		in = s.units.other(from)
	}
	if in == nil {
		return nil
	}
	return in.Front().Value.(*conn)
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
// was one: of those over their source's limit, of those that have borrowed, if that is a
// good part of all, or else the one that has waited longest. When a flood from many
// sources has taken every place, this is what lets others in: whoever means it is through
// the opening in a few round trips, long before a place that is not used comes to the
// front of the queue. Who borrows, where much is lent already, and to his neighbourhood,
// only takes the room of those with more.
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
	most := mostBorrowed
	if limit := c.set.limits.Descriptors; limit > 0 {
		most = min(most, limit)
	}
	much := s.borrowed >= most/4
	may := !much || c.borrowed == 0 || s.units.count(neighbourhood(c.source)) < fewBorrowed
	var last *conn
	if may {
		last = first(&s.surplus, c)
	}
	if last == nil && much {
		last = s.borrower(c)
	}
	if last == nil && may {
		last = first(&s.waiting, c)
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

// cut ends c, unless it has proved something by now or has ended, and reports which.
func (s *sources) cut(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.place == nil {
		return false
	}
	s.end(c)
	return true
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
