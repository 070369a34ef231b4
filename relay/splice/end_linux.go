package splice

import (
	"syscall"

	"golang.org/x/sys/unix"

	"relay/transport"
)

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
	r.keepRest(w, nil)
	w.over = true
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
	if len(p.codecs(1-d)) > 0 && !w.said {
		w.said = true
		if r.push(p, d, finish(p.codecs(1-d)), 0); len(w.rest) > 0 || w.over || p.ended {
			return
		}
	}
	w.over = true
	// For the direction that ends last the close that follows tells the peer,
	// with one system call less; not if the other one broke off, as it may have
	// left unread bytes behind, with which a close is a reset.
	if !other.over || p.status != "" {
		_ = endWrite(dst.fd)
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
	if p.status == "" {
		p.status = transport.OK
	}
	if r.vanished(p) {
		_ = setLingerEnded(p.sides[0].fd, leastLinger)
		r.end(p, p.status, false)
		return
	}
	r.end(p, p.status, p.refusedLate())
}

// refusedLate reports whether the peer of one side wrote after the end of the
// other, which it knew of: without us a reset would have been the answer, and it
// has got everything that it could lose by one.
func (p *pair) refusedLate() bool {
	switch p.status {
	case transport.ClientGone:
		return endTaken(p.sides[1].fd)
	case transport.TargetGone:
		return endTaken(p.sides[0].fd)
	}
	return false
}

// refusedLate is the same on the portable path.
func (f *pumped) refusedLate(left transport.Status) (late bool) {
	var c syscall.Conn
	switch left {
	case transport.ClientGone:
		c, _ = f.far.(syscall.Conn)
	case transport.TargetGone:
		c, _ = f.near.(syscall.Conn)
	}
	if c == nil {
		return false
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { late = endTaken(int32(fd)) })
	}
	return late
}

// end closes both connections and accounts for the pair.
func (r *reactor) end(p *pair, s transport.Status, reset bool) {
	p.status = s
	r.forget(p)
	for i := range p.sides {
		closeSocket(p.sides[i].fd, reset)
		r.keepRest(&p.ways[i], nil)
	}
	p.layers = nil
	if p.done != nil {
		p.done(End{Status: s, Up: p.ways[toFar].moved, Down: p.ways[toNear].moved})
		p.done = nil
	}
	p.acct = nil
	r.core.ended()
}
