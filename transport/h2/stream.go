package h2

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

var (
	_ transport.Conn       = (*Stream)(nil)
	_ transport.ReadWaiter = (*Stream)(nil)
)

// Stream is a request and its answer: Write sends the request's body and Read
// returns the answer's. Its addresses are the connection's.
type Stream struct {
	c  *Conn
	id uint32
	in credit

	mu       sync.Mutex // never held together with c.mu
	readable sync.Cond
	inbox    inbox
	status   int // of the answer; 0: not here yet
	fields   []Field
	reads    deadline
	notify   func() // see NotifyAt
	least    int    // bytes for which it is called
	ahead    int    // bytes of the inbox for which the connection's window is open again

	// Of a server's end.
	head  *Head        // until it is asked for
	moved atomic.Int64 // since when what is here was not read, since the connection began

	// Under c.mu.
	writable sync.Cond
	window   int64   // of the peer
	pending  []byte  // of the Write that goes on
	padding  int     // of each of its frames, or noPadding
	last     bool    // the end follows it
	due      bool    // it is not done
	sending  bool    // it has not returned
	queued   bool    // among c.ready
	after    *Stream // there
	answered bool    // the head of a server's answer was sent
	sent     bool    // our half has ended
	ended    bool    // the peer's has
	refused  error   // why nothing more is sent
	lost     func()  // see OnLost
	writes   deadline
}

// deadline is one of a net.Conn's; under the lock of whoever has it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, wake)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// Response waits for the head of the answer. Interim answers (1xx) are skipped.
func (s *Stream) Response(ctx context.Context) (status int, fields []Field, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == 0 && ctx.Done() != nil {
		defer context.AfterFunc(ctx, s.wakeReader)()
	}
	for s.status == 0 {
		switch {
		case s.inbox.closed:
			return 0, nil, net.ErrClosed
		case s.inbox.end != nil:
			return 0, nil, s.inbox.end
		case ctx.Err() != nil:
			return 0, nil, ctx.Err()
		}
		s.readable.Wait()
	}
	return s.status, s.fields, nil
}

// Read implements net.Conn. After a reset it returns what came before, then a
// *[ResetError]. It does not wait for Response to be called.
func (s *Stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	if err := s.await(); err != nil || len(b) == 0 {
		s.mu.Unlock()
		return 0, err
	}
	if s.inbox.empty() {
		defer s.mu.Unlock()
		return 0, s.inbox.end
	}
	n := s.inbox.read(b)
	open := s
	if s.inbox.end != nil {
		open = nil // its window is of no more use
	}
	paid := s.paid(n)
	if s.c.server != nil && !s.inbox.empty() {
		s.moved.Store(s.c.now())
	}
	s.mu.Unlock()
	s.c.consumed(open, n, n-paid)
	return n, nil
}

// WaitRead implements [transport.ReadWaiter].
func (s *Stream) WaitRead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.await()
}

// await waits for bytes or for what follows them; under mu.
func (s *Stream) await() error {
	for {
		switch {
		case s.inbox.closed:
			return s.inbox.why
		case s.reads.passed():
			return os.ErrDeadlineExceeded
		case !s.inbox.empty() || s.inbox.end != nil:
			return nil
		}
		s.readable.Wait()
	}
}

// Write implements net.Conn. It returns when the bytes are written or will be with
// the next write of the connection. A deadline holds for a Write that begins behind
// it; one that is already writing ends with the connection, which takes 30 s at most.
func (s *Stream) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return s.send(b, noPadding, false)
}

// WritePadded is Write with pad zero bytes of padding in each DATA frame; they count
// for the windows, and there are fewer where those are nearly closed. With no bytes
// it sends the padding alone.
func (s *Stream) WritePadded(b []byte, pad uint8) (int, error) {
	return s.send(b, int(pad), false)
}

// CloseWrite ends the request.
func (s *Stream) CloseWrite() error {
	_, err := s.send(nil, noPadding, true)
	return err
}

// send queues b and writes until it is sent, unless somebody else writes: then that
// one does. While the connection takes no bytes, only a deadline set before ends it,
// or the end of the connection.
func (s *Stream) send(b []byte, padding int, last bool) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.sending && s.refusal() == nil {
		s.writable.Wait()
	}
	if err := s.refusal(); err != nil {
		return 0, err
	}
	if err := s.begin(b, padding, last); err != nil {
		return 0, err
	}
	for {
		if c.err != nil {
			return s.finish(b), c.err
		}
		if s.due {
			if err := s.refusal(); err != nil {
				return s.finish(b), err
			}
		}
		c.fill()
		switch {
		case c.out != nil && !c.writing && s.writes.at.IsZero():
			c.writing = true
			c.gather()
			c.drain(s)
		case c.out != nil && !c.writing:
			c.flush()
		case s.due:
			s.writable.Wait()
		default:
			return s.finish(b), nil
		}
	}
}

// finish ends a send and returns how much of b is sent; under c.mu. One that gives
// up may have been the one to write for all.
func (s *Stream) finish(b []byte) int {
	left := len(s.pending)
	s.pending, s.due, s.sending = nil, false, false
	s.writable.Broadcast()
	s.c.wake()
	return len(b) - left
}

// begin makes b what s has to send; under c.mu.
func (s *Stream) begin(b []byte, padding int, last bool) error {
	switch {
	case len(b) > 0 || padding > 0:
		if s.sent {
			return io.ErrClosedPipe
		}
		s.sending, s.due = true, true
		s.pending, s.padding, s.last = b, padding, last
		s.c.asked.Store(s.c.now())
		s.c.offer(s)
	case last && !s.sent:
		o := s.c.append()
		o.b = appendHeader(o.b, frameHeader{0, frameData, flagEnd, s.id})
		s.c.ended(s)
	}
	return nil
}

// refusal says why nothing can be sent; under c.mu.
func (s *Stream) refusal() error {
	switch {
	case s.refused != nil:
		return s.refused
	case s.writes.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// stop refuses what is sent from now on; under c.mu.
func (s *Stream) stop(err error) {
	if s.refused == nil {
		s.refused = err
		if s.lost != nil {
			s.lost()
		}
	}
	s.writable.Broadcast()
	s.writes.stop()
}

// end says what follows the bytes that have come.
func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox.finish(err)
	s.tell()
}

// Close resets the stream (CANCEL) unless both halves have ended. A server that has
// answered only needs no more of the request.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.inbox.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	unread := s.forget(net.ErrClosed)
	s.mu.Unlock()
	s.c.reset(s, Cancel, net.ErrClosed)
	s.c.consumed(nil, 0, unread)
	return nil
}

// forget throws away what has come, and returns for how much of it the connection's
// window is to be opened; under mu.
func (s *Stream) forget(why error) (unread int) {
	unread = s.inbox.close(why)
	unread -= s.paid(unread)
	if s.c.server != nil {
		s.c.server.handled.Add(-1)
	}
	s.reads.stop()
	s.tell()
	return unread
}

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return s.c.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inbox.closed {
		return net.ErrClosed
	}
	s.reads.set(t, s.wakeReader)
	s.readable.Broadcast()
	return nil
}

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.refused != nil {
		return s.refused
	}
	s.writes.set(t, s.wakeWriter)
	s.writable.Broadcast()
	return nil
}

func (s *Stream) wakeReader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell()
}

func (s *Stream) wakeWriter() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.writable.Broadcast()
}
