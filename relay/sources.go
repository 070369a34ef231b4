package relay

import (
	"net/netip"
	"sync"

	"relay/transport"
)

// sources counts, by source, the connections that have not proved anything
// yet. Its size is bounded by the number of such connections. Carrier NAT puts
// thousands of users behind one address: that is why a connection leaves the
// count as soon as it is authenticated.
type sources struct {
	mu      sync.Mutex
	count   map[netip.Prefix]int
	limit   int // per source; 0: none
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
func (s *sources) enter(a netip.Addr) bool {
	p := transport.SourcePrefix(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[p]
	if s.limit > 0 && n >= s.limit && (s.trusted == nil || !s.trusted(a)) {
		return false
	}
	s.count[p] = n + 1
	return true
}

func (s *sources) leave(a netip.Addr) {
	p := transport.SourcePrefix(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.count[p]; n > 1 {
		s.count[p] = n - 1
	} else {
		delete(s.count, p)
	}
}
