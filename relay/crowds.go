package relay

import (
	"container/list"
	"math/bits"
	"net/netip"
	"sync"
)

// crowded is how many there are of a neighbourhood, as bits, before somebody of another
// one takes the place of one of them: 4.
const crowded = 3

// crowds are lists of strangers by the neighbourhood that they come from. There are
// thousands in a flood: nobody is to be looked for among all of them.
type crowds struct {
	by    map[netip.Prefix]*crowd
	sizes [32]list.List // of *crowd, by the bits of their length
}

// crowd is those of a neighbourhood, in the order they came.
type crowd struct {
	list.List
	sized *list.Element // in sizes
	size  int           // the bits of its length
	alone *list.Element // see handshakes
}

// add puts v behind those of its neighbourhood.
func (c *crowds) add(from netip.Prefix, v any) *list.Element {
	in := c.by[from]
	if in == nil {
		in = new(crowd)
		if c.by == nil {
			c.by = make(map[netip.Prefix]*crowd)
		}
		c.by[from] = in
	}
	e := in.PushBack(v)
	c.place(in)
	return e
}

// remove ends add. A crowd of nobody is forgotten.
func (c *crowds) remove(from netip.Prefix, e *list.Element) {
	in := c.by[from]
	in.Remove(e)
	if c.place(in); in.Len() > 0 {
		return
	}
	if delete(c.by, from); len(c.by) == 0 {
		c.by = nil // a map does not shrink
	}
}

// place sees to it that a crowd is where it belongs in sizes, and nowhere, if it is empty.
func (c *crowds) place(in *crowd) {
	size := bits.Len(uint(in.Len()))
	if size == in.size {
		return
	}
	if in.sized != nil {
		c.sizes[in.size].Remove(in.sized)
		in.sized = nil
	}
	if in.size = size; size > 0 {
		in.sized = c.sizes[size].PushBack(in)
	}
}

// count is how many there are of a neighbourhood.
func (c *crowds) count(from netip.Prefix) int {
	if in := c.by[from]; in != nil {
		return in.Len()
	}
	return 0
}

// mostLooks is how many crowds of about the same size are looked at for the largest.
const mostLooks = 8

// largest is one of the largest crowds, if somebody of a neighbourhood may take a place
// of it: there have to be less of his own, by a quarter, or those of a flood would only
// take each other's. nil: there is none.
func (c *crowds) largest(from netip.Prefix) *crowd {
	for size := len(c.sizes) - 1; size >= crowded; size-- {
		var most *crowd
		looks := 0
		for e := c.sizes[size].Front(); e != nil && looks < mostLooks; e = e.Next() {
			if in := e.Value.(*crowd); most == nil || in.Len() > most.Len() {
				most = in
			}
			looks++
		}
		if most == nil {
			continue
		}
		if 4*c.count(from) > 3*most.Len() {
			return nil
		}
		return most
	}
	return nil
}

// other is one of the largest crowds of other neighbourhoods; nil: there is none.
func (c *crowds) other(from netip.Prefix) *crowd {
	own := c.by[from]
	for size := len(c.sizes) - 1; size > 0; size-- {
		for e := c.sizes[size].Front(); e != nil; e = e.Next() {
			if in := e.Value.(*crowd); in != own {
				return in
			}
		}
	}
	return nil
}

// neighbourhood is the network that an address is in, as far as that can be told.
func neighbourhood(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

// settled are the strangers whom the cover has, and who are through their handshake. They
// may stay for minutes without a word, so a few addresses could hold every place.
type settled struct {
	mu     sync.Mutex
	crowds crowds    // of *conn
	all    list.List // of *conn, in the order they came
}

// place is where a conn is in settled.
type place struct {
	near, all *list.Element
	left      bool // it was there, or has ended before it came
}

func (s *settled) enter(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.settled.all == nil && !c.settled.left {
		c.settled = place{near: s.crowds.add(neighbourhood(c.source), c), all: s.all.PushBack(c)}
	}
}

// leave is for good. It may be called more than once, and before enter.
func (s *settled) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c)
}

func (s *settled) remove(c *conn) {
	if c.settled.all != nil {
		s.crowds.remove(neighbourhood(c.source), c.settled.near)
		s.all.Remove(c.settled.all)
	}
	c.settled = place{left: true}
}

// displace ends the first one of a neighbourhood with many, for c, of whose own fewer are
// there by a quarter. Where no neighbourhood stands out it is the first of all, as web
// servers without room end who has nothing to say, but only for c of whose own there are
// few, with others who shake hands still. It reports whether there was one.
func (s *settled) displace(c *conn) bool {
	from := neighbourhood(c.source)
	others := c.srv.shaking.count(from)
	for first := s.first(from, others); first != nil; first = s.first(from, others) {
		if c.srv.sources.cut(first) {
			return true
		}
	}
	return false
}

// first takes the one whom displace ends.
func (s *settled) first(from netip.Prefix, others int) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *list.Element
	if in := s.crowds.largest(from); in != nil {
		e = in.Front()
	} else if others+s.crowds.count(from) < 1<<(crowded-1) {
		e = s.all.Front()
	}
	if e == nil {
		return nil
	}
	c := e.Value.(*conn)
	s.remove(c)
	return c
}

// displace ends a stranger for c, and reports whether there was one who has to make room.
func (s *Server) displace(c *conn) bool {
	done, over := s.sources.displace(c)
	return done || s.shaking.displace(c) || !over && s.settled.displace(c)
}
