package socks5

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Options is the [socks5] table.
type Options struct {
	// UDP lets users send datagrams through the relay (UDP ASSOCIATE). What
	// they hold goes over the network in clear text.
	UDP bool `toml:"udp"`
	// UDPPorts is "from-to", or one port: where clients send their datagrams,
	// for a firewall. Each client takes one. Empty: whichever is free.
	UDPPorts string `toml:"udp_ports"`
}

// Check reports every fault; key is relative to the table.
func (o *Options) Check(fault func(key, problem, hint string)) {
	if o.UDPPorts == "" {
		return
	}
	if _, err := parsePorts(o.UDPPorts); err != nil {
		fault("udp_ports", err.Error(), `write it such as "40000-40999"; a range has a port for each client at the same time`)
	}
}

// NewUDP is how clients of a listener send datagrams; nil if they may not. public
// are the addresses by which this machine is known outside.
func (o *Options) NewUDP(public []netip.Addr) *UDP {
	if !o.UDP {
		return nil
	}
	ports, _ := parsePorts(o.UDPPorts)
	return &UDP{public: public, ports: ports}
}

// UDP is where clients send their datagrams.
type UDP struct {
	public []netip.Addr
	ports  portRange
}

// portRange is from and to; the zero value is any port.
type portRange struct{ from, to uint16 }

func parsePorts(s string) (portRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || from == 0 || from > to {
		return portRange{}, fmt.Errorf("%q is not a range of ports", s)
	}
	return portRange{uint16(from), uint16(to)}, nil
}

// mostTries bounds the search for a free port. In a range that is half full, 32
// tries fail once in four thousand million.
const mostTries = 32

// listen opens a socket at an address of this machine.
func (u *UDP) listen(a netip.Addr) (*net.UDPConn, error) {
	network := "udp6"
	if a.Is4() {
		network = "udp4"
	}
	size := int(u.ports.to-u.ports.from) + 1
	// From a port that nobody can guess, so that nobody can take it away.
	at := rand.IntN(size)
	for i := range min(size, mostTries) {
		port := u.ports.from + uint16((at+i)%size)
		c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return c, err
		}
	}
	return nil, syscall.EADDRINUSE
}

// tell is the address by which a client reaches this machine. It has reached local;
// but if that is a private address and the client has none, there is a translation
// in between, and only the configuration knows the address in front of it.
func (u *UDP) tell(local, client netip.Addr) netip.Addr {
	if !inside(local) || inside(client) {
		return local
	}
	for _, p := range u.public {
		if p = p.Unmap(); p.Is4() == local.Is4() {
			return p
		}
	}
	return local
}

func inside(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }
