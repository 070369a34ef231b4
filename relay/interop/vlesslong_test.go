//go:build soak

package interop

import "time"

// With the tag soak. Silence is longer than the minute after which proxies on
// the way like to end what is idle.
const (
	stoodInDown   = vlessDown
	stoodInUp     = vlessUp
	vlessSilent   = 65 * time.Second
	stoodInSilent = vlessSilent
	stoodInSample = false
)
