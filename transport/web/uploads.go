package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// oneStream is stream-one: a request and its answer.
type oneStream struct {
	fetch
	shape shaper
}

var _ transport.ReadWaiter = (*oneStream)(nil)

// Write implements net.Conn.
func (s *oneStream) Write(b []byte) (int, error) {
	n, err := s.shape.write(s.down, b)
	if err != nil {
		err = s.failed(err)
	}
	return n, err
}

// CloseWrite implements transport.Conn.
func (s *oneStream) CloseWrite() error { return s.down.CloseWrite() }

// Close implements net.Conn.
func (s *oneStream) Close() error { return s.down.Close() }

// SetDeadline implements net.Conn.
func (s *oneStream) SetDeadline(t time.Time) error { return s.down.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (s *oneStream) SetReadDeadline(t time.Time) error { return s.down.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *oneStream) SetWriteDeadline(t time.Time) error { return s.down.SetWriteDeadline(t) }

// upStream is stream-up: a request for each direction, of one session. The answer to
// the uplink's is padding, which nobody reads: it is small, and goes with the stream.
type upStream struct {
	oneStream
	up *h2.Stream
}

func (k *carrier) streamUp(ctx context.Context, first []byte) (transport.Conn, error) {
	c := k.client
	path := string(c.way.Path) + newSession()
	up, err := k.open(ctx, c.ask(http.MethodPost, path, c.profile.HTTP2.Stream, -1), first, false)
	if err != nil {
		return nil, err
	}
	down, err := k.open(ctx, c.ask(http.MethodGet, path, c.profile.HTTP2.Get, -1), nil, true)
	if err != nil {
		_ = up.Close()
		return nil, err
	}
	k.visit()
	return &upStream{oneStream{fetch{down: down, k: k}, shaper{left: shapedWrites, k: k}}, up}, nil
}

// Write implements net.Conn.
func (s *upStream) Write(b []byte) (int, error) {
	n, err := s.shape.write(s.up, b)
	if err != nil {
		err = s.failed(err)
	}
	return n, err
}

// CloseWrite implements transport.Conn.
func (s *upStream) CloseWrite() error { return s.up.CloseWrite() }

// Close implements net.Conn.
func (s *upStream) Close() error {
	_ = s.up.Close()
	return s.down.Close()
}

// SetDeadline implements net.Conn.
func (s *upStream) SetDeadline(t time.Time) error {
	_ = s.up.SetWriteDeadline(t)
	return s.down.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *upStream) SetWriteDeadline(t time.Time) error { return s.up.SetWriteDeadline(t) }

// pieces is packet-up: the uplink is requests with a number each, which a CDN may
// collect, delay or send twice.
type pieces struct {
	oneStream
	path   string
	ctx    context.Context // of the requests; it ends with the stream
	cancel context.CancelFunc

	mu       sync.Mutex
	room     sync.Cond // for Write: less is waiting, or it has failed
	waiting  []byte    // for the next piece
	seq      int
	sending  bool // run is there
	asked    int  // pieces without an answer
	err      error
	deadline *time.Timer
	late     bool
}

// mostAsked is how many pieces of a stream have no answer yet. Servers keep 30 that
// come too early.
const mostAsked = 6

func (k *carrier) packetUp(ctx context.Context, first []byte) (transport.Conn, error) {
	c := k.client
	path := string(c.way.Path) + newSession()
	down, err := k.open(ctx, c.ask(http.MethodGet, path, c.profile.HTTP2.Get, -1), nil, true)
	if err != nil {
		return nil, err
	}
	k.visit()
	p := &pieces{oneStream: oneStream{fetch: fetch{down: down, k: k}}, path: path}
	p.ctx, p.cancel = context.WithCancel(c.ctx)
	p.room.L = &p.mu
	if len(first) > 0 {
		if _, err := p.Write(first); err != nil {
			_ = p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Read implements net.Conn.
func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.oneStream.Read(b)
	return n, p.why(err)
}

// WaitRead implements transport.ReadWaiter.
func (p *pieces) WaitRead() error { return p.why(p.oneStream.WaitRead()) }

// why is what has failed first, where that was a piece.
func (p *pieces) why(err error) error {
	if !errors.Is(err, net.ErrClosed) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.err, err)
}

// Write implements net.Conn. It returns when there is room for b in a piece to come.
func (p *pieces) Write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.k.client.way.PostBytes.Most
	for len(b) > 0 {
		for p.err == nil && !p.late && len(p.waiting) >= most {
			p.room.Wait()
		}
		switch {
		case p.err != nil:
			return n, p.err
		case p.late:
			return n, os.ErrDeadlineExceeded
		}
		m := min(len(b), most-len(p.waiting))
		p.waiting = append(p.waiting, b[:m]...)
		b, n = b[m:], n+m
		if !p.sending {
			p.sending = true
			p.k.client.tasks.Go(p.run)
		}
	}
	return n, nil
}

// run sends pieces while there are some, at the way's pace.
func (p *pieces) run() {
	way := &p.k.client.way
	for {
		p.mu.Lock()
		for p.err == nil && p.asked >= mostAsked {
			p.room.Wait()
		}
		if p.err != nil || len(p.waiting) == 0 {
			p.sending = false
			p.mu.Unlock()
			return
		}
		size := min(len(p.waiting), between(way.PostBytes.Least, way.PostBytes.Most))
		body := p.waiting[:size:size]
		p.waiting = p.waiting[size:]
		if len(p.waiting) == 0 {
			p.waiting = nil
		}
		path := p.path + "/" + strconv.Itoa(p.seq)
		p.seq++
		p.asked++
		p.room.Broadcast()
		p.mu.Unlock()
		p.k.client.tasks.Go(func() { p.post(path, body) })
		pause := time.NewTimer(between(way.PostInterval.Least, way.PostInterval.Most))
		select {
		case <-pause.C:
		case <-p.k.conn.Done():
			pause.Stop()
		}
	}
}

// post sends one piece and waits for its answer.
func (p *pieces) post(path string, body []byte) {
	err := p.ask(path, body)
	p.mu.Lock()
	p.asked--
	if err != nil && p.err == nil {
		p.err = err
	}
	p.room.Broadcast()
	p.mu.Unlock()
	if err != nil {
		p.cancel()
		_ = p.down.Close() // wakes the reader
	}
}

// ask sends a piece on the connection of the downlink, or on another once that has had
// its share of requests.
func (p *pieces) ask(path string, body []byte) error {
	k, c := p.k, p.k.client
	c.mu.Lock()
	tired := k.requests <= 0 && c.budget == 0
	c.mu.Unlock()
	if tired || !k.conn.Usable() {
		other, err := c.carrier(p.ctx)
		if err != nil {
			return err
		}
		defer c.leave(other)
		k = other
	}
	ctx, cancel := context.WithTimeout(p.ctx, postTime)
	defer cancel()
	s, err := k.open(ctx, c.askPadded(http.MethodPost, path, c.profile.HTTP2.Post, len(body), between(leastPadding, mostPiecePad)), body, true)
	if err != nil {
		return err
	}
	defer s.Close()
	status, _, err := s.Response(ctx)
	switch {
	case err != nil:
		return k.lost(fmt.Errorf("web: piece: %w", err))
	case status != http.StatusOK:
		return fmt.Errorf("web: %w: %w", transport.ErrCarrier, statusError(status))
	}
	return nil
}

// postTime bounds a piece and its answer.
const postTime = time.Minute

// CloseWrite implements transport.Conn. In packet-up no piece is the last: the end of
// the uplink cannot be said, and the target hears of it with the stream's.
func (p *pieces) CloseWrite() error { return nil }

// Close implements net.Conn. What was written and has not been sent is lost, as after
// a reset.
func (p *pieces) Close() error {
	p.mu.Lock()
	if p.err == nil {
		p.err = net.ErrClosed
	}
	if p.deadline != nil {
		p.deadline.Stop()
	}
	p.waiting = nil
	p.room.Broadcast()
	p.mu.Unlock()
	// What is on its way is not wanted any more, and would be in the way of others:
	// a connection has one window for all of its streams.
	p.cancel()
	return p.down.Close()
}

// SetDeadline implements net.Conn.
func (p *pieces) SetDeadline(t time.Time) error {
	_ = p.SetWriteDeadline(t)
	return p.down.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (p *pieces) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline != nil {
		p.deadline.Stop()
		p.deadline = nil
	}
	p.late = !t.IsZero() && !t.After(time.Now())
	if !t.IsZero() && !p.late {
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(t), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.deadline == timer {
				p.late = true
				p.room.Broadcast()
			}
		})
		p.deadline = timer
	}
	p.room.Broadcast()
	return nil
}
