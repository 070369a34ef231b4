package resolve

import (
	"net/netip"
	"strings"
)

// notPublic is where no public name leads (RFC 6890). Censors answer with such
// addresses: 10.10.34.34 and its neighbours are Iran's page, others use 127.0.0.1 or
// 0.0.0.0. relay/policy has the longer list, of what a target may not be.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/3", "4000::/2", "8000::/1", // all but 2000::/3 (RFC 4291, Section 2.4)
	"2001::/32", "2001:db8::/32", "3fff::/20",
)

// nat64 is the one prefix of translators that everybody knows (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, s := range all {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// localNames are what a private network calls its own (RFC 6761, RFC 6762, RFC 8375).
var localNames = []string{"localhost", "local", "internal", "lan", "home.arpa"}

// isLocal reports whether a name is of a private network, whose addresses are private.
func isLocal(name string) bool {
	if !strings.Contains(name, ".") {
		return true
	}
	for _, l := range localNames {
		if strings.HasSuffix(name, "."+l) {
			return true
		}
	}
	return false
}

// judge refuses an answer that only a censor, or a network of one's own, gives.
func judge(name string, a Answer, private bool) (Answer, error) {
	if private || isLocal(name) {
		return a, nil
	}
	for _, addr := range a.Addrs {
		if !isPublic(addr) {
			return Answer{}, ErrPoisoned
		}
	}
	return a, nil
}

// isPublic reports whether a public name can have the address.
func isPublic(a netip.Addr) bool {
	if a = a.Unmap(); nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
