package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"relay/relay/config"
	"relay/relay/site"
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

// unowned are the addresses that no machine has: those of "this network" and of class E,
// the broadcast address among them (RFC 1122, Section 3.2.1.3; RFC 1112, Section 4).
var unowned = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4")}

func isUnowned(ip netip.Addr) bool {
	return ip.IsUnspecified() || ip.IsMulticast() || slices.ContainsFunc(unowned, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// unreachable is why nobody gets to a part of listener i by a host of its links; empty:
// somebody may.
func (k linker) unreachable(i int, word, host string) string {
	ip, err := netip.ParseAddr(host)
	if ip = ip.Unmap(); err != nil {
		return ""
	}
	if isUnowned(ip) {
		return host + " is an address that no machine has; write yours into public"
	}
	if !k.heard(i, word, ip) {
		family := "IPv6"
		if ip.Is4() {
			family = "IPv4"
		}
		return fmt.Sprintf("%s cannot be reached: no %s listens on %s at this port; write [::] in place of %s for both families, or take it out of public", host, word, family, k.address(i).Addr())
	}
	return ""
}

// heard reports whether a listener with a part and the port of listener i has addresses of
// the family of ip. What is in front of a listener may have others than that.
func (k linker) heard(i int, word string, ip netip.Addr) bool {
	if l := k.listens[i]; l.Origin || len(l.ProxyProtocol) > 0 || k.address(i).Addr().IsLoopback() {
		return true
	}
	for j, l := range k.listens {
		at := k.address(j).Addr()
		if slices.Contains(l.Inbounds, word) && k.port(j) == k.port(i) && (at == netip.IPv6Unspecified() || at.Is4() == ip.Is4()) {
			return true
		}
	}
	return false
}

// strayFindings warn of hosts in public by which nobody gets in, or not everybody.
func strayFindings(cfg *config.Config) []finding {
	var out []finding
	k := linker{listens: cfg.Listen}
	for i, l := range cfg.Listen {
		for _, word := range l.Inbounds {
			for _, host := range l.Public {
				f := finding(access{host: host}.stray())
				if why := k.unreachable(i, word, host); why != "" {
					f = finding(l.Address + ": " + why)
				}
				if f != "" && !slices.Contains(out, f) {
					out = append(out, f)
				}
			}
		}
	}
	return out
}

// stray is why a host leads nowhere, or not from everywhere; empty: nothing is known of that.
func (a access) stray() string {
	ip, err := netip.ParseAddr(a.host)
	switch {
	case err == nil && slices.ContainsFunc(documentation, func(d netip.Prefix) bool { return d.Contains(ip.Unmap()) }):
		return a.host + " is an address of examples and leads nowhere; write yours into public"
	case err == nil && a.loopback():
		return a.host + " is this computer itself: for others, write the address as seen from outside into public"
	case err == nil && a.local():
		return a.host + " is known in its own network only: for others, write the address as seen from outside into public"
	case a.local():
		return a.host + " is not a public name: phones elsewhere cannot look it up"
	}
	return ""
}

// linkWarnings say why clients may not be able to use the links of a part of listener i.
func (k linker) linkWarnings(i int, p part, a access) []string {
	var out []string
	if why := cmp.Or(k.unreachable(i, p.name, a.host), a.stray()); why != "" {
		out = append(out, why)
	}
	if a.port == 0 {
		out = append(out, "the port is not known until the relay runs: the configuration leaves it to the system")
	}
	if p.certified && !a.origin {
		out = append(out, certificateWarnings(k.cover, a, time.Now())...)
	}
	return out
}

// certificateWarnings say why clients refuse the certificate that they get.
func certificateWarnings(cover config.Cover, a access, now time.Time) []string {
	if cover.Certificate.Word == "self-signed" {
		if a.pin == "" {
			return []string{"the self-signed certificate of [cover] is made when the relay starts: show the link again then, it carries the pin of the certificate"}
		}
		return []string{"the self-signed certificate of [cover] is for tests: only apps that know pins take it, and no site for people has one"}
	}
	if cover.Certificate.Word == "acme" && staged(&cover) {
		return []string{stagedWarning + ": apps refuse it"}
	}
	files := certificateFiles(cover)
	if len(files) == 0 {
		return nil
	}
	chains, err := site.Chains(files)
	if err == nil {
		err = site.CheckFiles(cover.Hosts(), files)
	}
	if err != nil {
		return []string{fmt.Sprintf("a relay does not start with the certificates of [cover]: %v", err)}
	}
	var out []string
	for i, chain := range chains {
		leaf := chain[0]
		if leaf.VerifyHostname(a.name) != nil {
			continue // another name's
		}
		if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
			out = append(out, fmt.Sprintf("the site's certificate %s %s: apps refuse it", files[i].Cert, site.Outdated(leaf, now)))
		}
		if why, _ := site.Distrusted(chain); why != "" {
			out = append(out, fmt.Sprintf("the site's certificate %s %s: apps refuse it", files[i].Cert, why))
		}
	}
	return out
}
