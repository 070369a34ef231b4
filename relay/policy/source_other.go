//go:build !linux

package policy

import "syscall"

// latePort is Linux's; elsewhere bind(2) chooses the port.
func latePort(_, _ string, _ syscall.RawConn) error { return nil }
