//go:build unix

package transport

import (
	"os"
	"syscall"
)

// tryRead reads from a non-blocking descriptor; again says that there is
// nothing yet.
var tryRead = func(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), b)
		switch err {
		case nil:
			return n, false, nil
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, true, nil
		}
		return 0, false, os.NewSyscallError("read", err)
	}
}
