//go:build !linux

package transport

import "net/netip"

// udpRead is Linux's.
type udpRead struct{}

func (*UDP) tryReceive(uintptr) bool { return true }

// tryRead waits: elsewhere than on Linux no call tells a datagram that is there
// from one that is not.
func (u *UDP) tryRead(b []byte) (n int, from netip.AddrPort, ok bool, err error) {
	n, from, err = u.ReadFromUDPAddrPort(b)
	return n, from, err == nil, err
}
