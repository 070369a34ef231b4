// Package forward is the inbound without a protocol: every connection goes to
// one target that the operator chose.
//
// There is no opening to read, so a target may speak first; and there is no
// word for a client whose target cannot be reached: it gets a reset.
package forward

import (
	"context"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// Inbound takes the connections of one listener to Target. It asks nobody for a
// password: it is for listeners that serve anyone.
type Inbound struct {
	Target transport.Target
}

// Name implements relay.Inbound.
func (*Inbound) Name() string { return "forward" }

// Match implements relay.Inbound: every connection, before its first byte.
func (*Inbound) Match([]byte) relay.Verdict { return relay.Yes }

// Open implements relay.Inbound. It reads nothing: all that the client says is
// for the target.
func (in *Inbound) Open(_ context.Context, user auth.User, c *transport.Peeked) (transport.Request, error) {
	return &request{c: c, user: user, target: in.Target}, nil
}

// request is a connection on its way to the target.
type request struct {
	c      *transport.Peeked
	user   auth.User
	target transport.Target
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.target }

// Accept implements transport.Request.
func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	return r.c, far, nil
}

// Deny implements transport.Request.
func (*request) Deny(error) error { return relay.ErrNoReply }
