package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	rushEvery = 5 * time.Second
	// rushLeast is how many connections make a rush: with fewer, there is little
	// to give back.
	rushLeast = 1024
	// rushCalm is how many looks in a row must find less than a quarter of the
	// most. What ends a flood should not be followed by the next one's work.
	rushCalm = 2
)

// rush notices when many connections have come and gone.
type rush struct{ most, calm int }

// over looks at how many there are, and says whether a rush has just ended.
func (r *rush) over(live int) bool {
	r.most = max(r.most, live)
	if r.most < rushLeast || live > r.most/4 {
		r.calm = 0
		return false
	}
	if r.calm++; r.calm < rushCalm {
		return false
	}
	*r = rush{most: live}
	return true
}

// giveBack returns memory to the system when a rush has ended, until ctx ends.
// The runtime collects when new garbage has come, and without that after two
// minutes: a relay that nobody floods any more would keep the flood's memory.
func giveBack(ctx context.Context, live func() int, trim func()) {
	t := time.NewTicker(rushEvery)
	defer t.Stop()
	var r rush
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if r.over(live()) {
				trim()
				runtime.GC() // pools keep what they have for one collection more
				debug.FreeOSMemory()
			}
		}
	}
}
