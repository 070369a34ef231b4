//go:build !soak

package interop

import "time"

// How much and how long, without the tag soak. The stand-in only shows that the
// tests can pass.
const (
	stoodInDown   = 64 << 20
	stoodInUp     = 32 << 20
	vlessSilent   = 5 * time.Second
	stoodInSilent = time.Second
	stoodInSample = true
)
