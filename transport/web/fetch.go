package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// fetch is a stream in requests: its downlink is an answer, its uplink a body, or many.
type fetch struct {
	down   *h2.Stream
	k      *carrier    // of down
	begun  bool        // for who reads
	refuse error       // what is wrong with the answer
	answer *overdue    // nil: a late one is as good
	unseen atomic.Bool // the server has not looked at the request for the uplink
}

// lastingTime is how long a request whose body lasts waits for the head of its answer.
// Servers say it at once; a proxy that collects the body first never passes it on.
const lastingTime = 5 * time.Second

// overdue ends a stream whose requests are not answered while their connection lives.
type overdue struct {
	timer *time.Timer
	late  atomic.Bool
}

var errCollected = errors.New("the request is not answered while it lasts: something on the way, such as a CDN, collects it first; packet-up passes there")

// expect wants the answers to some requests; nil: others on the connection have had
// theirs, so these will come as well.
func (k *carrier) expect(streams ...*h2.Stream) *overdue {
	if k.passes.Load() {
		return nil
	}
	o := new(overdue)
	o.timer = time.AfterFunc(lastingTime, func() {
		for _, s := range streams {
			if _, _, err := s.Response(over); err == nil || k.conn.Err() != nil {
				continue
			}
			o.late.Store(true)
			k.client.collected()
			for _, s := range streams {
				_ = s.Close()
			}
			return
		}
		k.passes.Store(k.conn.Err() == nil)
	})
	return o
}

// stop wants no answer any more.
func (o *overdue) stop() {
	if o != nil {
		o.timer.Stop()
	}
}

// collectedTime is for how long a way that collects what goes up gets it in pieces.
const collectedTime = 10 * time.Minute

// collected keeps that bodies that last do not pass.
func (c *Client) collected() {
	c.mu.Lock()
	c.pieces = time.Now().Add(collectedTime)
	c.mu.Unlock()
	c.log.Debug("requests are collected on the way: packet-up from here on")
}

// streamOne begins a stream that is one request (SPEC.md, Section 4).
func (k *carrier) streamOne(ctx context.Context, first []byte) (transport.Conn, error) {
	c := k.client
	s, err := k.open(ctx, c.ask(http.MethodPost, string(c.way.Path), c.profile.HTTP2.Stream, -1), first, false)
	if err != nil {
		return nil, err
	}
	k.visit()
	k.mind(s)
	return &oneStream{fetch{down: s, k: k, answer: k.expect(s)}, shaper{left: shapedWrites, k: k}}, nil
}

// busyWait is how often a request is tried again while the server takes no more: before
// it has said how many it takes there are sooner too many.
const busyWait = 20 * time.Millisecond

// open makes a request.
func (k *carrier) open(ctx context.Context, head h2.Head, body []byte, end bool) (*h2.Stream, error) {
	k.client.mu.Lock()
	k.requests--
	k.client.mu.Unlock()
	for {
		s, err := k.conn.Open(ctx, head, body, end)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, h2.ErrBusy):
			select {
			case <-time.After(busyWait):
				continue
			case <-ctx.Done():
			}
			fallthrough
		case errors.Is(err, h2.ErrUnprocessed):
			return nil, k.lost(fmt.Errorf("web: %w: %w", transport.ErrCarrier, err))
		}
		if _, reset := errors.AsType[*h2.ResetError](err); reset {
			// The server answered before all of the request was there, as early says.
			err = fmt.Errorf("%w: %w", transport.ErrCarrier, err)
		}
		return nil, k.lost(fmt.Errorf("web: request: %w", err))
	}
}

// over is a context that has ended, for asking whether something is there already.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Begun reports whether the server has taken the request. Another answer, such as a CDN's
// whose origin is down, says that another way may do better.
func (f *fetch) Begun() bool { return accepted(f.down) }

func accepted(s *h2.Stream) bool {
	status, _, err := s.Response(over)
	return err == nil && status == http.StatusOK
}

// Read implements net.Conn.
func (f *fetch) Read(b []byte) (int, error) {
	if !f.begun {
		if err := f.wait(); err != nil {
			return 0, err
		}
	}
	n, err := f.down.Read(b)
	if err != nil && err != io.EOF {
		err = f.failed(err)
	}
	return n, err
}

// WaitRead implements transport.ReadWaiter.
func (f *fetch) WaitRead() error {
	if !f.begun {
		return f.wait()
	}
	if err := f.down.WaitRead(); err != nil {
		return f.failed(err)
	}
	return nil
}

// wait waits until there is something to read, and looks at the answer's head.
func (f *fetch) wait() error {
	if f.refuse != nil {
		return f.refuse
	}
	if err := f.down.WaitRead(); err != nil {
		return f.early(err)
	}
	status, _, err := f.down.Response(over)
	switch {
	case err != nil:
		return f.early(err)
	case status != http.StatusOK:
		f.refuse = fmt.Errorf("web: %w: %w", transport.ErrCarrier, statusError(status))
		return f.refuse
	}
	f.begun = true
	return nil
}

// statusError is a status that is not the one of a stream.
type statusError int

// Error says what it means.
func (s statusError) Error() string {
	switch {
	case s.unknown():
		return fmt.Sprintf("the server does not know the link's path (status %d): the user may have been removed or have got another link", int(s))
	case s >= 500:
		return fmt.Sprintf("the server, or the CDN in front of it, is in trouble (status %d)", int(s))
	}
	return fmt.Sprintf("the server answers with status %d", int(s))
}

// unknown reports whether that is how a site answers to a path that it does not know.
func (s statusError) unknown() bool {
	return s == http.StatusNotFound || s == http.StatusMethodNotAllowed || s == http.StatusBadRequest
}

// early is the error of a request that has no answer yet: another connection may do
// better, whatever it is.
func (f *fetch) early(err error) error {
	lost := f.failed(err)
	switch {
	case errors.Is(lost, os.ErrDeadlineExceeded), errors.Is(lost, net.ErrClosed), errors.Is(lost, transport.ErrCarrier), errors.Is(lost, errUnread):
		return lost
	}
	return fmt.Errorf("web: %w: %w", transport.ErrCarrier, err)
}

// failed is the error of a stream that has begun.
func (f *fetch) failed(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case f.unseen.Load():
		return fmt.Errorf("web: %w: %w", transport.ErrCarrier, h2.ErrUnprocessed)
	case f.answer != nil && f.answer.late.Load():
		return fmt.Errorf("web: %w: %w", transport.ErrCarrier, errCollected)
	}
	return f.k.lost(fmt.Errorf("web: %w", err))
}

// LocalAddr implements net.Conn.
func (f *fetch) LocalAddr() net.Addr { return f.down.LocalAddr() }

// RemoteAddr implements net.Conn.
func (f *fetch) RemoteAddr() net.Addr { return f.down.RemoteAddr() }
