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

	"relay/transport/h2"
)

// ServeStream serves a request on a connection that package h2 has: its stream is the
// user's, with no handler, no goroutine and no buffer while nothing moves. It
// implements site.Streamer.
func (c *claimed) ServeStream(ctx context.Context, s *h2.Stream, r *http.Request) bool {
	switch c.kind {
	case both:
		c.start(ctx, c.direct(s, nil), r)
	case down:
		ses, err := c.sessions.downlink(c.key())
		if err != nil {
			c.say(s, r, statusOf(err))
			break
		}
		d := c.direct(s, ses.queue)
		d.done = func() { c.sessions.remove(ses) }
		context.AfterFunc(ctx, func() { _ = ses.queue.fail(errGone) })
		c.start(ctx, d, r)
	case up:
		c.uploads(s, r)
	case piece:
		if r.ContentLength > mostPiece {
			c.say(s, r, http.StatusRequestEntityTooLarge)
			break
		}
		body := &hurriedStream{Stream: s}
		body.hurry()
		s.NotifyAt(chunkSize, func() { c.takePiece(ctx, body, r) })
	default:
		return false
	}
	return true
}

// fields is header as it goes over HTTP/2.
func (c *claimed) fields(r *http.Request, lasts bool) []h2.Field {
	origin := r.Header.Get("Origin")
	if origin == "" {
		origin = "*"
	}
	f := make([]h2.Field, 0, 6)
	f = append(f, h2.Field{Name: "access-control-allow-origin", Value: origin}, h2.Field{Name: "x-padding", Value: draw()})
	if c.server != nil {
		f = append(f, h2.Field{Name: "server", Value: c.server[0]})
	}
	if !lasts {
		return append(f, h2.Field{Name: "content-length", Value: "0"})
	}
	f = append(f, h2.Field{Name: "x-accel-buffering", Value: "no"}, h2.Field{Name: "cache-control", Value: "no-store"})
	if c.kind != up {
		f = append(f, h2.Field{Name: "content-type", Value: "text/event-stream"})
	}
	return f
}

// say answers with a status alone.
func (c *claimed) say(s *h2.Stream, r *http.Request, status int) {
	_ = s.Answer(status, c.fields(r, false), true)
	_ = s.Finish()
}

// start begins the answer of a stream and hands it to the sink.
func (c *claimed) start(ctx context.Context, d *direct, r *http.Request) {
	if err := d.Answer(http.StatusOK, c.fields(r, true), false); err != nil {
		_ = d.Close()
		return
	}
	go func() { _ = c.sink.Stream(ctx, c.user, d) }()
}

// direct is a stream whose downlink is the answer of a request, and whose uplink is the
// request, or a queue.
type direct struct {
	*h2.Stream
	in     *queue // nil: the request
	source netip.Addr
	done   func() // called at Close; may be nil

	mu     sync.Mutex
	reset  bool // the end is to be a reset
	closed bool
}

func (c *claimed) direct(s *h2.Stream, in *queue) *direct {
	return &direct{Stream: s, in: in, source: c.source}
}

// Read implements net.Conn.
func (d *direct) Read(b []byte) (int, error) {
	if d.in == nil {
		return d.Stream.Read(b)
	}
	return d.in.Read(b)
}

// WaitRead implements transport.ReadWaiter.
func (d *direct) WaitRead() error {
	if d.in == nil {
		return d.Stream.WaitRead()
	}
	return d.in.WaitRead()
}

// Notify implements transport.Notifier.
func (d *direct) Notify(f func()) {
	if d.in == nil {
		d.Stream.Notify(f)
		return
	}
	d.in.notifyOnce(f)
}

// Lost reports whether the stream has failed, for who neither reads nor writes: the
// splice core asks.
func (d *direct) Lost() bool { return d.Stream.Lost() || d.in != nil && d.in.lost() }

// CloseWrite implements transport.Conn: it completes the answer.
func (d *direct) CloseWrite() error {
	if d.in != nil {
		d.in.finish()
	}
	return d.Stream.CloseWrite()
}

