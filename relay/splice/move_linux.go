package splice

import (
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"relay/transport"
)

const (
	// leastRoom is the room in a sink that is worth a read. It must be less
	// than what makes the kernel call a socket writable: a third of the
	// smallest send buffer.
	leastRoom = 1 << 10
	// largeRead is one read of a flow that moves much and cannot be spliced.
	largeRead = 64 << 10
	// turn is how much one direction may move before the others have theirs.
	turn = 256 << 10
)

// move takes one direction as far as it goes, up to a turn.
func (r *reactor) move(p *pair, d int) {
	w, src := &p.ways[d], &p.sides[d]
	for left := turn; !w.over && !p.ended && !w.full; {
		switch {
		case len(w.rest) > 0:
			rest := w.rest
			r.keepRest(w, nil)
			r.push(p, d, rest, 0)
		case w.eof:
			r.sourceEnded(p, d)
		case w.paused > 0 || !src.readable:
			return
		case p.ways[1-d].reply && len(p.ways[1-d].rest) > 0:
			// Answers to what we read must not pile up. For anything else we
			// go on: while a small receive buffer is full, Linux drops the
			// acknowledgements that come with bytes, and writing waits too.
			return
		case left <= 0:
			if !p.queued {
				p.queued = true
				r.queue = append(r.queue, p)
			}
			return
		case w.bulk && r.canSplice(p, d):
			left -= r.splice(p, d)
		default:
			left -= r.copy(p, d)
		}
	}
}

// copy moves one read. A flow that fills its reads is asked how much its sink
// takes before it reads more: what is read here then finds room, and a reader
// that stalls keeps nothing but its socket's buffer.
func (r *reactor) copy(p *pair, d int) (n int) {
	w, src := &p.ways[d], &p.sides[d]
	size := bufferSize
	if w.bulk {
		if size = r.room(p, d); size == 0 {
			return 0
		}
		size = min(size, largeRead)
		if p.limited() {
			size = min(size, bufferSize)
		}
	}
	n, e := recv(src.fd, r.in[:size])
	switch {
	case e == unix.EAGAIN:
		src.readable, w.bulk = false, false
		return 0
	case e != 0:
		r.sourceFailed(p, d)
		return 0
	case n == 0:
		r.wireEnded(p, d)
		return 0
	}
	if w.bulk = n == size; !w.bulk && !src.closing {
		src.readable = false // all that there was; a byte more is an event
	}
	payload := r.in[:n]
	if len(p.codecs(d)) == 0 {
		r.deliver(p, d, payload)
		return n
	}
	payload, err := r.decode(p, d, payload)
	if len(payload) > 0 {
		r.deliver(p, d, payload)
	}
	switch {
	case p.ended || w.over:
	case err == io.EOF:
		w.eof = true
	case err != nil:
		r.sourceFailed(p, d)
	}
	return n
}

// room is how much the sink takes now; 0 after arranging to be told of more.
func (r *reactor) room(p *pair, d int) int {
	dst := &p.sides[1-d]
	n := room(dst.fd)
	if dst.unsent == 0 {
		dst.unsent = r.unsentLimit(dst.fd)
	}
	if dst.unsent > 0 {
		n = min(n, unsentRoom(dst.fd, int(dst.unsent)))
	}
	if n < leastRoom {
		r.await(p, d, true)
		return 0
	}
	if len(p.codecs(1-d)) > 0 {
		n -= n / 16 // for what they add
	}
	return min(n, r.mostRoom())
}

// mostRoom is how much of a sink's room is believed in. When the system is short
// of memory for sockets they take less than their buffers promise, and what they
// leave would add up over thousands of flows.
func (r *reactor) mostRoom() int {
	switch {
	case r.kept > 16<<20:
		return bufferSize
	case r.kept > 4<<20:
		return largeRead
	}
	return pipeSize
}

// keepRest sets what a sink has not taken.
func (r *reactor) keepRest(w *way, rest []byte) {
	r.kept += len(rest) - len(w.rest)
	w.rest = rest
}

// await stops a direction until its sink has room. look makes the kernel see for
// itself that there is none, which a write has done already.
func (r *reactor) await(p *pair, d int, look bool) {
	p.ways[d].full = true
	if s := &p.sides[1-d]; look || !s.armed {
		s.armed = true
		if p.watch(1-d, unix.EPOLL_CTL_MOD, true) != nil {
			r.sinkFailed(p, d, unix.EPIPE) // cannot be: we watch it already
		}
	}
}

// wireEnded notes the end of a source, unless it came too early.
func (r *reactor) wireEnded(p *pair, d int) {
	for _, c := range p.codecs(d) {
		if c.Ended() != nil {
			r.sourceFailed(p, d)
			return
		}
	}
	p.ways[d].eof = true
}

// deliver encodes payload for the sink and writes it.
func (r *reactor) deliver(p *pair, d int, payload []byte) {
	wire := payload
	codecs := p.codecs(1 - d)
	for i := len(codecs) - 1; i >= 0; i-- {
		if transport.PassesOut(codecs[i]) {
			continue
		}
		var err error
		if wire, err = codecs[i].Encode(r.scratch(), wire); err != nil {
			r.sinkFailed(p, d, unix.EPROTO)
			return
		}
		r.keep(wire)
	}
	r.push(p, d, wire, len(payload))
}

