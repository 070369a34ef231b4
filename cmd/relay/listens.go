package main

import (
	"fmt"
	"runtime"

	"relay/relay/config"
)

// listenFindings warns of addresses that may be in each other's way.
func listenFindings(cfg *config.Config) []finding {
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
