//go:build unix

package splice

import (
	"syscall"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// disconnected reports whether c is, below its layers, a socket whose connection is over, by a
// reset or by an end in both directions. A connection of which one direction
// has ended is not.
func disconnected(c transport.Conn) bool {
	return onSocket(c, func(fd int) bool {
		_, err := unix.Getpeername(fd)
		return err == unix.ENOTCONN || err == unix.EINVAL
	})
}

// hungUp reports whether c is, below its layers, a socket that neither takes bytes
// any more nor has any to come: one of the Unix family whose peer has closed.
func hungUp(c transport.Conn) bool {
	return onSocket(c, func(fd int) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		return n > 0 && err == nil && p[0].Revents&unix.POLLHUP != 0
	})
}

// onSocket asks about the socket below the layers of a connection.
func onSocket(c transport.Conn, ask func(fd int) bool) (yes bool) {
	for {
		l, ok := c.(interface{ Below() transport.Conn })
		if !ok {
			break
		}
		c = l.Below()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { yes = ask(int(fd)) })
	}
	return yes
}
