package vless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"relay/transport"
)

const (
	// firstWait is how long an opening waits, by default, for the payload that it is
	// to go with.
	firstWait = 10 * time.Millisecond
	// firstSize is how much payload goes with the opening. What answers it is read
	// only when the carrier has taken all of it.
	firstSize = 16 << 10
	// openTime is how long a carrier may take. Ours give up by themselves.
	openTime = 30 * time.Second
	// answerTime is how long an answer may take once its first byte is there. Exits say
	// it in one piece; by drops it would keep a stream for minutes.
	answerTime = 10 * time.Second
)

var (
	// errAnswer says that it is no exit that answers.
	errAnswer = fmt.Errorf("vless: answer: bad version: %w", transport.ErrUnsound)
	errDrops  = fmt.Errorf("vless: answer: still not whole after %v: %w", answerTime, transport.ErrCarrier)
)

// dialed is a stream to an exit. It is opened with the first bytes that are written;
// ahead of what is read, it takes the answer to the opening off. From then on it only
// passes on.
type dialed struct {
	carrier Carrier
	wait    time.Duration // then the opening goes without payload; 0: never

	mu      sync.Mutex
	moved   sync.Cond
	head    []byte // the opening, until the stream is opened with it
	conn    transport.Conn
	err     error              // it could not be opened
	opening context.CancelFunc // nil: nobody is opening it
	writing bool               // a Write is
	soon    *time.Timer        // the opening goes alone then
	closed  bool
	abrupt  bool // closing is a reset
	reads   deadline
	writes  deadline

	// For whoever reads.
	got    int       // bytes of the answer
	addons int       // how many follow its header
	late   time.Time // it has to be whole by then; zero: nothing has come
	bad    error
}

var (
	_ transport.Conn       = (*dialed)(nil)
	_ transport.ReadWaiter = (*dialed)(nil)
	_ transport.Detachable = (*dialed)(nil)
)

func newDialed(carrier Carrier, head []byte, wait time.Duration) *dialed {
	d := &dialed{carrier: carrier, head: head, wait: wait}
	d.moved.L = &d.mu
	return d
}

// openNow opens the stream with some payload.
func (d *dialed) openNow(ctx context.Context, early []byte) error {
	d.mu.Lock()
	opening := d.begin(ctx, false)
	d.mu.Unlock()
	return within(ctx, d, func() error { _, err := d.openWith(opening, early); return err })
}

// within runs f, which writes to c, and gives c up when ctx ends before that.
func within(ctx context.Context, c transport.Conn, f func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = transport.Abort(c) })
	err := f()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = transport.Abort(c)
	}
	return err
}

// openWith opens the stream, after begin, with as much of b as goes with the opening,
// and writes the rest.
func (d *dialed) openWith(ctx context.Context, b []byte) (n int, err error) {
	n = min(len(b), firstSize)
	if err := d.open(ctx, b[:n]); err != nil {
		return 0, err
	}
	if n == len(b) {
		return n, nil
	}
	more, err := d.Write(b[n:])
	return n + more, err
}

// begin makes it the caller's to open the stream; under mu.
func (d *dialed) begin(ctx context.Context, writing bool) context.Context {
	ctx, d.opening = context.WithTimeout(ctx, openTime)
	d.writing = writing
	if d.soon != nil {
		d.soon.Stop()
	}
	return ctx
}

// open opens the stream, after begin.
func (d *dialed) open(ctx context.Context, first []byte) error {
	conn, err := d.carrier.Open(ctx, slices.Concat(d.head, first))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening()
	d.opening, d.head = nil, nil
	switch {
	case err == nil && d.closed:
		_ = transport.Abort(conn)
		d.err = net.ErrClosed
	case err == nil:
		d.conn = conn
		d.applyDeadlines()
	case d.writing && d.writes.passed():
		d.err = os.ErrDeadlineExceeded
	default:
		d.err = fmt.Errorf("vless: open: %w", err)
	}
	d.moved.Broadcast()
	return d.err
}

// openAlone sends the opening without payload, unless that has come meanwhile.
func (d *dialed) openAlone() {
	d.mu.Lock()
	if d.conn != nil || d.err != nil || d.opening != nil || d.closed {
		d.mu.Unlock()
		return
	}
	ctx := d.begin(context.Background(), false)
	d.mu.Unlock()
	_ = d.open(ctx, nil)
}

// source waits until the stream is open.
func (d *dialed) source() (transport.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.closed:
			return nil, net.ErrClosed
		case d.conn != nil:
			return d.conn, nil
		case d.err != nil:
			return nil, d.err
		case d.reads.passed():
			return nil, os.ErrDeadlineExceeded
		case d.wait > 0 && d.soon == nil && d.opening == nil:
			d.soon = time.AfterFunc(d.wait, d.openAlone)
		}
		d.moved.Wait()
	}
}

