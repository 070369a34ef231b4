package main

import (
	"fmt"
	"net/netip"

	"relay/relay/config"
	"relay/relay/socks5"
)

// socks5UDP is how clients of a listener send datagrams; nil if they may not. A
// balancer passes on none.
func socks5UDP(l config.Listen, o *socks5.Options) *socks5.UDP {
	if l.Anonymous != "" || len(l.ProxyProtocol) > 0 {
		return nil
	}
	return o.NewUDP(literals(l))
}

// literals are the literal addresses among the public ones of a listener.
func literals(l config.Listen) []netip.Addr {
	var out []netip.Addr
	for _, ap := range publicAddrs(l) {
		out = append(out, ap.Addr())
	}
	return out
}

// socks5Findings warns of clear text, and of datagrams that cannot arrive.
func socks5Findings(cfg *config.Config, l config.Listen, options any) []finding {
	out := clearTextOnPublic(cfg, l, options)
	o := options.(*socks5.Options)
	if !o.UDP {
		return out
	}
	note := func(format string, args ...any) {
		out = append(out, finding(fmt.Sprintf(l.Address+": [socks5] udp = true: "+format, args...)))
	}
	ap, _ := listenAddr(l.Address)
	switch {
	case l.Anonymous != "":
		note("not for a listener without users, which answers UDP ASSOCIATE with 0x07 as before")
	case len(l.ProxyProtocol) > 0:
		note("not behind a balancer, which passes on no datagrams: UDP ASSOCIATE is answered with 0x07 as before")
	case ap.Addr().IsLoopback():
	default:
		if ap.Addr().IsPrivate() && len(literals(l)) == 0 {
			note("clients outside this network are told to send datagrams to %s; write the address that they can reach in public = […]", ap.Addr())
		}
		if o.UDPPorts == "" {
			note("clients send datagrams to any port above 1024; to open fewer in the firewall, write udp_ports, such as \"40000-40999\"")
		}
	}
	return out
}
