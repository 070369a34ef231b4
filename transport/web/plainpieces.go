package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// perMegabyte is how much longer than stepTime the answer to a piece of that size may
// take: a server whose target is slow reads it as the target does (SPEC.md, Section 4.6).
const perMegabyte = 10 * time.Second

var errHeld = errors.New("the download is not answered: something on the way holds the answer back, or it is frozen")

// plainPieces is packet-up over HTTP/1.1: a request for the downlink, and one after the
// other for the pieces, on whatever connections are idle.
type plainPieces struct {
	unposted
	client  *Client
	k       *plainConn // of the downlink
	down    answer
	path    string
	seq     int
	shape   shaper
	parting parting
	ctx     context.Context // of the requests; it ends with the stream
	cancel  context.CancelFunc
	whole   atomic.Bool   // the download has come to its end
	left    bool          // the downlink's connection is no more the stream's
	gone    chan struct{} // closed when it is not

	// For watch.
	asker         atomic.Pointer[func() bool]
	reading       atomic.Bool              // somebody waits for bytes
	taken, posted atomic.Int64             // bytes that were written, and that have arrived
	piece         atomic.Pointer[underway] // nil: none is
}

var _ transport.ReadWaiter = (*plainPieces)(nil)

// openPlain begins a stream, and waits for the head of its downlink: servers say it at
// once. The first piece goes beside that request.
func (c *Client) openPlain(ctx context.Context, first []byte) (transport.Conn, error) {
	p := &plainPieces{client: c, path: string(c.way.Path) + newSession(), gone: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(c.ctx)
	p.room.L, p.most, p.run, p.more = &p.mu, c.way.PostBytes.Most, p.post, c.tasks.Go
	// A piece that fails ends the wait.
	both, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	err := p.begin(both, first, false)
	if errors.Is(err, errStale) {
		err = p.begin(both, nil, true)
	}
	if err != nil {
		err = cmp.Or(p.failure(), err)
		if !errors.Is(err, errAllTaken) {
			c.unproven()
		}
		_ = p.Close()
		return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, reason(err))
	}
	return p, nil
}

// begin asks for the downlink.
func (p *plainPieces) begin(ctx context.Context, first []byte, fresh bool) error {
	c := p.client
	k, err := c.takePlain(ctx, true, fresh)
	if err != nil {
		return err
	}
	if len(first) > 0 {
		_, _ = p.Write(first) // not more than a piece
	}
	a, err := k.exchange(ctx, c.ask(http.MethodGet, p.path, c.profile.HTTP2.Get, -1), nil, lastingTime)
	switch {
	case errors.Is(err, errFrozen):
		if k.reused {
			c.frozenPlain(k) // it has answered before
		}
		err = errHeld
	case err == nil && a.status != http.StatusOK:
		err = statusError(a.status)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err = cmp.Or(err, p.err); err != nil {
		c.closePlain(k)
		return err
	}
	p.k, p.down = k, a
	c.tasks.Go(p.watch)
	return nil
}

// failure is why a piece has failed; nil: none has.
func (p *plainPieces) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.err, net.ErrClosed) {
		return nil
	}
	return p.err
}

// failed reports whether the stream has failed, or been closed.
func (p *plainPieces) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// Begun reports that the server has answered.
func (p *plainPieces) Begun() bool { return true }

// Read implements net.Conn.
func (p *plainPieces) Read(b []byte) (int, error) {
	p.reading.Store(true)
	n, err := p.down.body.Read(b)
	p.reading.Store(false)
	p.parting.came.Add(int64(n))
	if err == io.EOF {
		p.whole.Store(true)
	}
	return n, p.why(err)
}

// WaitRead implements transport.ReadWaiter. What has come may be no more than the line
// before a chunk.
func (p *plainPieces) WaitRead() error {
	if b := &p.down.body; b.whole || b.state == counted && b.left == 0 {
		return nil // Read says so
	}
	p.reading.Store(true)
	_, err := p.k.in.Peek(1)
	p.reading.Store(false)
	if err == io.EOF {
		return nil
	}
	return p.why(err)
}

// why says of an error of the downlink what it means. A server that resets a stream cuts
// its answer off.
func (p *plainPieces) why(err error) error {
	switch {
	case err == nil, err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded) && p.ctx.Err() == nil:
		return err
	}
	p.mu.Lock()
	own := p.err
	p.mu.Unlock()
	switch {
	case own != nil:
		return own
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("web: the download was cut off: %w", err)
	}
	return fmt.Errorf("web: %w: %w", transport.ErrCarrier, reason(err))
}

