package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

const (
	// mostKept is how much a stream keeps of what was written to it, until it has
	// begun. What waits for an answer first is an opening, and small.
	mostKept = 32 << 10
	// mostMoves is how often a stream that does not begin is moved.
	mostMoves = 3
)

// stream is a stream that can move to another way until it has begun. From then on
// it only passes on.
type stream struct {
	set *Set
	to  transport.Target

	mu       sync.Mutex
	moved    sync.Cond // moving has become false
	conn     transport.Conn
	way      *way
	kept     []byte // written so far; nil once it has begun
	begun    bool
	passes   atomic.Bool // begun, for who does not hold mu
	ended    bool        // CloseWrite
	moving   bool
	closed   bool
	moves    int
	deadline struct{ read, write time.Time }
}

var _ transport.ReadWaiter = (*stream)(nil)

// open begins a stream on a way, and on another if that one fails at once.
func (s *Set) open(ctx context.Context, w *way, to transport.Target, early []byte) (transport.Conn, error) {
	t := &stream{set: s, to: to, kept: append([]byte{}, early...)}
	t.moved.L = &t.mu
	if len(t.kept) > mostKept {
		t.begin()
	}
	if err := t.dial(ctx, w, early); err != nil {
		return nil, err
	}
	return t, nil
}

// dial opens the stream on w, and where that fails on another way. Nobody else
// changes conn meanwhile.
func (t *stream) dial(ctx context.Context, w *way, early []byte) (err error) {
	s := t.set
	for ; t.moves <= mostMoves; t.moves++ {
		c, err := w.Dialer.DialStream(ctx, t.to, early)
		if err == nil {
			t.take(w, c)
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, transport.ErrCarrier) {
			return fmt.Errorf("upstream: %w", err)
		}
		s.lost(w, err)
		if w, err = s.choose(ctx, w); err != nil {
			return err
		}
	}
	return s.failure()
}

// take makes c the connection of the stream.
func (t *stream) take(w *way, c transport.Conn) {
	s := t.set
	s.mu.Lock()
	if t.way != nil {
		t.way.streams--
	}
	w.streams++
	w.opened++
	s.mu.Unlock()
	t.mu.Lock()
	old := t.conn
	t.conn, t.way = c, w
	closed, d, ended := t.closed, t.deadline, t.ended
	t.mu.Unlock()
	if old != nil {
		_ = transport.Abort(old)
	}
	if closed {
		_ = transport.Abort(c)
		return
	}
	if !d.read.IsZero() {
		_ = c.SetReadDeadline(d.read)
	}
	if !d.write.IsZero() {
		_ = c.SetWriteDeadline(d.write)
	}
	if ended {
		_ = c.CloseWrite()
	}
}

// begin says that the stream moves no more; under mu, or before anybody has it.
func (t *stream) begin() {
	t.begun, t.kept = true, nil
	t.passes.Store(true)
}

// current is the connection to use, once nobody moves the stream.
func (t *stream) current() (transport.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.currentLocked()
}

func (t *stream) currentLocked() (transport.Conn, error) {
	for t.moving {
		t.moved.Wait()
	}
	if t.closed {
		return nil, net.ErrClosed
	}
	return t.conn, nil
}

// Read implements net.Conn.
func (t *stream) Read(b []byte) (int, error) {
	for {
		c, err := t.current()
		if err != nil {
			return 0, err
		}
		n, err := c.Read(b)
		if n > 0 {
			t.answered()
			t.set.down.Add(int64(n))
		}
		if n > 0 || err == nil || !t.move(c, err) {
			return n, err
		}
	}
}

// WaitRead implements transport.ReadWaiter.
func (t *stream) WaitRead() error {
	for {
		c, err := t.current()
		if err != nil {
			return err
		}
		if err = transport.WaitRead(c); err == nil || errors.Is(err, errors.ErrUnsupported) || !t.move(c, err) {
			if errors.Is(err, errors.ErrUnsupported) {
				err = nil // the Read that follows waits
			}
			return err
		}
	}
}

