//go:build !unix

package transport

// tryRead is nil where sockets cannot be read from inside RawConn.Read: there
// a waiting direction holds its buffer.
var tryRead func(fd uintptr, b []byte) (n int, again bool, err error)

// canRead is nil where nobody can wait without reading.
var canRead func(fd uintptr) bool
