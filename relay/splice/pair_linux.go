package splice

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// The directions of a pair, named by where the bytes go. Direction d reads from
// side d, near first, and writes to the other.
const (
	toFar  = 0
	toNear = 1
)

// pair is a flow on a reactor: two descriptors, counters and a deadline, and
// whatever the sink of a direction has not taken yet. Only the reactor's
// goroutine touches it, except for the fields that never change.
type pair struct {
	r     atomic.Pointer[reactor] // whose it is; only that one changes it
	acct  Account                 // may be nil
	done  func(End)
	lim   Limits
	sides [2]side
	ways  [2]way

	task   *task   // who has it before it is a flow; nil afterwards
	layers *layers // nil: both sides are plain
	name   uint32  // of all pairs of the reactor, this one
	slot   uint32  // where it stands, and what events call it

	next, prev *pair // in the wheel
	slotOf     int32
	filed      bool
	queued     bool // in r.queue
	asked      bool // whether the target is still there: see Limits.Ask
	ended      bool

	last   int64            // when a byte last moved
	status transport.Status // how it ended; before that, who could not be written to
}

// layers are the codecs of the two sides.
type layers [2]struct {
	codecs  []transport.Codec // from the innermost to the outermost
	replies bool              // one of them may answer by itself
}

// codecs are those of a side, innermost first.
func (p *pair) codecs(i int) []transport.Codec {
	if p.layers == nil {
		return nil
	}
	return p.layers[i].codecs
}

// replies reports whether a codec of a side may answer by itself.
func (p *pair) replies(i int) bool { return p.layers != nil && p.layers[i].replies }

// side is one connection of a pair.
type side struct {
	fd       int32
	unsent   int32 // what it holds unsent at most; 0: not asked yet; -1: no limit
	readable bool  // there may be bytes, or an end
	closing  bool  // an end or urgent data follows: a short read is not the last
	armed    bool  // epoll tells when there is room
	refused  bool  // a write met a reset, of which reads are not told again
	noSplice bool  // this socket cannot be spliced
	gone     bool  // its peer has ended it, or broken it off
	broken   bool  // it was broken off
}

// way is one direction of a pair.
type way struct {
	moved  int64
	rest   []byte // what the sink has not taken
	owed   int    // payload in rest, to account for as it goes
	bulk   bool   // the last read was as large as it could be
	full   bool   // the sink takes no more; epoll tells
	eof    bool   // the source has ended in order
	reply  bool   // rest ends with what a codec says by itself
	said   bool   // the codecs have told the sink's peer
	over   bool   // nothing more goes this way
	paused uint16 // pauses that the account wanted and that are not over
}

// react hands a pair of sockets to a reactor; nil if it has to go elsewhere.
func (c *Core) react(ends *[2]end, lim Limits, acct Account, done func(End)) Flow {
	whole := ends[0].err == nil && ends[1].err == nil
	a, _ := ends[0].conn.(*Socket)
	b, _ := ends[1].conn.(*Socket)
	if whole && a != nil && b != nil && a.t == b.t && a.i == 0 && a.here() {
		return a.t.join(ends, lim, acct, done)
	}
	for i := range ends {
		// If it fails, so does whatever is tried on the connection. A layer that
		// is left does more to the bytes than a codec could: it stays.
		_ = transport.MayWait(ends[i].conn)
		if s, ok := ends[i].conn.(*Socket); ok {
			ends[i].conn, _, _ = s.Detach()
		}
	}
	if !whole {
		return nil
	}
	near, ok := duplicate(ends[0].conn)
	if !ok {
		return nil
	}
	far, ok := duplicate(ends[1].conn)
	if !ok {
		closeSocket(near, false)
		return nil
	}
	if r := c.reactor(); r != nil {
		p := new(pair)
		p.r.Store(r)
		p.sides[0].fd, p.sides[1].fd = near, far
		p.become(ends, lim, acct, done)
		if r.join(p, ends) {
			return p
		}
	}
	closeSocket(near, false)
	closeSocket(far, false)
	return nil
}

// become makes a flow of a pair of sockets.
func (p *pair) become(ends *[2]end, lim Limits, acct Account, done func(End)) {
	p.lim, p.acct, p.done = lim, acct, done
	for i := range ends {
		if len(ends[i].codecs) > 0 {
			if p.layers == nil {
				p.layers = new(layers)
			}
			p.layers[i].codecs, p.layers[i].replies = ends[i].codecs, ends[i].replies()
		}
		p.ways[i].rest = ends[i].unread
	}
}

// join makes a flow of the task's pair. It stays where it is.
func (t *task) join(ends *[2]end, lim Limits, acct Account, done func(End)) Flow {
	p := t.p
	t.finish()
	p.become(ends, lim, acct, done)
	t.r.begin(p)
	if !p.ended {
		t.r.move(p, toFar)
	}
	if !p.ended {
		t.r.move(p, toNear)
	}
	return p
}

// join gives a pair its slot and lets the reactor have it. The lock is held
// throughout: the reactor takes it between fetching events and looking at them,
// so no event can name a pair that it does not know.
func (r *reactor) join(p *pair, ends *[2]end) bool {
	r.mu.Lock()
	r.name(p)
	for i := range p.sides {
		if err := p.watch(i, unix.EPOLL_CTL_ADD, false); err != nil {
			if i > 0 {
				_ = p.watch(0, unix.EPOLL_CTL_DEL, false)
			}
			r.free = append(r.free, p.slot)
			r.mu.Unlock()
			return false
		}
	}
	for _, e := range ends {
		_ = e.conn.Close()
	}
	r.joined = append(r.joined, p)
	ring := r.asleep || len(p.ways[toFar].rest)+len(p.ways[toNear].rest) > 0
	if ring {
		r.ringLocked()
	}
	r.mu.Unlock()
	return true
}

