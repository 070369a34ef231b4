package config

import (
	"fmt"
	"net/netip"
	"runtime"
)

// addresses are those that a file has the relay listen on.
type addresses []address

type address struct {
	netip.AddrPort
	written, table string
	line           int
}

// add checks an address against those before it. What is no address, or has a port that
// the system picks, meets no other one.
func (all *addresses) add(s, table, key string, at *place, fault func(key, problem, hint string)) {
	ap, problem, _ := parseAddress(s)
	if problem != "" || ap.Port() == 0 {
		return
	}
	for _, a := range *all {
		switch {
		case a.AddrPort == ap:
			fault(key, fmt.Sprintf("%s is the address of %s already", shown(s), a.table), "choose another port or address")
			return
		case meets(a.AddrPort, ap):
			fault(key, fmt.Sprintf("%s and %s of %s in line %d cannot both be listened on", shown(s), shown(a.written), a.table, a.line), "one of them is every address of its kind at that port: keep that one alone, or choose another port")
			return
		}
	}
	*all = append(*all, address{ap, s, table, at.find(key).line})
}

// meets reports whether the system refuses the second of two addresses as in use. Linux
// does for an address and all of its family, as the first socket listens already; other
// systems give the connections to the nearer one. Of :: and IPv4 addresses nothing is said:
// sockets of the service manager may be for IPv6 only.
func meets(a, b netip.AddrPort) bool {
	return runtime.GOOS == "linux" && a.Port() == b.Port() && a.Addr().Is4() == b.Addr().Is4() &&
		(a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}
