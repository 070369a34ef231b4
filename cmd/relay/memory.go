package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	lookEvery = time.Second
	rushEvery = 5 // looks
	// growthLeast is how many connections more leave garbage worth collecting.
	growthLeast = 256
	// rushLeast is how many connections make a rush: with fewer, there is little
	// to give back.
	rushLeast = 1024
	// rushCalm is how many looks in a row must find less than a quarter of the
	// most. What ends a flood should not be followed by the next one's work.
	rushCalm = 2
	// rushLast is how many looks after that the last of it has gone as well.
	rushLast = 4
)

// rush notices when many connections have come and gone.
type rush struct{ most, calm, last int }

// over looks at how many there are, and says whether a rush has just ended, or the
// last of one.
func (r *rush) over(live int) bool {
	r.most = max(r.most, live)
	last := r.last == 1
	r.last = max(0, r.last-1)
	if r.most < rushLeast || live > r.most/4 {
		r.calm = 0
		return last
	}
	if r.calm++; r.calm < rushCalm {
		return last
	}
	*r = rush{most: live, last: rushLast}
	return true
}

// growth notices when many connections have come and stay.
type growth struct{ since, before int }

// settled looks at how many there are, and says whether they have just become many
// more, and no more are coming.
func (g *growth) settled(live int) bool {
	steady := live-g.before <= live/32
	g.before, g.since = live, min(g.since, live)
	if live-g.since < growthLeast || !steady {
		return false
	}
	g.since = live
	return true
}

// work is how many connections there are, and what the site's visitors keep it busy with
// beside: some of the latter can be as much as many of the former.
func (in *instance) work() int {
	s := in.server.Snapshot()
	return s.Live + s.Borrowed
}

// giveBack returns memory to the system when a rush has ended, and what openings
// have left when many connections have come, until ctx ends. The runtime collects
// when new garbage has come, and without that after two minutes: a relay that nobody
// floods any more would keep the flood's memory, and one with idle clients what it
// took to let them in.
func giveBack(ctx context.Context, live func() int, trim func()) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	var r rush
	var g growth
	for looks := 1; ; looks++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n := live()
		r.most = max(r.most, n)
		over := looks%rushEvery == 0 && r.over(n)
		if over {
			trim()
			runtime.GC() // pools keep what they have for one collection more
		}
		if g.settled(n) || over {
			debug.FreeOSMemory()
		}
	}
}
