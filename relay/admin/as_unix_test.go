//go:build unix

package admin

import "syscall"

// as makes a program somebody else's, which only root can.
func as(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}
