package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// networkID tells the network that this machine is in from others, for what is
// remembered by network: the prefix of the own address, and on Linux the hardware
// address of the gateway. It sends nothing. Empty: there is no network.
func networkID() string {
	// Connecting a UDP socket only looks up the route. The address is one for
	// documentation (RFC 5737).
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		if c, err = net.Dial("udp6", "[2001:db8::1]:9"); err != nil {
			return ""
		}
	}
	defer c.Close()
	own, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return ""
	}
	bits := 24
	if own.Addr().Is6() {
		bits = 64
	}
	p, err := own.Addr().Unmap().Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String() + " " + gateway()
}

// gateway is the hardware address of the gateway, from what the kernel lists; empty
// where it does not, or there is none.
func gateway() string {
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(routes) {
		f := strings.Fields(string(line))
		if len(f) < 3 || f[1] != "00000000" || f[2] == "00000000" {
			continue
		}
		n, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil {
			return ""
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], uint32(n)) // the kernel prints it as its own number
		return hardware(netip.AddrFrom4(a).String())
	}
	return ""
}

func hardware(ip string) string {
	neighbours, err := os.ReadFile("/proc/net/arp")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(neighbours) {
		if f := strings.Fields(string(line)); len(f) > 3 && f[0] == ip {
			return f[3]
		}
	}
	return ""
}
