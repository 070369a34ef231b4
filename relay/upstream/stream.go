package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

const (
	// mostKept is how much a stream keeps of what was written to it, until it has
	// begun: what a server of HTTP/2 takes of an upload that it does not look at, 64 KiB
	// at nginx, and the write that waits behind it. Mostly it is an opening, and small.
	mostKept = 128 << 10
	// mostMoves is how often a stream that does not begin is moved.
	mostMoves = 3
)

// stream is a stream that can move to another way until it has begun. From then on
// it only passes on. It has no Below: that would change under whoever asks.
type stream struct {
	set *Set
	to  transport.Target
	// passes says that it has begun: conn stays, and needs no lock.
	passes atomic.Bool

	mu     sync.Mutex
	wake   sync.Cond // moving has ended, or the stream; a deadline is another
	conn   transport.Conn
	way    *way
	since  time.Time // it is on this way
	kept   []byte    // written so far; nil once it has begun
	ended  bool      // CloseWrite
	moving context.CancelFunc
	moves  int         // whoever moves it counts them
	err    error       // nobody could be found to move it to
	proof  func(error) // is told of the first answer, or of none; nil: nobody, or he was
	closed bool
	abrupt bool // closing is a reset
	reads  time.Time
	writes time.Time
}

var (
	_ transport.ReadWaiter = (*stream)(nil)
	_ transport.Unproven   = (*stream)(nil)
)

// open begins a stream on a way, and on another if that one fails at once.
func (s *Set) open(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	w, err := s.choose(ctx, nil)
	if err != nil {
		return nil, err
	}
	t := &stream{set: s, to: to}
	t.wake.L = &t.mu
	if len(early) > mostKept {
		t.passes.Store(true)
	} else {
		t.kept = append([]byte{}, early...)
	}
	if err := t.dial(ctx, w, early); err != nil {
		return nil, err
	}
	return t, nil
}

// current is the connection to use, once nobody moves the stream; under mu. limit is
// the deadline of whoever waits.
func (t *stream) current(limit *time.Time) (transport.Conn, error) {
	for t.moving != nil && !t.closed {
		if limit.IsZero() {
			t.wake.Wait()
			continue
		}
		left := time.Until(*limit)
		if left <= 0 {
			return nil, os.ErrDeadlineExceeded
		}
		timer := time.AfterFunc(left, t.rouse)
		t.wake.Wait()
		timer.Stop()
	}
	if t.closed {
		return nil, net.ErrClosed
	}
	return t.conn, t.err
}

// rouse makes whoever waits look at the clock.
func (t *stream) rouse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wake.Broadcast()
}

// Read implements net.Conn.
func (t *stream) Read(b []byte) (int, error) {
	for !t.passes.Load() {
		c, err := t.reader()
		if err != nil {
			return 0, err
		}
		n, err := c.Read(b)
		if n == 0 && err == nil {
			return 0, nil // there was no room
		}
		if n == 0 && t.move(c, err) {
			continue
		}
		if n > 0 && !t.answered(c) {
			continue // of a connection that was given up: another one answers
		}
		t.set.down.Add(int64(n))
		return n, err
	}
	n, err := t.conn.Read(b)
	t.set.down.Add(int64(n))
	t.noticed(err)
	return n, err
}

// reader is the connection to read from.
func (t *stream) reader() (transport.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current(&t.reads)
}

// WaitRead implements transport.ReadWaiter, as far as what is below does: else the
// Read that follows waits.
func (t *stream) WaitRead() error {
	for !t.passes.Load() {
		c, err := t.reader()
		if err == nil {
			err = waitRead(c)
		}
		if err == nil || c == nil || !t.move(c, err) {
			return err
		}
	}
	err := waitRead(t.conn)
	t.noticed(err)
	return err
}

func waitRead(c transport.Conn) error {
	err := transport.WaitRead(c)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// answered is called when something has come on c. false: the stream has left c, and
// begins elsewhere.
func (t *stream) answered(c transport.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.moving != nil || t.conn != c {
		return false
	}
	t.begin()
	t.set.worked(t.way)
	t.prove(nil)
	return true
}

// Prove implements transport.Unproven.
func (t *stream) Prove(f func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.proof = f
}

// prove tells what Prove was called for; under mu.
func (t *stream) prove(err error) {
	if f := t.proof; f != nil {
		t.proof = nil
		f(err)
	}
}

// begin says that the stream moves no more; under mu, while nobody moves it.
func (t *stream) begin() {
	t.kept = nil
	t.passes.Store(true)
}

// noticed keeps the loss of a connection that had begun.
func (t *stream) noticed(err error) {
	if err != nil && errors.Is(err, transport.ErrCarrier) {
		t.set.lost(t.way, t.since, err)
	}
}

// Write implements net.Conn. While the stream can move, what is written is kept, and
// an error is for the next call.
func (t *stream) Write(b []byte) (int, error) {
	c, kept, err := t.keep(b)
	if err != nil {
		return 0, err
	}
	n, err := c.Write(b)
	if err != nil && kept && t.move(c, err) {
		n, err = len(b), nil // it goes with the others
	}
	t.set.up.Add(int64(n))
	if !kept {
		t.noticed(err)
	}
	return n, err
}

// keep keeps what is written as long as that may be of use, and says where to write.
func (t *stream) keep(b []byte) (c transport.Conn, kept bool, err error) {
	if t.passes.Load() {
		return t.conn, false, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, err = t.current(&t.writes); err != nil {
		return nil, false, err
	}
	switch {
	case t.passes.Load():
		return c, false, nil
	case len(t.kept)+len(b) > mostKept, Begun(c):
		t.begin()
		return c, false, nil
	}
	t.kept = append(t.kept, b...)
	return c, true, nil
}

// CloseWrite implements transport.Conn.
func (t *stream) CloseWrite() error {
	t.mu.Lock()
	c, err := t.current(&t.writes)
	if err == nil {
		t.ended = true
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if err = c.CloseWrite(); err != nil && t.move(c, err) {
		return nil // it ends there as well
	}
	return err
}

// SetDeadline implements net.Conn.
func (t *stream) SetDeadline(d time.Time) error {
	return errors.Join(t.SetReadDeadline(d), t.SetWriteDeadline(d))
}

// SetReadDeadline implements net.Conn.
func (t *stream) SetReadDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads = d
	t.wake.Broadcast()
	return t.late(t.conn.SetReadDeadline(d))
}

// SetWriteDeadline implements net.Conn.
func (t *stream) SetWriteDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes = d
	t.wake.Broadcast()
	return t.late(t.conn.SetWriteDeadline(d))
}

// late is err, unless it is that of a connection which is about to be left; under mu.
func (t *stream) late(err error) error {
	if t.moving != nil {
		return nil
	}
	return err
}

// SetLinger decides what Close does, as with a TCP connection: 0 is a reset.
func (t *stream) SetLinger(sec int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abrupt = sec == 0
	return nil
}

// Close implements net.Conn.
func (t *stream) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return net.ErrClosed
	}
	t.closed = true
	if t.moving != nil {
		t.moving()
	}
	t.wake.Broadcast()
	c, abrupt := t.conn, t.abrupt
	t.set.count(t.way, nil)
	t.mu.Unlock()
	if abrupt {
		return transport.Abort(c)
	}
	return c.Close()
}

// LocalAddr implements net.Conn.
func (t *stream) LocalAddr() net.Addr { return t.now().LocalAddr() }

// RemoteAddr implements net.Conn.
func (t *stream) RemoteAddr() net.Addr { return t.now().RemoteAddr() }

func (t *stream) now() transport.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn
}
