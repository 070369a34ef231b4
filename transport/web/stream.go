package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"
)

var errGone = errors.New("the client has gone")

// stream is a stream in the bodies of requests and answers: it reads from an uplink
// and writes to the answer of one request. A deadline ends it: who has met one has
// no further use for a stream.
type stream struct {
	w      http.ResponseWriter
	ctl    *control
	in     uplink
	own    *body // in, if that is the body of the same request
	source netip.Addr
	local  net.Addr
	done   func() // called at Close; may be nil

	writing sync.Mutex    // while w is in use
	over    chan struct{} // closed when the answer is complete
	job     chan func()   // for the handler, at most one

	mu     sync.Mutex
	ended  bool  // over is closed
	closed bool  // by its owner
	reset  bool  // the end is to be a reset
	err    error // why it has failed
	timer  *time.Timer
}

func newStream(w http.ResponseWriter, r *http.Request, ctl *control, source netip.Addr) *stream {
	s := &stream{w: w, ctl: ctl, source: source, over: make(chan struct{}), job: make(chan func(), 1)}
	s.local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return s
}

// watch ends the stream when ctx, its request's, has ended before it.
func (s *stream) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { s.fail(errGone) })
}

// wait is the rest of the life of the handler that answers.
func (s *stream) wait() {
	select {
	case f := <-s.job:
		f()
		<-s.over
	case <-s.over:
		select {
		case f := <-s.job:
			f()
		default:
		}
	}
	s.mu.Lock()
	reset := s.reset || s.err != nil
	s.mu.Unlock()
	if reset {
		s.ctl.stopWriting()
	}
	if s.own != nil {
		// An answer that is complete takes the request with it.
		s.own.leave(io.EOF)
	}
	s.writing.Lock()
	//lint:ignore SA2001 whoever was writing has left
	s.writing.Unlock()
	s.ctl.leave()
	if reset {
		// The server takes this panic, and none but this, for a reset of the
		// stream or connection.
		panic(http.ErrAbortHandler)
	}
}

// Lend implements transport.Host: the handler of the answer writes it, and that of
// the uplink, if there is one, reads it.
func (s *stream) Lend(reads bool, f func()) bool {
	if reads {
		q, ok := s.in.(*queue)
		return ok && q.lend(f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	select {
	case s.job <- f:
		return true
	default:
		return false
	}
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	if err != nil {
		err = s.failure(err)
	}
	return n, err
}

// WaitRead implements transport.ReadWaiter.
func (s *stream) WaitRead() error { return s.in.WaitRead() }

// Lost reports whether the stream has failed, for who neither reads nor writes: the
// splice core asks.
func (s *stream) Lost() bool { return s.failure(nil) != nil || s.in.lost() }

// failure is why the stream has failed; err if it has not.
func (s *stream) failure(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return net.ErrClosed
	}
	return err
}

// Write implements net.Conn.
func (s *stream) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	err := s.err
	if err == nil && s.ended {
		err = net.ErrClosed
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	if err == nil {
		err = s.ctl.rc.Flush()
	}
	if err != nil {
		err = s.failure(err)
	}
	return n, err
}

// CloseWrite implements transport.Conn: it completes the answer.
func (s *stream) CloseWrite() error {
	if q, ok := s.in.(*queue); ok {
		q.finish()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return s.err
}

// end lets the handler return; under mu.
func (s *stream) end() {
	if !s.ended {
		s.ended = true
		close(s.over)
	}
}

// fail ends the stream from outside: whoever reads or writes sees err, and closes it.
func (s *stream) fail(err error) {
	s.mu.Lock()
	first := s.err == nil && !s.closed
	if first {
		s.err = err
	}
	s.mu.Unlock()
	if first {
		_ = s.in.fail(err)
		s.ctl.stopWriting()
	}
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	reset := s.reset
	s.end()
	s.mu.Unlock()
	_ = s.in.fail(net.ErrClosed)
	if reset {
		s.ctl.stopWriting()
	}
	if s.done != nil {
		s.done()
	}
	return nil
}

// SetLinger makes Close a reset, if sec is 0: see transport.Abort.
func (s *stream) SetLinger(sec int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = sec == 0
	return nil
}

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if !t.IsZero() {
		s.timer = time.AfterFunc(time.Until(t), func() { s.fail(os.ErrDeadlineExceeded) })
	}
	return s.err
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.SetDeadline(t) }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements net.Conn. The port is of no connection.
func (s *stream) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.source, 0))
}

// Source is the client's address.
func (s *stream) Source() netip.Addr { return s.source }
