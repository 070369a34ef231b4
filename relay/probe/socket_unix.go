//go:build linux || darwin

package probe

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const canUrge = true

// urge sends a byte out of band, and says whether it could.
func (c *conn) urge() bool {
	if c.ended() {
		return false
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return false
	}
	sent := false
	err = raw.Write(func(fd uintptr) bool {
		_, err := unix.SendmsgN(int(fd), []byte{'!'}, nil, nil, unix.MSG_OOB)
		sent = err == nil
		return err != unix.EAGAIN
	})
	return err == nil && sent
}

// narrow makes the server send small segments into a small window, which also
// keeps what its kernel takes from it small.
func narrow(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536)
	})
}
