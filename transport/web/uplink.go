package web

import (
	"io"
	"net/http"
	"strings"
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
	// lost reports whether nothing follows, for another reason than the end.
	lost() bool
}

// control stops what waits for a client in the handler of a request. It is of no
// effect once the handler has returned, when net/http's own would panic.
type control struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	rc      *http.ResponseController
	stopped bool
	left    bool
}

func newControl(w http.ResponseWriter) *control {
	return &control{w: w, rc: http.NewResponseController(w)}
}

// last makes a connection of HTTP/1.1 end with the answer. Where a request and its
// answer go on at the same time, net/http takes what it could not read of the
// request for the next one: anybody's, behind a proxy. A body over its limit is what
// it ends a connection for, and gives the client time to read.
func (c *control) last() {
	over := http.MaxBytesReader(c.w, io.NopCloser(strings.NewReader("over")), 0)
	_, _ = over.Read(make([]byte, 2))
}

// past is a deadline that everybody has missed.
var past = time.Unix(1, 0)

func (c *control) stopReading() { c.stop(c.rc.SetReadDeadline) }

func (c *control) stopWriting() { c.stop(c.rc.SetWriteDeadline) }

func (c *control) stop(set func(time.Time) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.left {
		c.stopped = true
		_ = set(past)
	}
}

// leave is the end of the handler. A connection of HTTP/1.1 is of no use for another
// request once something was stopped: net/http leaves the deadline for writes, and
// where it was reading for what follows a body, the next request is cancelled as it
// begins.
func (c *control) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped && !c.left {
		c.last()
	}
	c.left = true
}