// answered is called when something has come from the target.
func (t *stream) answered() {
	if t.passes.Load() {
		return
	}
	t.mu.Lock()
	if !t.begun {
		t.begin()
	}
	t.mu.Unlock()
}

// Write implements net.Conn.
func (t *stream) Write(b []byte) (int, error) {
	t.mu.Lock()
	c, err := t.currentLocked()
	if err != nil {
		t.mu.Unlock()
		return 0, err
	}
	if !t.begun {
		if len(t.kept)+len(b) > mostKept || Begun(c) {
			t.begin()
		} else {
			t.kept = append(t.kept, b...)
		}
	}
	t.mu.Unlock()
	n, err := c.Write(b)
	t.set.up.Add(int64(n))
	if err == nil || !t.move(c, err) {
		return n, err
	}
	return len(b), nil // it was kept, and went with the others
}

// CloseWrite implements transport.Conn.
func (t *stream) CloseWrite() error {
	t.mu.Lock()
	c, err := t.currentLocked()
	t.ended = true
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if err = c.CloseWrite(); err == nil || !t.move(c, err) {
		return err
	}
	return nil
}

// Begun reports whether the other side has begun with a stream, as far as one of its
// layers knows.
func Begun(c transport.Conn) bool {
	for {
		switch v := c.(type) {
		case interface{ Begun() bool }:
			return v.Begun()
		case interface{ Below() transport.Conn }:
			c = v.Below()
		default:
			return false
		}
	}
}

// move takes the stream, whose connection c has failed, to another way. False: the
// error is the stream's.
func (t *stream) move(c transport.Conn, why error) bool {
	switch {
	case errors.Is(why, io.EOF), errors.Is(why, os.ErrDeadlineExceeded), errors.Is(why, net.ErrClosed):
		return false
	}
	lost := errors.Is(why, transport.ErrCarrier)
	t.mu.Lock()
	for t.moving {
		t.moved.Wait()
	}
	if t.conn != c && !t.closed {
		t.mu.Unlock()
		return true // by the other direction
	}
	w := t.way
	if !lost || t.closed || t.begun || Begun(c) || t.moves >= mostMoves {
		t.mu.Unlock()
		if lost {
			t.set.lost(w, why)
		}
		return false
	}
	t.moving = true
	t.moves++
	kept := t.kept
	t.mu.Unlock()

	t.set.lost(w, why)
	ctx, cancel := context.WithTimeoutCause(t.set.ctx, dialTime, errNoAnswer)
	next, err := t.set.choose(ctx, w)
	if err == nil {
		err = t.dial(ctx, next, kept)
	}
	cancel()
	t.mu.Lock()
	t.moving = false
	t.moved.Broadcast()
	t.mu.Unlock()
	return err == nil
}

// SetDeadline implements net.Conn.
func (t *stream) SetDeadline(d time.Time) error {
	return errors.Join(t.SetReadDeadline(d), t.SetWriteDeadline(d))
}

// SetReadDeadline implements net.Conn.
func (t *stream) SetReadDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline.read = d
	return t.conn.SetReadDeadline(d)
}

// SetWriteDeadline implements net.Conn.
func (t *stream) SetWriteDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline.write = d
	return t.conn.SetWriteDeadline(d)
}

// Close implements net.Conn.
func (t *stream) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return net.ErrClosed
	}
	t.closed = true
	c, w := t.conn, t.way
	t.mu.Unlock()
	t.set.mu.Lock()
	w.streams--
	t.set.mu.Unlock()
	return c.Close()
}

// LocalAddr implements net.Conn.
func (t *stream) LocalAddr() net.Addr { return t.now().LocalAddr() }

// RemoteAddr implements net.Conn.
func (t *stream) RemoteAddr() net.Addr { return t.now().RemoteAddr() }

// Below returns the connection in use, which is another after a move.
func (t *stream) Below() transport.Conn { return t.now() }

func (t *stream) now() transport.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn
}
