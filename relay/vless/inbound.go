package vless

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// Label is the auth label of VLESS UUIDs.
const Label = "vless"

// Inbound is the VLESS server half inside a carrier.
type Inbound struct {
	// UUID is what a user's requests carry; false if he has none.
	UUID func(user auth.User) (id [16]byte, ok bool)
	// Packets serves datagrams.
	Packets bool

	ahead atomic.Int64 // what waits in the queues of sessions
}

// Name implements relay.Inbound.
func (*Inbound) Name() string { return Label }

// Match implements relay.Inbound: the version byte decides.
func (*Inbound) Match(prefix []byte) relay.Verdict {
	switch {
	case len(prefix) == 0:
		return relay.More
	case prefix[0] == version:
		return relay.Yes
	}
	return relay.No
}

// Open implements relay.Inbound. The user is the carrier's: a UUID alone opens
// nothing.
func (in *Inbound) Open(_ context.Context, user auth.User, c *transport.Peeked) (transport.Request, error) {
	if user.IsAnonymous() {
		return nil, fmt.Errorf("vless: %w: no carrier has proved a user", relay.ErrAuth)
	}
	b, err := c.Peek(idEnd)
	if err != nil {
		return nil, fmt.Errorf("vless: request: %w", err)
	}
	if b[0] != version {
		return nil, refused(errVersion)
	}
	if !in.is(user, [idSize]byte(b[1:idEnd])) {
		return nil, fmt.Errorf("vless: %w: the UUID is not that of the carrier's user", relay.ErrAuth)
	}
	h, n, err := parseHeader(b)
	for err == errShort {
		if b, err = c.Peek(n); err != nil {
			return nil, fmt.Errorf("vless: request: %w", err)
		}
		h, n, err = parseHeader(b)
	}
	if err != nil {
		return nil, refused(err)
	}
	req, err := in.request(h, request{c: c, user: user, target: h.target})
	if err != nil {
		return nil, refused(err)
	}
	c.Discard(n)
	return req, nil
}

// refused is how an opening ends that is not valid.
func refused(why error) error { return fmt.Errorf("vless: %w: %w", relay.ErrBadRequest, why) }

// is reports whether id is that of user.
func (in *Inbound) is(user auth.User, id [idSize]byte) bool {
	want, ok := in.UUID(user)
	want[6], want[7], id[6], id[7] = 0, 0, 0, 0
	return subtle.ConstantTimeCompare(want[:], id[:]) == 1 && ok
}

var errNoPackets = errors.New("datagrams are not served here")

// request finds out which kind of request r is.
func (in *Inbound) request(h header, r request) (transport.Request, error) {
	switch {
	case h.flow != "":
		return nil, errFlow
	case h.command == commandTCP:
		return &r, nil
	case h.command == commandMux:
		return &multiplexed{request: r, packets: in.Packets, ahead: &in.ahead}, nil
	case !in.Packets:
		return nil, errNoPackets
	}
	return &association{r}, nil
}
