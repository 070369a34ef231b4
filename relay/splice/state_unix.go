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
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	over := false
	_ = raw.Control(func(fd uintptr) {
		_, err := unix.Getpeername(int(fd))
		over = err == unix.ENOTCONN || err == unix.EINVAL
	})
	return over
}