// name gives a pair a slot that is free and a name that none has had; under mu.
func (r *reactor) name(p *pair) {
	if n := len(r.free); n > 0 {
		p.slot, r.free = r.free[n-1], r.free[:n-1]
	} else {
		p.slot = r.slots
		r.slots++
	}
	r.names++
	p.name = r.names
}

// watch tells epoll what to report of a side: bytes and ends always, room only
// once it has been missed, since every new socket has room.
func (p *pair) watch(i, op int, room bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(p.slot<<1) | int32(i), Pad: int32(p.name)}
	if room {
		e.Events |= unix.EPOLLOUT
	}
	return epollControl(p.r.Load().epfd, op, p.sides[i].fd, &e)
}

// put makes a pair known to the goroutine.
func (r *reactor) put(p *pair) {
	for len(r.pairs) <= int(p.slot) {
		r.pairs = append(r.pairs, nil)
	}
	r.pairs[p.slot] = p
}

// forget is the end of a pair.
func (r *reactor) forget(p *pair) {
	p.ended = true
	r.release(p)
}

// release frees a pair's slot.
func (r *reactor) release(p *pair) {
	r.wheel.drop(p)
	r.pairs[p.slot] = nil
	r.mu.Lock()
	r.free = append(r.free, p.slot)
	r.mu.Unlock()
}

// begin starts a flow with what was read before.
func (r *reactor) begin(p *pair) {
	p.last = r.now
	r.schedule(p)
	early := [2][]byte{p.ways[0].rest, p.ways[1].rest}
	p.ways[0].rest, p.ways[1].rest = nil, nil
	for d := range p.ways {
		if len(early[d]) > 0 && !p.ended {
			r.deliver(p, d, early[d])
		}
		if !p.ended {
			r.answer(p, d) // to what was decoded before
		}
	}
}

// Cut implements Flow.
func (p *pair) Cut(s transport.Status) {
	r := p.r.Load()
	r.tell(func() { r.orders = append(r.orders, order{p: p, status: s}) })
}

// deadline is when the pair ends if nothing moves until then; 0: never.
func (p *pair) deadline() int64 {
	if p.task != nil {
		return p.task.at
	}
	lim := p.lim.Idle
	if p.ways[0].over || p.ways[1].over {
		lim = p.lim.Fin
	}
	if p.mayAsk() {
		lim = p.lim.Ask
	}
	if lim <= 0 {
		return 0
	}
	return p.last + int64(lim)
}

// schedule puts a pair into the wheel, or where its new deadline belongs.
func (r *reactor) schedule(p *pair) {
	r.wheel.drop(p)
	if at := p.deadline(); at != 0 {
		if r.wheel.first == 0 {
			r.wheel.at = max(r.wheel.at, r.now/r.wheel.tick-1)
		}
		r.wheel.file(p, at)
		r.dueBy(r.wheel.first)
	}
}

// hear notes what epoll says of reading from a side.
func (s *side) hear(events uint32) {
	const gone = unix.EPOLLERR | unix.EPOLLHUP
	if events&(unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLRDHUP|gone) != 0 {
		s.readable = true
	}
	// A read ends in front of urgent data, whatever lies behind it.
	if events&(unix.EPOLLPRI|unix.EPOLLRDHUP|gone) != 0 {
		s.closing = true
	}
	s.gone = s.gone || events&(unix.EPOLLRDHUP|gone) != 0
	s.broken = s.broken || events&gone != 0
}

// ready handles what epoll says of a side, then moves bytes both ways: room on
// one side can be what reading from it has waited for.
func (r *reactor) ready(p *pair, i int, events uint32) {
	if p.task != nil {
		p.task.event(i, events)
		return
	}
	const gone = unix.EPOLLERR | unix.EPOLLHUP
	s, in, out := &p.sides[i], &p.ways[i], &p.ways[1-i]
	s.hear(events)
	if events&(unix.EPOLLOUT|gone) != 0 {
		out.full = false
	}
	// Nobody reads any more, so nobody would be told of a reset.
	if events&gone != 0 && (in.over || in.eof) && !out.over && len(out.rest) == 0 {
		e := pendingError(s.fd)
		if e == 0 {
			e = unix.EPIPE // somebody was told before
		}
		r.sinkFailed(p, 1-i, e)
	}
	if !p.ended {
		r.move(p, 1-i)
	}
	if !p.ended {
		r.move(p, i)
	}
}

// account counts payload that has been delivered.
func (r *reactor) account(p *pair, d, n int) {
	if n == 0 {
		return
	}
	w := &p.ways[d]
	w.moved += int64(n)
	p.last = r.now
	if p.acct == nil {
		return
	}
	if wait := p.acct.Moved(d == toFar, n); wait > 0 {
		w.paused++
		// r.now is as old as the batch: a pause begins now.
		at := int64(time.Since(r.epoch) + wait)
		r.alarms.push(alarm{at: at, p: p, d: d})
		r.dueBy(at)
	}
}
