//go:build !linux && !darwin

package probe

import "syscall"

const canUrge = false

func (c *conn) urge() bool { return false }

func narrow(_, _ string, _ syscall.RawConn) error { return nil }
