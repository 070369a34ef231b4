//go:build race

package relay_test

// raceEnabled: the race detector has stacks and a heap of its own.
const raceEnabled = true
