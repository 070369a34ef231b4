//go:build race

package splice_test

// raceEnabled: under the race detector a sync.Pool drops what is put into it
// at random, so allocations cannot be counted.
const raceEnabled = true
