package web

import (
	"context"
	"net/http"
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
func (s *oneStream) Close() error {
	s.answer.stop()
	return s.down.Close()
}

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
	return &upStream{oneStream{fetch{down: down, k: k, answer: k.expect(up, down)}, shaper{left: shapedWrites, k: k}}, up}, nil
}

// Write implements net.Conn.
func (s *upStream) Write(b []byte) (int, error) {
	n, err := s.shape.write(s.up, b)
	if err != nil {
		err = s.failed(err)
	}
	return n, err
}

// Begun reports whether the server has answered the upload. The other answer comes where
// something on the way collects it, too.
func (s *upStream) Begun() bool {
	_, _, err := s.up.Response(over)
	return err == nil
}

// CloseWrite implements transport.Conn.
func (s *upStream) CloseWrite() error { return s.up.CloseWrite() }

// Close implements net.Conn.
func (s *upStream) Close() error {
	s.answer.stop()
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
