//go:build !linux

package relay

import "net"

// inheritKeepAlive does nothing where accepted sockets inherit nothing: the
// idle timeout ends connections of clients that are gone.
func inheritKeepAlive(uintptr, net.KeepAliveConfig) {}

// setBacklog leaves the system's own limit in force.
func setBacklog(net.Listener, int) error { return nil }
