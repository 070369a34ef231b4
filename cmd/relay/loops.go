package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"relay/relay"
	"relay/relay/config"
	"relay/transport"
)

// loopFindings warns of a cover that is this relay itself. Nothing is looked up: of names
// only localhost is known.
func loopFindings(cfg *config.Config) []finding {
	own := ownAddrs(cfg)
	if to := cfg.Cover.Forward; to != "" && leadsHere(to, own) {
		return []finding{finding(fmt.Sprintf("the cover at %s is a listener of this relay: strangers are reset, which no web server does; write the address of the server in forward", to))}
	}
	if u, err := url.Parse(cfg.Cover.Proxy); err == nil && u.Host != "" {
		port := u.Port()
		if port == "" {
			port = "80"
		}
		if leadsHere(net.JoinHostPort(u.Hostname(), port), own) {
			return []finding{finding(fmt.Sprintf("the web server at %s is a listener of this relay: visitors get an error, or the relay asks itself; write the address of the server in proxy", cfg.Cover.Proxy))}
		}
	}
	return nil
}

// leadsHere reports whether "host:port" is at one of the addresses, as it is judged where
// the cover is dialled.
func leadsHere(to string, own []netip.AddrPort) bool {
	hosts := []string{to}
	if host, port, err := net.SplitHostPort(to); err == nil && host == "localhost" {
		hosts = []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
	}
	for _, h := range hosts {
		d, err := relay.NewCoverDialer(h, func() []netip.AddrPort { return own })
		if err != nil {
			return false
		}
		if _, _, err := d.Direct(transport.Target{}); !errors.Is(err, relay.ErrCoverLoop) {
			return false
		}
	}
	return true
}
