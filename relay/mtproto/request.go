package mtproto

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
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
	tried []Way // that could not be reached
	spent int   // of these, those that are not denied, which takes no time
}

var _ transport.Rerouted = (*request)(nil)

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
	if u, ok := far.(transport.Unproven); ok && !r.way.Web() {
		table, id, way := r.table, r.id, r.way
		u.Prove(func(err error) { table.proved(id, way, err) })
	} else if r.way.Web() {
		r.table.health.reached(r.id, r.way)
	} else {
		r.table.health.connected(r.id, r.way)
	}
	return transport.NewCoded(r.c, newCodec(&r.frame, &r.key, r.tag, r.id, r.reencrypt)), far, nil
}

// patience is how long an address has while there are others: two SYNs, and what
// comes back of the second from far away. Clients give up within some ten seconds, and
// a reactor adds up to one to each.
const patience = 2500 * time.Millisecond

// Patience implements transport.Rerouted.
func (r *request) Patience() time.Duration {
	switch others := len(r.table.ways(r.id)) - 1 - len(r.tried); {
	case r.spent < mostTried && others > 0:
		return patience
	case r.spent > 0:
		return patience + time.Second // the last one: some ten seconds in all
	}
	return 0
}

// mostTried is how many addresses a client's connection tries beside the first.
const mostTried = 2

// Reroute implements transport.Rerouted.
func (r *request) Reroute(reason error) bool {
	failed := unusable(r.way, reason)
	if r.spent >= mostTried || !failed && !errors.Is(reason, policy.ErrDenied) {
		return false
	}
	if failed {
		r.failed(reason)
		r.spent++
	}
	r.tried = append(r.tried, r.way)
	// One that is known to be down may be back: who would be refused loses nothing by trying.
	ways := slices.DeleteFunc(slices.Clone(r.table.ways(r.id)), func(w Way) bool { return slices.Contains(r.tried, w) })
	if len(ways) == 0 {
		return false
	}
	r.way = r.table.health.choose(r.id, ways)
	return true
}

// Deny implements transport.Request.
func (r *request) Deny(reason error) error {
	if unusable(r.way, reason) {
		r.failed(reason)
	}
	return relay.ErrNoReply
}

// Learns implements transport.Rerouted: to whom something was said and who said nothing
// may be no data centre at all, wherever he sits on the way.
func (r *request) Learns() func(up, down int64) {
	table, id, way, user := r.table, r.id, r.way, r.user.ID
	if way.Web() {
		return nil
	}
	return func(up, down int64) {
		switch {
		case down > 0:
			table.health.heard(id, way)
		case up > 0 && table.health.unheard(user, way):
			table.health.failed(id, table.ways(id), way, errSilent)
		}
	}
}

func (r *request) failed(reason error) {
	r.table.health.failed(r.id, r.table.ways(r.id), r.way, reason)
}
