//go:build !unix

package splice

import "relay/transport"

// disconnected is not asked where a reset is told to every call.
func disconnected(transport.Conn) bool { return false }

func hungUp(transport.Conn) bool { return false }
