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
// less CPU for a message (measured). When it is awake most of the time, it gives
// away what comes in, and some of the pairs that move.
const (
	// window is how long a reactor watches itself before it judges.
	window = 100 * time.Millisecond
	// much is the share of its time, in percent, at which it gives away.
	much = 80
	// little is the share below which another one takes more.
	little = 60
	// givePart is the part of its pairs that a reactor gives away in a window.
	givePart = 16
)

// load is what a reactor tells the others about itself.
type load struct {
	percent atomic.Int32
	at      atomic.Int64 // when, since core.epoch
}

// share is what a reactor knows of its own time.
type share struct {
	began int64 // of this window
	slept int64 // in this window
	since int64 // asleep since; 0: awake
	give  int   // pairs to give away in this window
}

// wake counts the sleep that has ended, if there was one, and judges.
func (r *reactor) wake() {
	if r.share.since != 0 {
		r.share.slept += r.now - max(r.share.since, r.share.began)
		r.share.since = 0
	}
	if past := r.now - r.share.began; past >= int64(window) {
		percent := int32(100 - 100*r.share.slept/past)
		r.load.percent.Store(percent)
		r.load.at.Store(r.now)
		r.share.began, r.share.slept, r.share.give = r.now, 0, 0
		if percent >= much && r.other() != nil {
			r.share.give = 1 + len(r.pairs)/givePart
		}
	}
}

// other is a reactor that has time, if this one has none.
func (r *reactor) other() *reactor {
	if !r.core.restless && r.load.percent.Load() < much {
		return nil
	}
	for _, o := range r.core.peers() {
		if o != r && (r.core.restless || o.load.percent.Load() < little || r.now-o.load.at.Load() > int64(3*window)) {
			return o
		}
	}
	return nil
}

// give hands a pair that moves to another reactor; false: it stays.
func (r *reactor) give(p *pair) bool {
	if w := &p.ways; p.queued || w[0].paused || w[1].paused || len(w[0].rest)+len(w[1].rest) > 0 {
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
