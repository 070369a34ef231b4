package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"relay/transport"
)

// dial opens the stream on w, and where that fails on another way. Nobody else
// changes conn meanwhile.
func (t *stream) dial(ctx context.Context, w *way, early []byte) error {
	s := t.set
	for {
		began := time.Now()
		c, err := w.Dialer.DialStream(ctx, t.to, early)
		if err == nil {
			t.take(w, c)
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, transport.ErrCarrier) {
			return fmt.Errorf("upstream: %w", err)
		}
		s.lost(w, began, err)
		if t.moves++; t.moves > mostMoves {
			return s.failure()
		}
		if w, err = s.choose(ctx, w); err != nil {
			return err
		}
	}
}

// take makes c the connection of the stream.
func (t *stream) take(w *way, c transport.Conn) {
	t.mu.Lock()
	old, before := t.conn, t.way
	if t.closed {
		t.mu.Unlock()
		_ = transport.Abort(c)
		return
	}
	t.conn, t.way, t.since = c, w, time.Now()
	t.set.count(before, w)
	if !t.reads.IsZero() {
		_ = c.SetReadDeadline(t.reads)
	}
	if !t.writes.IsZero() {
		_ = c.SetWriteDeadline(t.writes)
	}
	ended := t.ended
	t.mu.Unlock()
	if old != nil {
		_ = transport.Abort(old)
	}
	if ended {
		_ = c.CloseWrite() // what is wrong, reading tells
	}
}

// count moves a stream from one way to another; nil: none.
func (s *Set) count(from, to *way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from != nil {
		from.streams--
	}
	if to != nil {
		to.streams++
		to.opened++
	}
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

// move is called when something has failed on c. true: the stream is on its way to
// another connection, or there. false: the error is the stream's.
func (t *stream) move(c transport.Conn, why error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return false
	case t.moving != nil || t.conn != c || t.err != nil:
		return true
	case errors.Is(why, os.ErrDeadlineExceeded):
		return false
	case !errors.Is(why, transport.ErrCarrier):
		// An end, or an answer of the exit.
		t.begin()
		t.set.unanswered(t.way)
		if !t.ended {
			t.prove(why)
		}
		return false
	case t.passes.Load() || Begun(c) || t.moves >= mostMoves:
		if !t.passes.Load() {
			t.set.unanswered(t.way) // a WebSocket's end says as little
		}
		t.begin()
		t.set.lost(t.way, t.since, why)
		return false
	}
	ctx, cancel := context.WithTimeoutCause(t.set.ctx, dialTime, errNoAnswer)
	w, since, kept := t.way, t.since, t.kept
	t.moves++ // run counts on
	if !t.set.spawn(func() { t.run(ctx, w, since, kept, why) }) {
		cancel()
		return false
	}
	t.moving = cancel
	return true
}

// run moves the stream away from w, with what was written to it.
func (t *stream) run(ctx context.Context, w *way, since time.Time, kept []byte, why error) {
	if errors.Is(why, transport.ErrUnsound) {
		t.set.unanswered(w) // so a shared WebSocket ends where the user is not known
	}
	t.set.lost(w, since, why)
	next, err := t.set.choose(ctx, w)
	if err == nil {
		err = t.dial(ctx, next, kept)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moving()
	t.moving = nil
	if err != nil {
		t.err = fmt.Errorf("%w; %w", why, err)
	}
	t.wake.Broadcast()
}
