package web

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// waitSize is what a stream that waits for its client has ready for it. The rest of
// what comes goes to the buffer of whoever reads.
const waitSize = 512

// body is an uplink that is the body of one request. net/http has no way to wait
// for one: a few bytes are read instead.
type body struct {
	r    io.ReadCloser
	ctl  *control
	over chan struct{} // closed at the end
	held *atomic.Int64 // by what is read ahead, of all; nil: there are no neighbours

	first  []byte // read and not taken; in small
	small  []byte
	direct bool // there may be more already: see Read

	using sync.Mutex // while r is read
	whole bool       // its end has been read; under using

	job chan func() // for the handler, at most one

	mu  sync.Mutex
	err error // why nothing follows
	stall
}

// newBody returns the body of a request. What is read of it ahead is counted in held.
func newBody(r *http.Request, ctl *control, held *atomic.Int64) *body {
	b := &body{r: r.Body, ctl: ctl, over: make(chan struct{}), job: make(chan func(), 1)}
	if r.ProtoMajor == 2 {
		b.held = held
	}
	b.changed.L = &b.mu
	return b
}

// lend gives f, which reads until the end, to the handler.
func (b *body) lend(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return false
	}
	select {
	case b.job <- f:
		return true
	default:
		return false
	}
}

// notifyOnce implements tail. A body is read by who waits for it.
func (b *body) notifyOnce(f func()) { go f() }

// setDeadline implements tail. Streams of net/http end with their deadline instead.
func (b *body) setDeadline(time.Time) {}

// WaitRead implements uplink.
func (b *body) WaitRead() error {
	if len(b.first) > 0 || b.direct {
		return nil
	}
	n := 0
	if ready, err := b.come(); !ready && err == nil {
		if b.small == nil {
			b.small = make([]byte, waitSize)
		}
		n, b.direct = b.read(b.small)
		b.first = b.small[:n]
	}
	b.leaveOff(n)
	return nil
}

// Read implements io.Reader. A read that has filled its buffer has probably left
// something: the next one does not wait with a small buffer first.
func (b *body) Read(p []byte) (n int, err error) {
	if len(b.first) > 0 {
		n = copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	ready, err := b.come()
	switch {
	case ready:
		n, b.direct = b.takeAhead(p), false
	case err == nil:
		if n, b.direct = b.read(p); n == 0 {
			err = b.ended()
		}
	}
	b.leaveOff(n)
	return n, err
}

// read reads once from the request, and reports whether there is probably more.
func (b *body) read(p []byte) (n int, more bool) {
	n, err := b.readRequest(p)
	if err != nil {
		b.end(err)
	}
	return n, n == len(p)
}

func (b *body) readRequest(p []byte) (int, error) {
	b.using.Lock()
	defer b.using.Unlock()
	if err := b.ended(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	b.whole = b.whole || err == io.EOF
	return n, err
}

func (b *body) ended() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// end notes why nothing follows; the first reason counts.
func (b *body) end(err error) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ends(err)
}

// ends is end under mu.
func (b *body) ends(err error) (first bool) {
	if b.err != nil {
		return false
	}
	b.err = err
	close(b.over)
	if b.held != nil {
		b.ahead.drop(b.held)
	}
	b.changed.Broadcast()
	return true
}

// fail implements uplink. Where the body has ended by itself the connection stays
// of use for other requests.
func (b *body) fail(err error) error {
	if b.end(err) {
		if b.using.TryLock() {
			b.using.Unlock() // who comes now sees err
		} else {
			b.ctl.stopReading()
		}
		if b.held != nil {
			// What is unread is in the way of other streams for as long as the
			// handler stays, which may wait for the target.
			_ = b.r.Close()
		}
	}
	return err
}

// leave takes the body away, as its handler has to return: the reader sees err.
func (b *body) leave(err error) {
	_ = b.fail(err)
	b.using.Lock() // whoever was reading has left
	defer b.using.Unlock()
	if !b.whole {
		b.ctl.last()
	}
}
