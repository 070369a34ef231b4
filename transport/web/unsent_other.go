//go:build !linux

package web

import (
	"net"
	"time"

	"relay/transport"
)

// limitUnsent keeps the queue of a socket short, where that can be done.
func limitUnsent(*net.TCPConn) {}

// unsent is how much of what was written to a socket has not arrived, where the system
// says so.
func unsent(transport.Conn) int { return 0 }

// heardOf is when the last packet came for a socket, where the system says so.
func heardOf(*net.TCPConn) (at time.Time, ok bool) { return at, false }
