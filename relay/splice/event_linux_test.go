package splice

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// An event that was fetched before its pair ended means nobody, whoever has the
// slot now, and neither does one for a pair that never joined.
func TestEventForNobody(t *testing.T) {
	r := &reactor{core: new(Core)}
	p := &pair{name: 7}
	p.r.Store(r)
	p.ways[0].paused, p.ways[1].paused = 1, 1 // it is not to read
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

// What a peer may have read is accounted for, though what a payload became has
// gone only in part.
func TestAccountOfPartialWrite(t *testing.T) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatalf("epoll: got %v, want nil", err)
	}
	defer unix.Close(epfd)
	r := &reactor{epfd: epfd}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("socket pair: got %v, want nil", err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	p := &pair{layers: new(layers)}
	p.r.Store(r)
	p.sides[1].fd = int32(fds[0])
	p.layers[1].codecs = make([]transport.Codec, 1)
	if err := p.watch(1, unix.EPOLL_CTL_ADD, false); err != nil {
		t.Fatalf("watch: got %v, want nil", err)
	}
	const payload, wire = 3_900_000, 4_000_000
	w, read, buf := &p.ways[toFar], 0, make([]byte, 50_000)
	for r.push(p, toFar, make([]byte, wire), payload); len(w.rest) > 0; {
		if sent := int64(wire - len(w.rest)); w.moved < min(sent, payload) || w.moved > payload {
			t.Fatalf("accounted for with %d of %d bytes written: got %d, want as many, of %d", sent, wire, w.moved, payload)
		}
		n, err := unix.Read(fds[1], buf)
		if err != nil {
			t.Fatalf("read after %d bytes: got %v, want nil", read, err)
		}
		read += n
		rest := w.rest
		w.rest = nil
		r.push(p, toFar, rest, 0)
	}
	if w.moved != payload || w.owed != 0 {
		t.Errorf("accounted for at the end: got %d, want %d", w.moved, payload)
	}
}

// Of two pauses of one direction the longer one holds.
func TestTwoPauses(t *testing.T) {
	r := &reactor{core: new(Core), epoch: time.Now()}
	r.wheel.tick = int64(time.Second)
	p := new(pair)
	for _, wait := range []time.Duration{time.Minute, time.Hour} {
		p.acct = pausing(wait)
		r.account(p, toFar, 1)
	}
	for _, c := range []struct {
		at     time.Duration
		paused bool
	}{{0, true}, {2 * time.Minute, true}, {2 * time.Hour, false}} {
		r.now = int64(c.at)
		r.expire()
		if got := p.ways[toFar].paused > 0; got != c.paused {
			t.Errorf("paused after %v: got %v, want %v", c.at, got, c.paused)
		}
	}
}

type pausing time.Duration

func (p pausing) Moved(bool, int) time.Duration { return time.Duration(p) }
func (pausing) Limited() bool                   { return true }
