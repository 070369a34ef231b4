package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"relay/transport"
)

// A rule is one line of allow or deny:
//
//	[CIDR | IP | name | *.suffix | .suffix | *][:port | :from-to]
//
// with brackets around IPv6 when a port follows. "*.example.com" is every name
// below example.com, ".example.com" is that and example.com itself. Without a
// host, or with "*", a rule is about any host.
type rule struct {
	prefix netip.Prefix // an address rule, if valid
	name   string       // a name rule, if not empty; without dots at the ends
	exact  bool         // the name itself matches
	below  bool         // names below it match
	ports  portRange    // zero: any port
}

// portRange is from..to, both included; the zero value is "no port named".
type portRange struct{ from, to uint16 }

var errEmptyRule = errors.New("empty rule")

// parseRule reads a rule. Its errors are for the operator and quote the rule.
func parseRule(s string) (rule, error) {
	host, ports, hasPort, err := splitRule(s)
	if err != nil {
		return rule{}, err
	}
	var r rule
	if hasPort {
		if r.ports, err = parsePorts(ports); err != nil {
			return rule{}, err
		}
	}
	switch {
	case host == "" && !hasPort:
		return rule{}, errEmptyRule
	case host == "" || host == "*":
		return r, nil
	case strings.Contains(host, "/"):
		r.prefix, err = parsePrefix(host)
		return r, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return rule{}, fmt.Errorf("%q has a zone; rules are about addresses without one", s)
		}
		a = a.Unmap()
		r.prefix = netip.PrefixFrom(a, a.BitLen())
		return r, nil
	}
	name := host
	switch {
	case strings.HasPrefix(host, "*."):
		name, r.below = host[2:], true
	case strings.HasPrefix(host, "."):
		name, r.below, r.exact = host[1:], true, true
	default:
		r.exact = true
	}
	// The same reading as for targets, or a rule could be about a name that
	// no target ever has.
	t, err := transport.NameTarget(name, 1)
	if err != nil || !t.IsName() {
		return rule{}, fmt.Errorf("%q is neither an address, a network nor a host name", host)
	}
	r.name = t.Name()
	return r, nil
}

// splitRule cuts the port off. A colon is ambiguous next to IPv6: with two or
// more and no brackets, all of it is the address.
func splitRule(s string) (host, ports string, hasPort bool, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok = strings.Cut(rest, "]")
		if !ok || !strings.Contains(host, ":") {
			return "", "", false, fmt.Errorf("%q: brackets are for IPv6, as in [2001:db8::/32]:443", s)
		}
		if rest == "" {
			return host, "", false, nil
		}
		ports, ok = strings.CutPrefix(rest, ":")
		if !ok {
			return "", "", false, fmt.Errorf("%q: only a port may follow the bracket", s)
		}
		return host, ports, true, nil
	}
	if strings.Count(s, ":") > 1 {
		return s, "", false, nil
	}
	host, ports, hasPort = strings.Cut(s, ":")
	return host, ports, hasPort, nil
}

func parsePorts(s string) (portRange, error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	from, err1 := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || from > to {
		return portRange{}, fmt.Errorf("%q is not a port (1 to 65535) nor a range such as 8000-8080", s)
	}
	return portRange{uint16(from), uint16(to)}, nil
}

// parsePrefix wants the network written exactly: bits beyond the mask are most
// often a wrong mask. An IPv4 network in IPv6 form becomes IPv4, because that
// is the form targets have.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as 203.0.113.0/24", s)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its mask; the network is %s", s, m)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q covers a part of the IPv4-mapped range; write the IPv4 network", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// String writes the rule in its one canonical form, which parses to the same
// rule.
func (r rule) String() string {
	host := "*"
	switch {
	case r.prefix.IsValid():
		host = r.prefix.String()
		if r.prefix.IsSingleIP() {
			host = r.prefix.Addr().String()
		}
		if r.prefix.Addr().Is6() && r.ports != (portRange{}) {
			host = "[" + host + "]"
		}
	case r.below && r.exact:
		host = "." + r.name
	case r.below:
		host = "*." + r.name
	case r.exact:
		host = r.name
	}
	switch {
	case r.ports == portRange{}:
		return host
	case r.ports.from == r.ports.to:
		return host + ":" + strconv.Itoa(int(r.ports.from))
	}
	return host + ":" + strconv.Itoa(int(r.ports.from)) + "-" + strconv.Itoa(int(r.ports.to))
}
