package web

import (
	"context"
	"errors"
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
	return s.close()
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
	// The uplink comes second: where the server ends the connection between the two,
	// nothing has been said to the target, and the stream can move.
	down, err := k.open(ctx, c.ask(http.MethodGet, path, c.profile.HTTP2.Get, -1), nil, true)
	if err != nil {
		return nil, err
	}
	up, err := k.open(ctx, c.ask(http.MethodPost, path, c.profile.HTTP2.Stream, -1), first, false)
	if err != nil {
		_ = down.Close()
		return nil, err
	}
	k.visit()
	k.mind(down)
	s := &upStream{oneStream{fetch{down: down, k: k, answer: k.expect(up, down)}, shaper{left: shapedWrites, k: k}}, up}
	c.tasks.Go(s.seen)
	return s, nil
}

// seen ends the stream, which can move, if the server has not looked at its uplink: the
// downlink alone would wait.
func (s *upStream) seen() {
	if _, _, err := s.up.Response(s.k.client.ctx); errors.Is(err, h2.ErrUnprocessed) {
		s.unseen.Store(true)
		_ = s.down.Close()
	}
}

// Write implements net.Conn.
func (s *upStream) Write(b []byte) (int, error) {
	n, err := s.shape.write(s.up, b)
	if err != nil {
		err = s.failed(err)
	}
	return n, err
}

// Begun reports whether the server has taken the upload. The other answer comes where
// something on the way collects it, too.
func (s *upStream) Begun() bool { return accepted(s.up) }

// CloseWrite implements transport.Conn.
func (s *upStream) CloseWrite() error { return s.up.CloseWrite() }

// Close implements net.Conn.
func (s *upStream) Close() error {
	s.answer.stop()
	_ = s.up.Close()
	return s.close()
}

// SetDeadline implements net.Conn.
func (s *upStream) SetDeadline(t time.Time) error {
	_ = s.up.SetWriteDeadline(t)
	return s.down.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *upStream) SetWriteDeadline(t time.Time) error { return s.up.SetWriteDeadline(t) }