// Close implements net.Conn.
func (d *direct) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return net.ErrClosed
	}
	d.closed = true
	reset := d.reset
	d.mu.Unlock()
	if d.in != nil {
		_ = d.in.fail(net.ErrClosed)
	}
	if reset {
		_ = d.Stream.Close()
	} else {
		_ = d.Stream.Finish()
	}
	if d.done != nil {
		d.done()
	}
	return nil
}

// SetLinger makes Close a reset, if sec is 0: see transport.Abort.
func (d *direct) SetLinger(sec int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reset = sec == 0
	return nil
}

// SetDeadline implements net.Conn.
func (d *direct) SetDeadline(t time.Time) error {
	if err := d.SetReadDeadline(t); err != nil {
		return err
	}
	return d.Stream.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (d *direct) SetReadDeadline(t time.Time) error {
	if d.in == nil {
		return d.Stream.SetReadDeadline(t)
	}
	d.in.setDeadline(t)
	return nil
}

// RemoteAddr implements net.Conn. The port is of no connection.
func (d *direct) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.source, 0))
}

// Source is the client's address.
func (d *direct) Source() netip.Addr { return d.source }

// takePiece takes a numbered piece of a session's uplink.
func (c *claimed) takePiece(ctx context.Context, body *hurriedStream, r *http.Request) {
	ses, err := c.sessions.uplink(c.key(), c.seq == 0)
	switch {
	case err == errEnded:
		err = forget(body)
	case err == nil:
		err = ses.queue.bring(ctx, c.seq, body)
		if errors.Is(err, net.ErrClosed) || err == io.EOF {
			err = nil // the target had enough before the end of the piece was here
		}
	}
	c.say(body.Stream, r, statusOf(err))
}

// hurriedStream is hurried for a stream.
type hurriedStream struct {
	*h2.Stream
	until time.Time
}

// Read implements io.Reader. It fills b: what is held for a piece is counted in whole
// buffers.
func (h *hurriedStream) Read(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		h.hurry()
		var m int
		m, err = h.Stream.Read(b[n:])
		n += m
	}
	return n, err
}

// hurry moves the deadline on.
func (h *hurriedStream) hurry() {
	if now := time.Now(); h.until.Sub(now) < pieceTime/2 {
		h.until = now.Add(pieceTime)
		_ = h.SetReadDeadline(h.until)
	}
}

// uploads takes all of a session's uplink.
func (c *claimed) uploads(s *h2.Stream, r *http.Request) {
	ses, err := c.sessions.uplink(c.key(), true)
	if err == nil {
		u := &upload{Stream: s}
		// The answer begins before anybody reads the request, who may end it.
		if err = s.Answer(http.StatusOK, c.fields(r, true), false); err != nil {
			_ = s.Close()
			return
		}
		if err = ses.queue.follow(u); err == nil {
			if r.Header.Get("Referer") != "" {
				go u.pad()
			}
			return
		}
		_ = s.Close()
		return
	}
	c.say(s, r, statusOf(err))
}

// upload is an uplink in one request, whose answer is padding now and then.
type upload struct {
	*h2.Stream

	mu    sync.Mutex
	timer *time.Timer // of the next padding
	over  bool
}

// Read implements uplink.
func (u *upload) Read(b []byte) (int, error) {
	n, err := u.Stream.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		u.end()
	}
	return n, err
}

// lend implements tail: there is no goroutine to lend.
func (u *upload) lend(func()) bool { return false }

// fail implements uplink.
func (u *upload) fail(err error) error {
	u.end()
	return err
}

// lost implements uplink.
func (u *upload) lost() bool { return u.Lost() }

// notifyOnce implements tail.
func (u *upload) notifyOnce(f func()) { u.Notify(f) }

// setDeadline implements tail.
func (u *upload) setDeadline(t time.Time) { _ = u.SetReadDeadline(t) }

// end completes the answer.
func (u *upload) end() {
	u.mu.Lock()
	if u.timer != nil {
		u.timer.Stop()
	}
	u.over = true
	u.mu.Unlock()
	_ = u.Finish()
}

// pad writes padding as an answer now and then.
func (u *upload) pad() {
	_ = u.SetWriteDeadline(time.Now().Add(padTime)) // the client may not read it
	if _, err := io.WriteString(u.Stream, draw()); err != nil {
		return // whoever reads hears of it
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.over {
		u.timer = time.AfterFunc(between(leastPause, mostPause), u.pad)
	}
}
