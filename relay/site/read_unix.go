//go:build unix

package site

import (
	"syscall"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// readNow reads what the socket has already received, without waiting. It
// leaves ends and errors to the next read, and what is behind an urgent byte: a
// read never goes past one, so what came before was all that it would have got.
func readNow(c transport.Conn, b []byte) int {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Read(func(fd uintptr) bool {
		if marked, err := unix.IoctlGetInt(int(fd), unix.SIOCATMARK); err != nil || marked == 0 {
			n, _ = syscall.Read(int(fd), b)
		}
		return true
	})
	return max(0, n)
}
