package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"relay/relay/config"
)

// carrierNAT is in nobody's reach from outside (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// documentation are the addresses of examples: a link with one was made from a
// sample configuration (RFC 5737, RFC 3849, RFC 9637).
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"),
}

// privateSuffixes end names that no public DNS server knows (RFC 6761, RFC
// 6762, RFC 8375, RFC 9476; "internal" is reserved by ICANN).
var privateSuffixes = []string{
	"local", "localhost", "localdomain", "lan", "home", "corp", "internal", "intranet", "home.arpa", "test", "invalid",
	"example", "onion", "alt",
}

// local reports whether a link leads nowhere from outside its own network: it
// crosses no border.
func (a access) local() bool {
	ip, err := netip.ParseAddr(a.host)
	if err != nil {
		return !isPublicName(a.host)
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || carrierNAT.Contains(ip)
}

// isPublicName reports whether a name can be known to everybody's resolver.
func isPublicName(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !strings.Contains(name, ".") {
		return false
	}
	return !slices.ContainsFunc(privateSuffixes, func(s string) bool { return strings.HasSuffix(name, "."+s) })
}

// linkWarnings say why clients may not be able to use the links of a part.
func linkWarnings(p part, a access, cover config.Cover) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	ip, err := netip.ParseAddr(a.host)
	switch {
	case err == nil && slices.ContainsFunc(documentation, func(d netip.Prefix) bool { return d.Contains(ip.Unmap()) }):
		say("%s is an address of examples and leads nowhere; write yours into public", a.host)
	case err == nil && a.loopback():
		say("%s is this computer itself: for others, write the address as seen from outside into public", a.host)
	case err == nil && a.local():
		say("%s is known in its own network only: for others, write the address as seen from outside into public", a.host)
	case err != nil && a.local():
		say("%s is not a public name: phones elsewhere cannot look it up", a.host)
	}
	if a.port == 0 {
		say("the port is not known until the relay runs: the configuration leaves it to the system")
	}
	if p.certified && cover.Certificate.Word == "self-signed" && !a.origin {
		if a.pin == "" {
			say("the self-signed certificate of [cover] is made when the relay starts: show the link again then, it carries the pin of the certificate")
		} else {
			say("the self-signed certificate of [cover] is for tests: only apps that know pins take it, and no site for people has one")
		}
	}
	return out
}
