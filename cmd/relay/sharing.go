package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"relay/relay/admin"
	"relay/relay/config"
)

// durable are the inbounds whose addresses and names are to last.
var durable = []string{"web", "telegram-web", "reality", "signal"}

func durables(l config.Listen) []string {
	return slices.DeleteFunc(slices.Clone(l.Inbounds), func(word string) bool { return !slices.Contains(durable, word) })
}

// burnables are the inbounds of a listener that get its address blocked.
func burnables(l config.Listen) []string {
	return slices.DeleteFunc(slices.Clone(l.Inbounds), func(word string) bool {
		return !slices.ContainsFunc(parts, func(p part) bool { return p.name == word && p.lives == admin.Burnable })
	})
}

// burnHosts are those that burn the other ports of a host as well. Of SOCKS5 and HTTP
// clearTextOnPublic says enough.
func burnHosts(l config.Listen) []string {
	return slices.DeleteFunc(burnables(l), func(word string) bool { return word == "socks5" || word == "http" })
}

// burnt reports whether a burnable inbound takes along what else listener i has.
func (k linker) burnt(i int) bool {
	if len(burnables(k.listens[i])) > 0 {
		return true
	}
	for j, other := range k.listens {
		if i != j && len(burnHosts(other)) > 0 && len(k.shared(i, j)) > 0 {
			return true
		}
	}
	return false
}

// lastingNames are the server names that durable links carry.
func lastingNames(cfg *config.Config) []string {
	var out []string
	k := linker{listens: cfg.Listen}
	for i, l := range cfg.Listen {
		if len(durables(l)) == 0 {
			continue
		}
		for _, host := range k.hosts(i) {
			if !l.Origin { // a link to an origin has the name of the CDN
				host = nameAt(&cfg.Cover, host)
			}
			out = append(out, host)
		}
	}
	return out
}

// sharingFindings warns of durable inbounds that a burnable one takes along when its
// address is blocked.
func sharingFindings(cfg *config.Config) []finding {
	var out []finding
	for i, l := range cfg.Listen {
		for _, lasts := range durables(l) {
			for _, burns := range burnables(l) {
				out = append(out, finding(fmt.Sprintf("%s: %s and %s share an address: %s; give %[2]s one of its own", l.Address, burns, lasts, whyBurnt(burns, "the address"))))
			}
			for j := range cfg.Listen {
				if i != j {
					out = append(out, sharedHosts(cfg, i, j, lasts)...)
				}
			}
		}
	}
	return out
}

// sharedHosts are the findings about two listeners.
func sharedHosts(cfg *config.Config, i, j int, lasts string) []finding {
	var out []finding
	k := linker{listens: cfg.Listen}
	l, other := cfg.Listen[i], cfg.Listen[j]
	for _, host := range k.shared(i, j) {
		for _, burns := range burnHosts(other) {
			if k.port(i) == k.port(j) {
				out = append(out, finding(fmt.Sprintf("%s and %s: %s and %s share an address, %s: %s; give %[3]s one of its own", other.Address, l.Address, burns, lasts, host, whyBurnt(burns, "the address"))))
			} else {
				out = append(out, finding(fmt.Sprintf("%s and %s: %s and %s are on ports of one host, %s: %s; give %[3]s one of its own", other.Address, l.Address, burns, lasts, host, whyBurnt(burns, "the host"))))
			}
		}
	}
	return out
}

// shared are the hosts by which censors know both of two listeners; or else it says that
// one listens at the address of the other as well. Nobody but a CDN knows an origin's.
func (k linker) shared(i, j int) []string {
	var out []string
	theirs := k.blockable(j)
	for _, host := range k.blockable(i) {
		if slices.Contains(theirs, host) {
			out = append(out, host)
		}
	}
	a, b := k.address(i).Addr(), k.address(j).Addr()
	if len(out) > 0 || k.listens[i].Origin || k.listens[j].Origin || a.IsLoopback() || b.IsLoopback() {
		return out
	}
	const every = "as %s is every address of this machine"
	switch {
	case hasAddress(a, b):
		out = append(out, fmt.Sprintf(every, a))
	case hasAddress(b, a):
		out = append(out, fmt.Sprintf(every, b))
	}
	return out
}

// hasAddress reports whether a wildcard has an address: :: has IPv4 ones as well.
func hasAddress(wildcard, ip netip.Addr) bool {
	return wildcard == netip.IPv6Unspecified() || wildcard == netip.IPv4Unspecified() && ip.Is4()
}

// blockable are the hosts by which censors know listener i, each once.
func (k linker) blockable(i int) []string {
	hosts := slices.Clone(k.hosts(i))
	if ip := k.address(i).Addr(); ip.IsGlobalUnicast() && !k.listens[i].Origin {
		hosts = append(hosts, ip.String())
	}
	var out []string
	for _, h := range hosts {
		h = strings.ToLower(h)
		if ip, err := netip.ParseAddr(h); err == nil {
			if h = ip.Unmap().String(); ip.Unmap().IsLoopback() {
				continue
			}
		}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// whyBurnt is how what a burnable inbound has gets blocked.
func whyBurnt(word, what string) string {
	if word == "mtproto" {
		return "censors recognise Telegram's own hello, and one phone that uses it burns " + what + " for both"
	}
	return word + " is burnable and easy to recognise, and whoever blocks it burns " + what + " for both"
}
