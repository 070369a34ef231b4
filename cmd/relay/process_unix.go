//go:build unix

package main

import "syscall"

// descriptorLimit is how many descriptors this process may have; the runtime
// has raised the soft limit to the hard one.
func descriptorLimit() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return uint64(r.Cur)
}
