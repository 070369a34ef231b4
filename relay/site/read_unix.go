//go:build unix

package site

import (
	"syscall"

	"relay/transport"
)

// readNow reads what the socket has already received, without waiting. It
// leaves ends and errors to the next read.
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
		n, _ = syscall.Read(int(fd), b)
		return true
	})
	return max(0, n)
}
