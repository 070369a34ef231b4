package web

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// limitUnsent keeps the queue of a socket short.
func limitUnsent(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentSize)
	})
}

// unsent is how much of what was written to a socket has not arrived.
func unsent(c transport.Conn) (n int) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}

// heardOf is when the last packet came for a socket, its acknowledgements among them.
func heardOf(c *net.TCPConn) (at time.Time, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return at, false
	}
	_ = raw.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			at, ok = time.Now().Add(-time.Duration(min(i.Last_data_recv, i.Last_ack_recv))*time.Millisecond), true
		}
	})
	return at, ok
}
