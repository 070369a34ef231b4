package web

import (
	"errors"
	"io"
	"sync"
	"time"
)

// The streams of one HTTP/2 connection share the window of its uploads, which is as
// long as that of each: one whose target takes nothing fills it, and nothing comes
// for the others. So its body is then read ahead, up to a limit, and what does not fit
// ends it after a while. Whoever reads a body hardly notices: it has been away for
// some time when anything is copied.
const (
	// stallTick is how often a body is looked at while something comes. One that
	// nobody has read from since the last time has a target that takes nothing.
	stallTick = 500 * time.Millisecond
	// mostAhead is what is read ahead of one body.
	mostAhead = 4 << 20
	// stallTime is how long a target may take nothing beyond that.
	stallTime = 10 * time.Second
)

var errStalled = errors.New("the target takes nothing")

// stall is what a body knows of the time for which nobody reads it; under body.mu.
type stall struct {
	changed    sync.Cond
	reading    bool   // somebody waits for bytes
	reads      uint64 // that have brought any
	seen       uint64 // reads at the last look
	watched    bool   // a look is due
	collecting bool   // bytes are being read ahead
	ahead      line
	last       error // why nothing follows ahead
}

// come begins a read. ready: there is something ahead.
func (b *body) come() (ready bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = true
	for b.err == nil && b.collecting && b.ahead.empty() {
		b.changed.Wait()
	}
	if b.ahead.empty() && b.last != nil {
		b.ends(b.last)
	}
	return !b.ahead.empty(), b.err
}

// takeAhead moves bytes that were read ahead to p.
func (b *body) takeAhead(p []byte) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ahead.read(p, b.held)
}

// leaveOff ends a read, of n bytes. Somebody looks whether another one follows.
func (b *body) leaveOff(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if n == 0 || b.held == nil {
		return
	}
	b.reads++
	if !b.watched {
		b.watch()
	}
}

func (b *body) watch() {
	b.watched, b.seen = true, b.reads
	time.AfterFunc(stallTick, b.look)
}

// look finds out whether the target takes anything.
func (b *body) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil || b.reading:
		b.watched = false
	case b.reads != b.seen || b.collecting:
		b.watch()
	default:
		b.watched = false
		if b.full() && !b.ahead.empty() {
			b.expect()
			return
		}
		b.collecting = true
		go b.collect()
	}
}

// collect reads ahead until somebody reads, or there is no room.
func (b *body) collect() {
	small := make([]byte, waitSize)
	for more := false; ; {
		// Who waits has little memory, as in WaitRead.
		buf, pooled := small, (*[]byte)(nil)
		if more {
			pooled = chunks.Get().(*[]byte)
			buf = *pooled
		}
		n, err := b.readRequest(buf)
		more = n == len(buf)
		if !b.collected(newChunk(buf, n, pooled), err) {
			return
		}
	}
}

// collected keeps a chunk and how the body ended behind it, and reports whether to
// go on.
func (b *body) collected(c chunk, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		c.free()
	} else {
		b.ahead.add(c)
		b.held.Add(int64(c.cost))
		b.last = err
	}
	b.changed.Broadcast()
	if b.collecting = b.err == nil && err == nil && !b.reading && !b.full(); b.collecting {
		return true
	}
	if err == nil {
		b.expect()
	}
	return false
}

// full reports whether nothing more may be read ahead; under mu.
func (b *body) full() bool { return b.ahead.cost >= mostAhead || b.held.Load() >= mostHeld }

// expect gives the target the time that it has, if it needs it; under mu.
func (b *body) expect() {
	if b.err == nil && !b.reading && b.full() {
		since := b.reads
		time.AfterFunc(stallTime, func() { b.giveUp(since) })
	}
}

// giveUp resets the request if nobody has read from it since.
func (b *body) giveUp(since uint64) {
	b.mu.Lock()
	stalled := b.err == nil && !b.reading && b.reads == since
	b.mu.Unlock()
	if stalled {
		_ = b.fail(errStalled)
		b.ctl.stopWriting()
	}
}

// lost reports whether the body has ended otherwise than in order.
func (b *body) lost() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil && b.err != io.EOF
}