// push writes to the sink and keeps what it does not take. Bytes are accounted
// for as they go: never less than the peer may have read.
func (r *reactor) push(p *pair, d int, wire []byte, payload int) {
	w, dst := &p.ways[d], &p.sides[1-d]
	w.owed += payload
	if len(w.rest) > 0 {
		r.keepRest(w, append(w.rest, wire...))
		return
	}
	n, e := 0, unix.Errno(0)
	if len(wire) > 0 {
		n, e = send(dst.fd, wire)
	}
	switch {
	case e == unix.EAGAIN:
		n = 0
	case e != 0:
		r.sinkFailed(p, d, e)
		return
	}
	if n < len(wire) {
		r.keepRest(w, slices.Clone(wire[n:]))
		r.await(p, d, false)
	} else {
		w.reply = false
	}
	// Codecs add to a payload: no more of it is gone than was written.
	if n = min(n, w.owed); len(w.rest) == 0 {
		n = w.owed
	}
	w.owed -= n
	r.account(p, d, n)
}

// decode takes payload out of what was read, and sends what the codecs have to
// answer. The error is io.EOF when the source has ended within its protocol.
func (r *reactor) decode(p *pair, d int, wire []byte) (payload []byte, err error) {
	codecs := p.codecs(d)
	payload, err = decode(codecs, wire, r.scratch, r.keep)
	r.answer(p, d)
	return payload, err
}

// answer sends what the codecs of a source have to say by themselves.
func (r *reactor) answer(p *pair, d int) {
	back := &p.ways[1-d]
	if !p.replies(d) {
		return
	}
	for i, c := range p.codecs(d) {
		if c, ok := c.(transport.Replier); ok && !back.over && !back.said && c.ReplyDue() {
			r.reply(p, d, i, c)
		}
	}
}

// reply sends what codec i of the source says by itself, through those below it.
func (r *reactor) reply(p *pair, d, i int, c transport.Replier) {
	wire := c.Reply(nil)
	if len(wire) == 0 {
		return
	}
	for _, below := range slices.Backward(p.codecs(d)[:i]) {
		var err error
		if wire, err = below.Encode(nil, wire); err != nil {
			return
		}
	}
	r.push(p, 1-d, wire, 0)
	p.ways[1-d].reply = len(p.ways[1-d].rest) > 0
}

// scratch is an empty buffer for the result of a codec, keep puts the result in
// its place: the next scratch is the other buffer, as the result is its input.
func (r *reactor) scratch() []byte { return r.a[:0] }

func (r *reactor) keep(b []byte) { r.a, r.b = r.b, b[:0] }

func (p *pair) limited() bool { return p.acct != nil && p.acct.Limited() }

func (r *reactor) canSplice(p *pair, d int) bool {
	a, b := &p.sides[0], &p.sides[1]
	if f, ok := p.framer(d); !ok || f != nil && f.FrameSize() < leastFrame {
		return false
	}
	return !a.noSplice && !b.noSplice && !p.limited() && r.pipe.open()
}

// splice lets the kernel move as much as the sink has room for, through a pipe
// that is empty again afterwards.
func (r *reactor) splice(p *pair, d int) int {
	w, src := &p.ways[d], &p.sides[d]
	size := min(r.room(p, d), r.pipe.size)
	if size == 0 {
		return 0
	}
	n, e := moveBytes(int(src.fd), r.pipe.w, size)
	switch {
	case e == unix.EAGAIN, e == 0 && n == 0:
		// Nothing there, the end, or urgent data, which a read passes over and
		// splice(2) does not: a read tells.
		w.bulk = false
		return 0
	case e == unix.EINVAL || e == unix.ENOSYS:
		src.noSplice = true
		return 0
	case e != 0:
		r.sourceFailed(p, d)
		return 0
	}
	// A lone message goes cheaper by a copy: two system calls, not four.
	w.bulk = n >= min(size, bufferSize)
	r.empty(p, d, n)
	return n
}

// empty moves the n bytes in the pipe to the sink.
func (r *reactor) empty(p *pair, d, n int) {
	if f, _ := p.framer(d); f != nil {
		r.emptyFramed(p, d, n, f)
		return
	}
	w, dst := &p.ways[d], &p.sides[1-d]
	// splice(2) returns what it moved and loses the error that stopped it; the
	// next call says EPIPE, whatever it was.
	orderly := p.ways[1-d].eof || peerEnded(dst.fd)
	left := n
	for left > 0 {
		m, e := moveBytes(r.pipe.r, int(dst.fd), left)
		if e == 0 && m > 0 {
			left -= m
			continue
		}
		r.account(p, d, n-left)
		if e == unix.EAGAIN {
			rest, err := r.pipe.drain(left)
			r.keepRest(w, rest)
			if err != nil {
				r.pipe.close()
				r.sinkFailed(p, d, unix.EIO)
				return
			}
			w.owed = left
			r.await(p, d, false)
			return
		}
		r.pipe.close() // with what is in it
		if e == 0 || left < n && !orderly {
			e = unix.ECONNRESET
		}
		r.sinkFailed(p, d, e)
		return
	}
	r.account(p, d, n)
}
