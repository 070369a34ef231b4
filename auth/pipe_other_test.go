//go:build !unix

package auth

import "os"

// makePipe puts a folder there, where there are no pipes in folders.
func makePipe(path string) error { return os.Mkdir(path, 0o700) }
