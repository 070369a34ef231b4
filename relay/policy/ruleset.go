package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// ports is the set of ports that some rules about one host add up to.
type ports struct {
	any    bool        // a rule without a port
	ranges []portRange // sorted, disjoint
}

// match is how a rule set answers about a host and a port.
type match struct {
	ok    bool // a rule matches
	named bool // a rule matches and names the port
}

func (m match) or(n match) match { return match{m.ok || n.ok, m.named || n.named} }

func (p *ports) match(port uint16) match {
	_, in := slices.BinarySearchFunc(p.ranges, port, func(r portRange, port uint16) int {
		switch {
		case r.to < port:
			return -1
		case r.from > port:
			return 1
		}
		return 0
	})
	return match{ok: p.any || in, named: in}
}

func (p *ports) add(r portRange) {
	if r == (portRange{}) {
		p.any = true
		return
	}
	p.merge(&ports{ranges: []portRange{r}})
}

// merge keeps the ranges sorted and disjoint, which match relies on.
func (p *ports) merge(q *ports) {
	p.any = p.any || q.any
	all := slices.Concat(p.ranges, q.ranges)
	slices.SortFunc(all, func(a, b portRange) int { return int(a.from) - int(b.from) })
	p.ranges = nil
	for _, r := range all {
		if n := len(p.ranges); n > 0 && int(r.from) <= int(p.ranges[n-1].to)+1 {
			p.ranges[n-1].to = max(p.ranges[n-1].to, r.to)
			continue
		}
		p.ranges = append(p.ranges, r)
	}
}

// nameRules is what rules say about one name and about the names below it.
type nameRules struct{ exact, below ports }

// ruleSet is a list of rules in a form that is asked, not searched: one lookup
// for an address, one per label for a name. It does not change once built.
type ruleSet struct {
	anyHost ports
	addrs   bart.Table[*ports]
	names   map[string]*nameRules
}

func newRuleSet(rules []rule) *ruleSet {
	s := &ruleSet{names: make(map[string]*nameRules)}
	var own bart.Table[*ports]
	for _, r := range rules {
		switch {
		case r.prefix.IsValid():
			p, ok := own.Get(r.prefix)
			if !ok {
				p = new(ports)
				own.Insert(r.prefix, p)
			}
			p.add(r.ports)
		case r.name != "":
			s.addName(r)
		default:
			s.anyHost.add(r.ports)
		}
	}
	// The table answers with the longest prefix only, but a rule about a
	// wider network still holds inside a narrower one: 10.0.0.0/8:443 next to
	// 10.1.0.0/16:80. So each prefix also carries the ports of those around it.
	for prefix := range own.All() {
		sum := new(ports)
		for _, p := range own.Supernets(prefix) {
			sum.merge(p)
		}
		s.addrs.Insert(prefix, sum)
	}
	return s
}

func (s *ruleSet) addName(r rule) {
	n := s.names[r.name]
	if n == nil {
		n = new(nameRules)
		s.names[r.name] = n
	}
	if r.exact {
		n.exact.add(r.ports)
	}
	if r.below {
		n.below.add(r.ports)
	}
}

// any asks the rules about any host.
func (s *ruleSet) any(port uint16) match { return s.anyHost.match(port) }

// addr asks the rules with an address or network, about a itself and about the
// IPv4 address that a wraps, if any.
func (s *ruleSet) addr(a, inner netip.Addr, port uint16) match {
	var m match
	if p, ok := s.addrs.Lookup(a); ok {
		m = p.match(port)
	}
	if inner.IsValid() {
		if p, ok := s.addrs.Lookup(inner); ok {
			m = m.or(p.match(port))
		}
	}
	return m
}

// name asks the rules with a name.
func (s *ruleSet) name(name string, port uint16) match {
	if len(s.names) == 0 {
		return match{}
	}
	var m match
	if n := s.names[name]; n != nil {
		m = n.exact.match(port)
	}
	for parent := range parents(name) {
		if n := s.names[parent]; n != nil {
			m = m.or(n.below.match(port))
		}
	}
	return m
}

// parents yields the domains that a name lies in: for a.b.c, b.c and c. A name
// has at most 127 labels, so this has a bound.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			_, rest, ok := strings.Cut(name, ".")
			if !ok || !yield(rest) {
				return
			}
			name = rest
		}
	}
}
