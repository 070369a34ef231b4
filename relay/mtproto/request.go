package mtproto

import (
	"context"
	"fmt"

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

	frame frame
	key   [SecretSize]byte
	tag   uint32
	id    int16
	way   Way
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.way.Target }

// Accept implements transport.Request. The client hears nothing of it: the
// protocol has no word for that. Nor does the data centre yet: the frame for it
// goes with the first payload.
func (r *request) Accept(ctx context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	if r.way.Web() {
		if err := transport.MayWait(r.c); err != nil {
			return nil, nil, err
		}
		if far, err = r.way.open(ctx, far, r.table.roots); err != nil {
			if ctx.Err() == nil {
				r.failed(err)
			}
			return nil, nil, fmt.Errorf("%w: mtproto: %w", relay.ErrTarget, err)
		}
	}
	r.table.health.reached(r.id, r.way)
	return transport.NewCoded(r.c, newCodec(&r.frame, &r.key, r.tag, r.id, r.reencrypt)), far, nil
}

// Deny implements transport.Request.
func (r *request) Deny(reason error) error {
	if unusable(r.way, reason) {
		r.failed(reason)
	}
	return relay.ErrNoReply
}

func (r *request) failed(reason error) {
	r.table.health.failed(r.id, r.table.ways(r.id), r.way, reason)
}
