package splice

import (
	"syscall"
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
	r     *reactor
	acct  Account // may be nil
	done  func(End)
	lim   Limits
	sides [2]side
	ways  [2]way

	name uint32 // of all pairs of the reactor, this one
	slot uint32 // where it stands, and what events call it

	next, prev *pair // in the wheel
	slotOf     int32
	filed      bool
	queued     bool // in r.queue
	ended      bool

	last   int64            // when a byte last moved
	status transport.Status // how it ended; before that, who could not be written to
}

// side is one connection of a pair.
type side struct {
	codecs   []transport.Codec // from the innermost to the outermost
	fd       int32
	unsent   int32 // what it holds unsent at most; 0: not asked yet; -1: no limit
	readable bool  // there may be bytes, or an end
	closing  bool  // an end or urgent data follows: a short read is not the last
	armed    bool  // epoll tells when there is room
	refused  bool  // a write met a reset, of which reads are not told again
	noSplice bool  // this socket cannot be spliced
	replies  bool  // one of the codecs may answer by itself
}

// way is one direction of a pair.
type way struct {
	moved  int64
	rest   []byte // what the sink has not taken
	owed   int    // payload in rest, to account for as it goes
	bulk   bool   // the last read was as large as it could be
	full   bool   // the sink takes no more; epoll tells
	paused bool   // the account wants it so
	eof    bool   // the source has ended in order
	reply  bool   // rest ends with what a codec says by itself
	said   bool   // the codecs have told the sink's peer
	over   bool   // nothing more goes this way
}

// react hands a pair of sockets to a reactor; nil if it has to go elsewhere.
func (c *Core) react(ends *[2]end, lim Limits, acct Account, done func(End)) Flow {
	if ends[0].err != nil || ends[1].err != nil {
		return nil
	}
	near, ok := duplicate(ends[0].conn)
	if !ok {
		return nil
	}
	far, ok := duplicate(ends[1].conn)
	if !ok {
		_ = unix.Close(int(near))
		return nil
	}
	if r := c.reactor(); r != nil {
		p := &pair{r: r, acct: acct, done: done, lim: lim}
		p.sides[0] = side{fd: near, codecs: ends[0].codecs, replies: ends[0].replies()}
		p.sides[1] = side{fd: far, codecs: ends[1].codecs, replies: ends[1].replies()}
		p.ways[toFar].rest, p.ways[toNear].rest = ends[0].unread, ends[1].unread
		if r.join(p, ends) {
			return p
		}
	}
	_ = unix.Close(int(near))
	_ = unix.Close(int(far))
	return nil
}

// join gives a pair its slot and lets the reactor have it. The lock is held
// throughout: the reactor takes it between fetching events and looking at them,
// so no event can name a pair that it does not know.
func (r *reactor) join(p *pair, ends *[2]end) bool {
	r.mu.Lock()
	if n := len(r.free); n > 0 {
		p.slot, r.free = r.free[n-1], r.free[:n-1]
	} else {
		p.slot = r.slots
		r.slots++
	}
	r.names++
	p.name = r.names
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
	r.mu.Unlock()
	if ring {
		r.ring()
	}
	return true
}

// watch tells epoll what to report of a side: bytes and ends always, room only
// once it has been missed, since every new socket has room.
func (p *pair) watch(i, op int, room bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(p.slot<<1) | int32(i), Pad: int32(p.name)}
	if room {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.r.epfd, op, int(p.sides[i].fd), &e)
}

// take makes a pair that has joined known to the goroutine.
func (r *reactor) take(p *pair) {
	for len(r.pairs) <= int(p.slot) {
		r.pairs = append(r.pairs, nil)
	}
	r.pairs[p.slot] = p
	p.last = r.now
	r.schedule(p)
	for d := range p.ways {
		if early := p.ways[d].rest; len(early) > 0 && !p.ended {
			p.ways[d].rest = nil
			r.deliver(p, d, early)
		}
		if !p.ended {
			r.answer(p, d) // to what was decoded before
		}
	}
}

// Cut implements Flow.
func (p *pair) Cut(s transport.Status) {
	p.r.tell(func() { p.r.orders = append(p.r.orders, order{p, s}) })
}

