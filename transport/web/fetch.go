package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// fetch is a stream in requests: its downlink is an answer, its uplink a body, or many.
type fetch struct {
	down   *h2.Stream
	k      *carrier // of down
	begun  bool     // for who reads
	refuse error    // what is wrong with the answer
}

// streamOne begins a stream that is one request (SPEC.md, Section 4).
func (k *carrier) streamOne(ctx context.Context, first []byte) (transport.Conn, error) {
	c := k.client
	s, err := k.open(ctx, c.ask(http.MethodPost, string(c.way.Path), c.profile.HTTP2.Stream, -1), first, false)
	if err != nil {
		return nil, err
	}
	k.visit()
	return &oneStream{fetch{down: s, k: k}, shaper{left: shapedWrites, k: k}}, nil
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
			return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, err)
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

// Begun reports whether the server has answered the request.
func (f *fetch) Begun() bool {
	_, _, err := f.down.Response(over)
	return err == nil
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

// statusError says what a status means that is not 200.
func statusError(status int) error {
	switch {
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusBadRequest:
		return fmt.Errorf("the server does not know the link's path (status %d): the user may have been removed or have got another link", status)
	case status >= 500:
		return fmt.Errorf("the server, or the CDN in front of it, is in trouble (status %d)", status)
	}
	return fmt.Errorf("the server answers with status %d", status)
}

// early is the error of a request that has no answer yet: another connection may do
// better, whatever it is.
func (f *fetch) early(err error) error {
	lost := f.failed(err)
	switch {
	case errors.Is(lost, os.ErrDeadlineExceeded), errors.Is(lost, net.ErrClosed), errors.Is(lost, transport.ErrCarrier):
		return lost
	}
	return fmt.Errorf("web: %w: %w", transport.ErrCarrier, err)
}

// failed is the error of a stream that has begun.
func (f *fetch) failed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return f.k.lost(fmt.Errorf("web: %w", err))
}

// LocalAddr implements net.Conn.
func (f *fetch) LocalAddr() net.Addr { return f.down.LocalAddr() }

// RemoteAddr implements net.Conn.
func (f *fetch) RemoteAddr() net.Addr { return f.down.RemoteAddr() }
