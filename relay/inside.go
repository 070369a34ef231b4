package relay

import (
	"context"

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
	carrier := &conn{set: k.srv.current.Load(), source: transport.Source(near)}
	if carrier.set == nil {
		_ = transport.Abort(near)
		return errDrained
	}
	c, err := k.srv.inner(carrier, near)
	if err != nil {
		_ = transport.Abort(near)
		return err
	}
	c.run(func() error {
		if err := near.SetDeadline(c.began.Add(c.set.limits.Handshake)); err != nil {
			return err
		}
		return (&inside{&visit{conn: c}, k.inbounds}).Stream(k.srv.ctx, user, near)
	})
	return nil
}
