package splice

import (
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// One reactor does everything as long as it can: its batches are larger and its
// sleeps fewer than those of two that share the same work, which costs a fifth
// less CPU for a message (measured). When it is awake most of the time, and a
// processor is free for another one, it gives away what comes in and some of the
// pairs that move. When the rush is over, the pairs that move come home.
const (
	// window is how long a reactor watches itself before it judges.
	window = 100 * time.Millisecond
	// much is the share of its time, in percent, at which it gives away.
	much = 80
	// little is the share below which another one takes more.
	little = 60
	// calm is what two may be awake together for one of them to do it all.
	calm = 50
	// fed is the part of the time that the reactors are awake, in percent, for
	// which they must have had a processor. If it is less, other programs want
	// the processors as well, and another reactor would only get in the way.
	fed = 85
	// pressed is the share at which a reactor that is awake does not hear events.
	pressed = 40
	// givePart is the part of its pairs that a reactor gives away in a window.
	givePart = 16
)

// load is what a reactor tells the others about itself.
type load struct {
	percent atomic.Int32
	at      atomic.Int64 // when, since core.epoch
}

// of is the load as of now, in percent: who says nothing sleeps.
func (l *load) of(now int64) int {
	if now-l.at.Load() > int64(3*window) {
		return 0
	}
	return int(l.percent.Load())
}

// share is what a reactor knows of its own time.
type share struct {
	began int64    // of this window
	slept int64    // in this window
	since int64    // asleep since; 0: awake
	cpu   int64    // what the process had used when it began, in nanoseconds
	to    *reactor // who is given pairs in this window, and takes what is new
	give  int      // how many pairs

	pressed bool // awake so much that nobody needs to wake it
}

// wake counts the sleep that has ended, if there was one, and judges.
func (r *reactor) wake() {
	s := &r.share
	if s.since != 0 {
		s.slept += r.now - max(s.since, s.began)
		s.since = 0
	}
	past := r.now - s.began
	if past < int64(window) {
		return
	}
	cpu := processTime()
	r.load.percent.Store(int32(100 - 100*s.slept/past))
	r.load.at.Store(r.now)
	s.pressed = r.load.of(r.now) >= pressed
	s.to, s.give = r.judge(100 * (cpu - s.cpu) / past)
	s.began, s.slept, s.cpu = r.now, 0, cpu
}

// judge finds who is to have some of the pairs, and how many. used is the
// processor time of this process, in percent of the window's.
func (r *reactor) judge(used int64) (to *reactor, give int) {
	peers := r.core.peers()
	if len(peers) < 2 {
		return nil, 0
	}
	own, first, awake := r.load.of(r.now), peers[0], 0
	for _, o := range peers {
		n := o.load.of(r.now)
		awake += n
		if o != r && n < little {
			to = o
		}
	}
	switch {
	case r != first && own+first.load.of(r.now) < calm:
		return first, len(r.pairs)
	case own >= much && used >= int64(awake)*fed/100 && to != nil:
		return to, 1 + len(r.pairs)/givePart
	}
	return nil, 0
}

// other is who takes what is new, if this one has no time.
func (r *reactor) other() *reactor {
	if r.core.restless {
		for _, o := range r.core.peers() {
			if o != r {
				return o
			}
		}
	}
	return r.share.to
}

// give hands a pair that moves to another reactor; false: it stays.
func (r *reactor) give(p *pair) bool {
	if w := &p.ways; p.queued || w[0].paused+w[1].paused > 0 || len(w[0].rest)+len(w[1].rest) > 0 {
		return false
	}
	to := r.other()
	if to == nil {
		r.share.give = 0
		return false
	}
	r.share.give--
	for i := range p.sides {
		_ = p.watch(i, unix.EPOLL_CTL_DEL, false)
	}
	r.release(p)
	to.receive(p)
	return true
}

// receive takes a pair from another reactor, whose goroutine calls it, as join
// does from a goroutine that is none.
func (r *reactor) receive(p *pair) {
	r.mu.Lock()
	p.r.Store(r)
	r.name(p)
	for i := range p.sides {
		if err := p.watch(i, unix.EPOLL_CTL_ADD, p.sides[i].armed); err != nil {
			// No memory to watch it with: it cannot go on.
			r.orders = append(r.orders, order{p: p, status: transport.Drained})
		}
	}
	r.given = append(r.given, p)
	r.ringLocked()
	r.mu.Unlock()
}

// resume starts a pair that was given: where it was full or had more to read,
// epoll has told of it again.
func (r *reactor) resume(p *pair) {
	r.put(p)
	r.schedule(p)
	r.move(p, toFar)
	if !p.ended {
		r.move(p, toNear)
	}
}

// arrival is a connection that another reactor has accepted.
type arrival struct {
	l    *listening
	fd   int32
	peer netip.AddrPort
}
