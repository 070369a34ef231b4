//go:build !unix

package site

import "relay/transport"

// readNow reads nothing where sockets cannot be asked without waiting.
func readNow(transport.Conn, []byte) int { return 0 }
