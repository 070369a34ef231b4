//go:build unix

package main

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A start waits for nobody to write into what it reads.
func TestHellosPipe(t *testing.T) {
	file := filepath.Join(t.TempDir(), hellosFile)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readHellos(file); err == nil {
		t.Error("a pipe: got nil, want an error")
	}
}