// Write implements net.Conn. It returns when there is room for b in a piece to come.
func (p *plainPieces) Write(b []byte) (int, error) {
	n, err := p.write(b)
	p.taken.Add(int64(n))
	return n, err
}

// post sends pieces while there are some, at the way's pace.
func (p *plainPieces) post() {
	pace := p.client.way.PostInterval
	for {
		body, path := p.next()
		if body == nil {
			if p.failed() {
				p.cancel()
			}
			return
		}
		began := time.Now()
		err := p.send(path, body)
		body.free()
		if err != nil {
			p.fail(err)
			continue
		}
		pause := time.NewTimer(between(pace.Least, pace.Most) - time.Since(began))
		select {
		case <-pause.C:
		case <-p.ctx.Done():
			pause.Stop()
		}
	}
}

// next returns the next piece; nil: there is none, and post ends.
func (p *plainPieces) next() (body *pieceBuffer, path string) {
	size := p.client.way.PostBytes.Draw()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.waiting == nil {
		p.sending = false
		return nil, ""
	}
	body, p.waiting = p.waiting.cut(size)
	path = p.path + "/" + strconv.Itoa(p.seq)
	p.seq++
	p.room.Broadcast()
	return body, path
}

// send sends a piece. Where an idle connection turns out to have ended, or one is frozen,
// it goes on a new one: pieces have numbers, so what the server has after all it throws
// away.
func (p *plainPieces) send(path string, body *pieceBuffer) error {
	c, n := p.client, body.len()
	ctx, cancel := context.WithTimeoutCause(p.ctx, postTime, errSilent)
	defer cancel()
	head := c.askPadded(http.MethodPost, path, c.profile.HTTP2.Post, n, p.shape.piece(n))
	err := p.sendOnce(ctx, head, body.b, false)
	if errors.Is(err, errStale) || errors.Is(err, errFrozen) {
		err = p.sendOnce(ctx, head, body.b, true)
	}
	if err == nil {
		p.posted.Add(int64(n))
	} else {
		return fmt.Errorf("web: %w: piece: %w", transport.ErrCarrier, reason(err))
	}
	return nil
}

func (p *plainPieces) sendOnce(ctx context.Context, head h2.Head, body []byte, fresh bool) error {
	c := p.client
	k, err := c.takePlain(ctx, false, fresh)
	if err != nil {
		return err
	}
	patience := time.Duration(len(body)) * perMegabyte / 1e6
	p.piece.Store(&underway{k, patience})
	defer p.piece.Store(nil)
	a, err := k.exchange(ctx, head, body, stepTime+patience)
	if err != nil {
		c.closePlain(k)
		return err
	}
	_ = k.SetReadDeadline(time.Now().Add(stepTime))
	if a.rest() {
		c.keepPlain(k)
	} else {
		c.closePlain(k)
	}
	if a.status != http.StatusOK {
		return statusError(a.status)
	}
	return nil
}

// fail ends the stream: what is missing cannot be had again.
func (p *plainPieces) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.room.Broadcast()
	p.mu.Unlock()
	p.over()
}

// over ends the requests, and wakes the reader. Behind a download that has come to its
// end the connection carries the next, and so does that of a piece which is on its way.
func (p *plainPieces) over() {
	whole := p.whole.Load()
	p.mu.Lock()
	k, left, sending := p.k, p.left, p.sending
	if !left {
		p.left = true
		close(p.gone)
	}
	p.mu.Unlock()
	if !whole || !sending {
		p.cancel()
	}
	switch {
	case k == nil || left:
	case whole && p.down.rest():
		p.client.keepPlain(k)
	default:
		p.client.closePlain(k)
	}
}

// CloseWrite implements transport.Conn. The end of the uplink cannot be said, as over
// HTTP/2.
func (p *plainPieces) CloseWrite() error {
	p.parting.begin(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.sending
	}, func() { p.fail(net.ErrClosed) })
	return nil
}

// Close implements net.Conn. What was written and has not been sent is lost.
func (p *plainPieces) Close() error {
	p.end(net.ErrClosed)
	p.over()
	return nil
}

// SetDeadline implements net.Conn.
func (p *plainPieces) SetDeadline(t time.Time) error {
	p.setDeadline(t)
	return p.k.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (p *plainPieces) SetReadDeadline(t time.Time) error { return p.k.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (p *plainPieces) SetWriteDeadline(t time.Time) error {
	p.setDeadline(t)
	return nil
}

// LocalAddr implements net.Conn.
func (p *plainPieces) LocalAddr() net.Addr { return p.k.LocalAddr() }

// RemoteAddr implements net.Conn.
func (p *plainPieces) RemoteAddr() net.Addr { return p.k.RemoteAddr() }