// sink is where to write. If that is nil without an error, it is the caller's to open
// the stream with ctx.
func (d *dialed) sink() (c transport.Conn, ctx context.Context, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.closed:
			return nil, nil, net.ErrClosed
		case d.conn != nil:
			return d.conn, nil, nil
		case d.err != nil:
			return nil, nil, d.err
		case d.writes.passed():
			return nil, nil, os.ErrDeadlineExceeded
		case d.opening == nil:
			return nil, d.begin(context.Background(), true), nil
		}
		d.moved.Wait()
	}
}

// answer takes what is left of the exit's answer off c. Its errors stay, but for
// time-outs.
func (d *dialed) answer(c transport.Conn) error {
	var b [255]byte
	for d.bad == nil {
		need := len(replyHeader) + d.addons
		if d.got == need {
			return nil
		}
		n, err := d.piece(c, b[:min(need-d.got, len(b))])
		if n == 0 {
			switch {
			case !d.late.IsZero() && !time.Now().Before(d.late):
				d.bad = errDrops
				continue
			case errors.Is(err, os.ErrDeadlineExceeded):
				return err
			case err == nil:
				err = io.ErrNoProgress
			}
			d.bad = fmt.Errorf("vless: answer: %w", broken(err))
		}
		for _, x := range b[:n] {
			switch {
			case d.got == 0 && x != version:
				d.bad = errAnswer
			case d.got == 1:
				d.addons = int(x)
			}
			d.got++
		}
	}
	return d.bad
}

// piece reads a part of the answer, and gives the stream up when that is late. A deadline
// is the caller's, and may be set meanwhile.
func (d *dialed) piece(c transport.Conn, b []byte) (int, error) {
	if !d.late.IsZero() {
		timer := time.AfterFunc(time.Until(d.late), func() { _ = transport.Abort(c) })
		defer timer.Stop()
	}
	n, err := c.Read(b)
	if n > 0 && d.late.IsZero() {
		d.late = time.Now().Add(answerTime)
	}
	return n, err
}

// Read implements net.Conn.
func (d *dialed) Read(b []byte) (int, error) {
	c, err := d.source()
	if err == nil && !d.answered() {
		err = d.answer(c)
	}
	if err != nil {
		return 0, err
	}
	return c.Read(b)
}

// WaitRead implements transport.ReadWaiter, as far as what is below does: else the
// Read that follows waits.
func (d *dialed) WaitRead() error {
	c, err := d.source()
	if err == nil && !d.answered() {
		if err = waitRead(c); err == nil {
			err = d.answer(c)
		}
	}
	switch {
	case err == nil:
		return waitRead(c)
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return nil
}

// waitRead waits for bytes where that is possible.
func waitRead(c transport.Conn) error {
	err := transport.WaitRead(c)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// answered reports whether the answer has been taken off.
func (d *dialed) answered() bool {
	return d.bad == nil && d.got > 1 && d.got == len(replyHeader)+d.addons
}

// Write implements net.Conn.
func (d *dialed) Write(b []byte) (int, error) {
	c, ctx, err := d.sink()
	switch {
	case err != nil:
		return 0, err
	case c != nil:
		return c.Write(b)
	}
	return d.openWith(ctx, b)
}

// CloseWrite implements transport.Conn.
func (d *dialed) CloseWrite() error {
	c, ctx, err := d.sink()
	if err == nil && c == nil {
		if err = d.open(ctx, nil); err == nil {
			c, _, err = d.sink()
		}
	}
	if err != nil {
		return err
	}
	return c.CloseWrite()
}

// Detach implements transport.Detachable: it lets go once there is nothing left to do.
func (d *dialed) Detach() (below transport.Conn, codec transport.Codec, unread []byte) {
	if c := d.Below(); c != nil && d.answered() {
		return c, nil, nil
	}
	return d, nil, nil
}

// Below returns the carrier's connection, nil until there is one.
func (d *dialed) Below() transport.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn
}

// SetLinger decides what Close does, as with a TCP connection: 0 is a reset.
func (d *dialed) SetLinger(sec int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abrupt = sec == 0
	return nil
}

// Close implements net.Conn. What was never opened leaves no trace.
func (d *dialed) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return net.ErrClosed
	}
	d.closed = true
	if d.opening != nil {
		d.opening()
	}
	if d.soon != nil {
		d.soon.Stop()
	}
	d.reads.stop()
	d.writes.stop()
	d.moved.Broadcast()
	c, abrupt := d.conn, d.abrupt
	d.mu.Unlock()
	switch {
	case c == nil:
		return nil
	case abrupt:
		return transport.Abort(c)
	}
	return c.Close()
}
