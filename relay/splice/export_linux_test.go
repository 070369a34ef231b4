package splice

import (
	"time"

	"golang.org/x/sys/unix"
)

// Parked is how many directions the lookout waits for.
func (c *Core) Parked() int {
	c.lookout.mu.Lock()
	defer c.lookout.mu.Unlock()
	return len(c.lookout.parked)
}

// OnReactor reports whether a flow is on a reactor.
func OnReactor(f Flow) bool {
	_, ok := f.(*pair)
	return ok
}

// TestingNoPipe starts the reactors of a core that has no flows yet, and leaves
// them without a pipe for good.
func (c *Core) TestingNoPipe() {
	c.reactor()
	for _, r := range c.reactors {
		r.pipe.again = time.Now().Add(time.Hour)
	}
}

// Held is what a reactor keeps.
type Held struct {
	Rest    int // bytes that sinks have not taken
	Largest int // of them, for one direction
	Pairs   int
	Slots   int // that pairs have or had
	Piped   int // bytes in its pipe
}

// HeldBy sums what the reactor of a flow keeps for all of its flows. It must be
// called on the reactor's goroutine: by a done of one of its flows.
func HeldBy(f Flow) (h Held) {
	r := f.(*pair).r.Load()
	if r.pipe.r >= 0 {
		h.Piped, _ = unix.IoctlGetInt(r.pipe.r, unix.TIOCINQ) // FIONREAD
	}
	h.Slots = len(r.pairs)
	for _, p := range r.pairs {
		if p == nil {
			continue
		}
		h.Pairs++
		for d := range p.ways {
			h.Rest += cap(p.ways[d].rest)
			h.Largest = max(h.Largest, cap(p.ways[d].rest))
		}
	}
	return h
}