// deadline is when the pair ends if nothing moves until then; 0: never.
func (p *pair) deadline() int64 {
	lim := p.lim.Idle
	if p.ways[0].over || p.ways[1].over {
		lim = p.lim.Fin
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

// ready handles what epoll says of a side, then moves bytes both ways: room on
// one side can be what reading from it has waited for.
func (r *reactor) ready(p *pair, i int, events uint32) {
	const gone = unix.EPOLLERR | unix.EPOLLHUP
	s, in, out := &p.sides[i], &p.ways[i], &p.ways[1-i]
	if events&(unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLRDHUP|gone) != 0 {
		s.readable = true
	}
	// A read ends in front of urgent data, whatever lies behind it.
	if events&(unix.EPOLLPRI|unix.EPOLLRDHUP|gone) != 0 {
		s.closing = true
	}
	if events&(unix.EPOLLOUT|gone) != 0 {
		out.full = false
	}
	// Nobody reads any more, so nobody would be told of a reset.
	if events&gone != 0 && (in.over || in.eof) && !out.over && len(out.rest) == 0 {
		r.sinkFailed(p, 1-i, socketError(s.fd))
	}
	if !p.ended {
		r.move(p, 1-i)
	}
	if !p.ended {
		r.move(p, i)
	}
}

// socketError is the error that a socket has not told anybody yet.
func socketError(fd int32) syscall.Errno {
	e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || e == 0 {
		return unix.EPIPE
	}
	return syscall.Errno(e)
}

// gone is the word for the side that broke off.
func gone(i int) transport.Status {
	if i == 0 {
		return transport.ClientGone
	}
	return transport.TargetGone
}

// sourceFailed ends the pair: a reset on one side is a reset on the other.
func (r *reactor) sourceFailed(p *pair, d int) { r.end(p, gone(d), true) }

// sinkFailed ends one direction. The other goes on: it may carry the answer.
func (r *reactor) sinkFailed(p *pair, d int, err syscall.Errno) {
	w := &p.ways[d]
	w.rest, w.over = nil, true
	// A peer that has closed its end in order answers our bytes with a reset,
	// too; that is EPIPE, and what it sent before is complete.
	if err != unix.EPIPE {
		p.sides[1-d].refused = true
	}
	if p.status == "" {
		p.status = gone(1 - d)
	}
	r.wayOver(p)
}

// sourceEnded ends a direction whose source has ended in order and whose bytes
// are delivered.
func (r *reactor) sourceEnded(p *pair, d int) {
	w, other := &p.ways[d], &p.ways[1-d]
	src, dst := &p.sides[d], &p.sides[1-d]
	if src.refused {
		// Linux tells of a reset once, then reads see the end of the stream.
		r.sourceFailed(p, d)
		return
	}
	if len(dst.codecs) > 0 && !w.said {
		w.said = true
		if r.push(p, d, finish(dst.codecs), 0); len(w.rest) > 0 || w.over || p.ended {
			return
		}
	}
	w.over = true
	// For the direction that ends last the close that follows tells the peer,
	// with one system call less; not if the other one broke off, as it may have
	// left unread bytes behind, with which a close is a reset.
	if !other.over || p.status != "" {
		_ = unix.Shutdown(int(dst.fd), unix.SHUT_WR)
	}
	r.wayOver(p)
}

// wayOver ends the pair if the other direction is over as well.
func (r *reactor) wayOver(p *pair) {
	if !p.ways[0].over || !p.ways[1].over {
		p.last = r.now
		r.schedule(p) // under the fin timeout now
		return
	}
	s := p.status
	if s == "" {
		s = transport.OK
	}
	r.end(p, s, false)
}

// end closes both connections and accounts for the pair.
func (r *reactor) end(p *pair, s transport.Status, reset bool) {
	p.ended = true
	p.status = s
	r.wheel.drop(p)
	r.pairs[p.slot] = nil
	for i := range p.sides {
		closeSocket(p.sides[i].fd, reset)
		p.sides[i].codecs = nil
		p.ways[i].rest = nil
	}
	r.mu.Lock()
	r.free = append(r.free, p.slot)
	r.mu.Unlock()
	if p.done != nil {
		p.done(End{Status: s, Up: p.ways[toFar].moved, Down: p.ways[toNear].moved})
		p.done = nil
	}
	p.acct = nil
	r.core.ended()
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
		w.paused = true
		// r.now is as old as the batch: a pause begins now.
		at := int64(time.Since(r.epoch) + wait)
		r.pauses.push(pause{at: at, p: p, d: d})
		r.dueBy(at)
	}
}
