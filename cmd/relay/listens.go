package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"relay/relay/config"
)

// widest is the shortest prefix that somebody's balancers may have.
const widest = 8

// listenFindings warns of listeners that believe everybody, of addresses that may be in
// each other's way, and of those in public that lead nobody here.
func listenFindings(cfg *config.Config) []finding {
	var out []finding
	for _, l := range cfg.Listen {
		if ap, ok := listenAddr(l.Address); ok && ap.Addr().IsLoopback() {
			continue
		}
		for _, s := range l.ProxyProtocol {
			if p, err := netip.ParsePrefix(s); err == nil && p.Bits() < widest {
				out = append(out, finding(fmt.Sprintf("%s: proxy_protocol = [%q] lets anybody say that he is somebody else: limits of sources do not hold, and what clients are known by is theirs to choose; write the addresses of the balancers", l.Address, s)))
			}
		}
	}
	return slices.Concat(out, familyFindings(cfg), strayFindings(cfg))
}

// familyFindings warns of sockets that may take the addresses of others.
func familyFindings(cfg *config.Config) []finding {
	var out []finding
	if runtime.GOOS != "linux" {
		return nil
	}
	for _, all := range cfg.Listen {
		a, ok := listenAddr(all.Address)
		if !ok || a.Port() == 0 || !a.Addr().Is6() || !a.Addr().IsUnspecified() {
			continue
		}
		for _, l := range cfg.Listen {
			// A socket at :: has IPv6 addresses alone if the service manager makes it so.
			if b, ok := listenAddr(l.Address); ok && b.Port() == a.Port() && b.Addr().Unmap().Is4() {
				out = append(out, finding(fmt.Sprintf("%s and %s: the first one takes IPv4 as well, so that the relay does not start unless both are sockets of the service manager and the first has BindIPv6Only=ipv6-only; keep it alone, or write the IPv6 address", all.Address, l.Address)))
			}
		}
	}
	return out
}
