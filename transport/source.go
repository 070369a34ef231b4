package transport

import (
	"net"
	"net/netip"
)

// Source is the client's address of a connection; invalid if it has none.
func Source(c net.Conn) netip.Addr {
	if s, ok := c.(interface{ Source() netip.Addr }); ok {
		return s.Source()
	}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// SourcePrefix is the unit in which sources are counted: one IPv4 address, or
// an IPv6 /56, since a single subscriber commands at least that much.
func SourcePrefix(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 56
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
