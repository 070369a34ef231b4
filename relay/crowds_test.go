package relay

import (
	"net/netip"
	"testing"
)

// TestCrowdsLargest: whose place is taken does not depend on the order they came in.
func TestCrowdsLargest(t *testing.T) {
	for _, tt := range []struct {
		sizes [2]int
		own   int
		want  int // the size of the crowd; 0: none
	}{
		{[2]int{8, 15}, 7, 15}, {[2]int{15, 8}, 7, 15}, {[2]int{15, 8}, 11, 15}, {[2]int{15, 8}, 12, 0},
		{[2]int{4, 2}, 3, 4}, {[2]int{4, 2}, 4, 0}, {[2]int{3, 3}, 0, 0}, {[2]int{200, 130}, 0, 200},
	} {
		var c crowds
		add := func(from string, n int) {
			for range n {
				c.add(neighbourhood(netip.MustParseAddr(from)), n)
			}
		}
		add("192.0.2.1", tt.sizes[0])
		add("198.51.100.1", tt.sizes[1])
		add("203.0.113.1", tt.own)
		got := 0
		if in := c.largest(neighbourhood(netip.MustParseAddr("203.0.113.2"))); in != nil {
			got = in.Len()
		}
		if got != tt.want {
			t.Errorf("crowds of %v, for one of %d: got that of %d, want %d", tt.sizes, tt.own, got, tt.want)
		}
	}
}

// TestCrowdsForget: nothing is left of those who have gone.
func TestCrowdsForget(t *testing.T) {
	var c crowds
	type member struct {
		from  netip.Prefix
		leave func()
	}
	var all []member
	for i := range 300 {
		from := neighbourhood(netip.AddrFrom4([4]byte{192, 0, byte(i % 7), 1}))
		e := c.add(from, i)
		all = append(all, member{from, func() { c.remove(from, e) }})
	}
	for _, m := range all {
		m.leave()
	}
	left := 0
	for i := range c.sizes {
		left += c.sizes[i].Len()
	}
	if len(c.by) > 0 || left > 0 {
		t.Errorf("got %d neighbourhoods and %d in sizes, want none", len(c.by), left)
	}
}

// TestSettledLate: who has ended does not come back, though a word of his may be told of
// later than his end.
func TestSettledLate(t *testing.T) {
	var s settled
	late, early := new(conn), new(conn)
	s.leave(late)
	s.enter(late)
	s.enter(early)
	s.enter(early)
	s.leave(early)
	s.enter(early)
	if n := s.all.Len() + len(s.crowds.by); n != 0 {
		t.Errorf("settled: got %d, want none", n)
	}
}
