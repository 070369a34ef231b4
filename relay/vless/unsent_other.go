//go:build !linux

package vless

import "relay/transport"

// limitUnsent has a target that is slow take something all the time, where that can be
// done.
func limitUnsent(transport.Conn) {}
