package splice

import (
	"testing"

	"golang.org/x/sys/unix"
)

// An event that was fetched before its pair ended means nobody, whoever has the
// slot now, and neither does one for a pair that never joined.
func TestEventForNobody(t *testing.T) {
	r := &reactor{}
	p := &pair{r: r, name: 7}
	p.ways[0].paused, p.ways[1].paused = true, true // it is not to read
	r.pairs = []*pair{p}
	for _, e := range []unix.EpollEvent{{Fd: 0, Pad: 6}, {Fd: 2, Pad: 7}, {Fd: 1000, Pad: 8}, {Fd: -1, Pad: 7}} {
		e.Events = unix.EPOLLIN
		if r.event(&e); p.sides[0].readable || p.sides[1].readable {
			t.Errorf("event for slot %d, name %d: got it taken for the pair's, want it ignored", e.Fd>>1, e.Pad)
		}
	}
	r.event(&unix.EpollEvent{Fd: 1, Pad: 7, Events: unix.EPOLLIN})
	if !p.sides[1].readable {
		t.Error("event for the pair: got it ignored, want it taken")
	}
}
