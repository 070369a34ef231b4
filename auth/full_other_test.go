//go:build !linux

package auth

import "errors"

// fullDisk needs a disk of its own.
func fullDisk([]string) error { return errors.ErrUnsupported }
