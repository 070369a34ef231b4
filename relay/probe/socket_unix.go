//go:build linux || darwin

package probe

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	canUrge = true
	canTell = true
)

// told is what the system knows of the connection's fate and no call was told.
func (c *conn) told() error {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return err
	}
	e := 0
	cerr := raw.Control(func(fd uintptr) { e, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) })
	switch {
	case err != nil || cerr != nil:
		return errors.Join(err, cerr)
	case e != 0:
		return syscall.Errno(e)
	}
	return nil
}

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
