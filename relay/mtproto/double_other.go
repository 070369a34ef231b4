//go:build !amd64

package mtproto

// vector is false: newDouble makes chains.
var vector = false

func expand(*schedule, *[2][keySize]byte) {}

func xorGroups(_, _ *byte, _ int, _ *schedule, _ *[2][2]uint64) {}
