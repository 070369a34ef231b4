//go:build !unix

package admin

import "syscall"

// as is not asked where nobody is root.
func as(int) *syscall.SysProcAttr { return nil }
