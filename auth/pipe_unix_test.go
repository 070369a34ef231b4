//go:build unix

package auth

import "syscall"

// makePipe puts a named pipe where a file should be.
func makePipe(path string) error { return syscall.Mkfifo(path, 0o600) }
