package relay

import (
	"context"
	"errors"
	"time"

	"relay/auth"
	"relay/transport"
)

// Sink returns what takes the streams of a carrier that has many of them, on
// connections that somebody else accepts. Each is a connection of its own in the
// flow, from the opening by one of inbounds on.
func (s *Server) Sink(inbounds []Inbound) transport.Sink { return &sink{s, inbounds} }

type sink struct {
	srv      *Server
	inbounds []Inbound
}

// Stream implements transport.Sink.
func (k *sink) Stream(_ context.Context, user auth.User, near transport.Conn) error {
	c, err := k.srv.admitStream(near)
	if err != nil {
		_ = transport.Abort(near)
		return err
	}
	defer k.srv.opened(c)
	if err := c.openStream(user, k.inbounds); err != nil {
		c.refused(err)
		return err
	}
	return nil
}

// admitStream counts a stream as a connection.
func (s *Server) admitStream(near transport.Conn) (*conn, error) {
	c := &conn{srv: s, set: s.current.Load(), raw: near, near: near, source: transport.Source(near), began: time.Now()}
	if c.set == nil {
		return nil, errDrained
	}
	if !s.reserve(c, c.set.limits.Connections) {
		s.stats.end(transport.OverLimit)
		return nil, errFull
	}
	if !s.begin(c) {
		s.live.Add(-1)
		s.stats.end(transport.Drained)
		return nil, errDrained
	}
	return c, nil
}

// errFull refuses a stream when every connection is taken.
var errFull = errors.New("too many connections")

// openStream lets the inbound that a stream is for read the opening, and goes where
// it leads.
func (c *conn) openStream(user auth.User, inbounds []Inbound) error {
	if err := c.near.SetDeadline(c.began.Add(c.set.limits.Handshake)); err != nil {
		return err
	}
	v := &visit{conn: c}
	return (&inside{v, inbounds}).Stream(c.srv.ctx, user, c.near)
}
