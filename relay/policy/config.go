package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the [egress] table. The zero value works: anything public is
// allowed.
type Config struct {
	// Presets limits the relay to messengers: telegram, signal, whatsapp.
	// Empty: anything public.
	Presets []string `toml:"presets"`
	// Allow is rules that open refused ranges (by address) and add to the
	// presets.
	Allow []string `toml:"allow"`
	// Deny is rules that win over everything else.
	Deny []string `toml:"deny"`
	// Source is the local addresses to dial from: at most one IPv4 and one IPv6.
	Source []string `toml:"source"`
	// Direct lets an entry connect to targets by itself while none of its upstreams
	// answers. Without it, it never does.
	Direct bool `toml:"direct"`
	// DialTimeout limits resolution and connecting together. 0: 10 s.
	DialTimeout time.Duration `toml:"dial_timeout"`
}

// DNS is the [dns] table. The zero value asks the system's name servers.
type DNS struct {
	// Servers is "ip" or "ip:port". Empty: those of the system
	// (/etc/resolv.conf). The first that answers is believed.
	Servers []string `toml:"servers"`
	// Timeout limits one lookup with all its attempts. 0: 5 s.
	Timeout time.Duration `toml:"timeout"`
}

const (
	// DefaultDialTimeout and DefaultDNSTimeout are in force where the
	// configuration says nothing.
	DefaultDialTimeout = 10 * time.Second
	DefaultDNSTimeout  = 5 * time.Second
	// maxTimeout is longer than any client waits.
	maxTimeout = 5 * time.Minute
)

// Check reports every fault; key is relative to the table, such as "allow[2]".
func (c *Config) Check(fault func(key, problem, hint string)) {
	for i, name := range c.Presets {
		if !slices.Contains(presetNames(), name) {
			fault(item("presets", i), fmt.Sprintf("unknown preset %q", name), "presets are "+strings.Join(presetNames(), ", "))
		}
	}
	checkRules("allow", c.Allow, fault)
	checkRules("deny", c.Deny, fault)
	var four, six bool
	for i, s := range c.Source {
		a, err := parseSource(s)
		switch {
		case err != nil:
			fault(item("source", i), err.Error(), "write an address of this machine, such as 203.0.113.5")
		case a.Is4() && four, a.Is6() && six:
			fault(item("source", i), "a second address of the same family", "list at most one IPv4 and one IPv6 address")
		default:
			four, six = four || a.Is4(), six || a.Is6()
		}
	}
	checkTimeout("dial_timeout", c.DialTimeout, fault)
}

// Check reports every fault; key is relative to the table.
func (d *DNS) Check(fault func(key, problem, hint string)) {
	for i, s := range d.Servers {
		if _, err := parseServer(s); err != nil {
			fault(item("servers", i), err.Error(), `write an address, as in "9.9.9.9" or "[2620:fe::fe]:53"`)
		}
	}
	checkTimeout("timeout", d.Timeout, fault)
}

func checkRules(key string, rules []string, fault func(key, problem, hint string)) {
	for i, s := range rules {
		if _, err := parseRule(s); err != nil {
			fault(item(key, i), err.Error(), "a rule is a network, address, name, *.suffix, .suffix or *, and may end in :port or :from-to")
		}
	}
}

func checkTimeout(key string, d time.Duration, fault func(key, problem, hint string)) {
	if d < 0 || d > maxTimeout {
		fault(key, fmt.Sprintf("%s is out of range", d), "write a duration up to "+maxTimeout.String()+", or leave it out")
	}
}

func item(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

func parseSource(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, fmt.Errorf("%q is not a local address", s)
	}
	return a.Unmap(), nil
}

// Addrs are the servers of a table that Check has no fault in.
func (d *DNS) Addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range d.Servers {
		if ap, err := parseServer(s); err == nil {
			out = append(out, ap)
		}
	}
	return out
}

func parseServer(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%q is not the address of a name server", s)
		}
		ap = netip.AddrPortFrom(a, 53) // RFC 1035, Section 4.2
	}
	if ap.Port() == 0 || ap.Addr().IsUnspecified() || ap.Addr().IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("%q is not the address of a name server", s)
	}
	return ap, nil
}

// parseRules reads a whole list and stops at the first fault.
func parseRules(list []string) ([]rule, error) {
	var rules []rule
	for _, s := range list {
		r, err := parseRule(s)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}
