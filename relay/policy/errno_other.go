//go:build !windows

package policy

import "syscall"

// fromErrno maps the errors of connect(2). It returns nil for one that no
// reply code describes. A machine without IPv6 answers with EAFNOSUPPORT, or
// with EADDRNOTAVAIL when IPv6 is there but has no address.
func fromErrno(errno syscall.Errno) error {
	switch errno {
	case syscall.ECONNREFUSED:
		return ErrRefused
	case syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EAFNOSUPPORT, syscall.EADDRNOTAVAIL:
		return ErrNetUnreachable
	case syscall.EHOSTUNREACH, syscall.EHOSTDOWN:
		return ErrHostUnreachable
	case syscall.ETIMEDOUT:
		return ErrTimeout
	}
	return nil
}
