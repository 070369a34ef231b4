package web

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// uplink is what a stream reads from its client. One goroutine reads it.
type uplink interface {
	io.Reader
	// WaitRead waits until there is something to read, or an end.
	WaitRead() error
	// fail makes whoever reads see err, now and later.
	fail(err error) error
}

// control stops what waits for a client in the handler of a request. It is of no
// effect once the handler has returned, when net/http's own would panic.
type control struct {
	mu   sync.Mutex
	rc   *http.ResponseController
	left bool
}

func newControl(w http.ResponseWriter) *control {
	return &control{rc: http.NewResponseController(w)}
}

// past is a deadline that everybody has missed.
var past = time.Unix(1, 0)

func (c *control) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.left {
		_ = c.rc.SetReadDeadline(past)
	}
}

func (c *control) stopWriting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.left {
		_ = c.rc.SetWriteDeadline(past)
	}
}

func (c *control) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
}

// waitSize is what a stream that waits for its client has ready for it. The rest of
// what comes goes to the buffer of whoever reads.
const waitSize = 512

// body is an uplink that is the body of one request. net/http has no way to wait
// for one: a few bytes are read instead.
type body struct {
	r    io.Reader
	ctl  *control
	over chan struct{} // closed at the end

	using  sync.Mutex // while r is read
	small  []byte
	first  []byte // read and not taken
	direct bool   // there may be more already: see Read

	mu  sync.Mutex
	err error // why nothing follows first
}

func newBody(r io.Reader, ctl *control) *body {
	return &body{r: r, ctl: ctl, over: make(chan struct{})}
}

// WaitRead implements uplink.
func (b *body) WaitRead() error {
	b.using.Lock()
	defer b.using.Unlock()
	if len(b.first) > 0 || b.direct || b.ended() != nil {
		return nil
	}
	if b.small == nil {
		b.small = make([]byte, waitSize)
	}
	n := b.read(b.small)
	b.first = b.small[:n]
	return nil
}

// Read implements io.Reader. A read that has filled its buffer has probably left
// something: the next one does not wait with a small buffer first.
func (b *body) Read(p []byte) (int, error) {
	b.using.Lock()
	defer b.using.Unlock()
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	if err := b.ended(); err != nil {
		return 0, err
	}
	if n := b.read(p); n > 0 {
		return n, nil
	}
	return 0, b.ended()
}

// read reads once from the request; under using.
func (b *body) read(p []byte) int {
	n, err := b.r.Read(p)
	b.direct = n == len(p)
	if err != nil {
		b.end(err)
	}
	return n
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
	if b.err != nil {
		return false
	}
	b.err = err
	close(b.over)
	return true
}

// fail implements uplink. Where the body has ended by itself the connection stays
// of use for other requests.
func (b *body) fail(err error) error {
	if b.end(err) {
		b.ctl.stopReading()
	}
	return err
}

// leave takes the body away, as its handler has to return: the reader sees err.
func (b *body) leave(err error) {
	_ = b.fail(err)
	b.using.Lock()
	//lint:ignore SA2001 whoever was reading has left
	b.using.Unlock()
}
