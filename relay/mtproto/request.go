package mtproto

import (
	"context"
	"net/netip"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// request is a client that has proved to be a user, on the way to a data centre.
type request struct {
	c         *transport.Peeked
	user      auth.User
	table     *Table
	reencrypt bool

	frame  frame
	key    [SecretSize]byte
	tag    uint32
	id     int16
	at     netip.AddrPort
	target transport.Target
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.target }

// Accept implements transport.Request. The client hears nothing of it: the
// protocol has no word for that. Nor does the data centre yet: the frame for it
// goes with the first payload.
func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	r.table.reached(r.at)
	return transport.NewCoded(r.c, newCodec(&r.frame, &r.key, r.tag, r.id, r.reencrypt)), far, nil
}

// Deny implements transport.Request.
func (r *request) Deny(reason error) error {
	if unreachable(reason) {
		r.table.failed(r.at)
	}
	return relay.ErrNoReply
}
