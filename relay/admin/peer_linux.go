package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user who connected, as the kernel knows it (unix(7),
// SO_PEERCRED).
func peerUID(c net.Conn) (uid int, known bool, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, true, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, true, err
	}
	if cerr != nil {
		return 0, true, cerr
	}
	return int(cred.Uid), true, nil
}
