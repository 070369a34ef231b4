package transport

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// packetSize is the room for any datagram, over IPv6 as well.
const packetSize = 64 << 10

var packetBuffers = sync.Pool{New: func() any { b := make([]byte, packetSize); return &b }}

// PacketBuffer returns a buffer with room for any datagram: a large one, so
// whoever waits takes it when there is a datagram. FreePacketBuffer takes it back.
func PacketBuffer() *[]byte { return packetBuffers.Get().(*[]byte) }

// FreePacketBuffer gives a buffer back, which the caller must not use any more.
func FreePacketBuffer(b *[]byte) { packetBuffers.Put(b) }

// UDP is a UDP socket that can wait for a datagram without a buffer to put it
// into. One goroutine may read while others write.
type UDP struct {
	*net.UDPConn
	raw     syscall.RawConn
	receive func(fd uintptr) bool
	udpRead
}

// NewUDP returns a UDP around c, which it owns from then on.
func NewUDP(c *net.UDPConn) (*UDP, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	u := &UDP{UDPConn: c, raw: raw}
	u.receive = u.tryReceive
	return u, nil
}

// WaitRead implements [ReadWaiter]. It may return without a datagram being
// there: one with a wrong checksum looks like one until it is read.
func (u *UDP) WaitRead() error {
	if canRead == nil {
		return nil
	}
	return u.raw.Read(canRead)
}

// TryRead reads a datagram that is there; ok is false if there is none. One that
// is longer than b counts as none. Where nobody can read without waiting, it waits.
func (u *UDP) TryRead(b []byte) (n int, from netip.AddrPort, ok bool, err error) {
	n, from, ok, err = u.tryRead(b)
	if err != nil || !ok {
		return 0, netip.AddrPort{}, false, err
	}
	return n, netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()), true, nil
}
