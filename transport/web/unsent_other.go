//go:build !linux

package web

import "net"

// limitUnsent keeps the queue of a socket short, where that can be done.
func limitUnsent(*net.TCPConn) {}
