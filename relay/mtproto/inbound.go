package mtproto

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// Label is the auth label of MTProto keys.
const Label = "mtproto"

// Keys knows the users' keys for [Label]. It answers from memory: it is asked on
// threads that serve others too.
type Keys interface {
	// Candidates yields users and keys, the likeliest for the source first,
	// until yield returns false. name is the server name that the client gave;
	// "" is for the users of every name. The key is valid during the call.
	Candidates(name string, source netip.Addr, yield func(user auth.User, key *[SecretSize]byte) bool)
	// Key returns the key of one user; false if he has none.
	Key(user auth.User) (key [SecretSize]byte, ok bool)
	// Proved is told who has connected from a source.
	Proved(source netip.Addr, user auth.User)
}

// Inbound is the MTProto proxy of one listener, or of a carrier.
type Inbound struct {
	Keys Keys
	DCs  *Table
	// Inside says that a carrier has brought the stream, so that no stranger
	// sees what becomes of it. Every framing is allowed there.
	Inside bool
	// Plain are the kinds of secret that may be used on the wire: KindPadded, and
	// KindSimple, which includes it.
	Plain []Kind
	// Replays is needed on the wire.
	Replays *Replays
	// Reencrypt gives the two links independent keys in both directions.
	Reencrypt bool
}

// Name implements relay.Inbound.
func (*Inbound) Name() string { return Label }

// Match implements relay.Inbound.
//
// On the wire, a frame counts only if all of it is in the first bytes that come.
// Clients send it in one segment, with their first message. Anything shorter is
// No for good, though more bytes could make a frame of it: waiting for them is
// time that a prober can measure, as the cover would have answered. To him, the
// prefix that counts is the first one.
func (in *Inbound) Match(prefix []byte) relay.Verdict {
	switch {
	case len(prefix) == 0, in.Inside && len(prefix) < frameSize:
		return relay.More
	case in.Inside:
		// No look at the first bytes: inside of FakeTLS clients do not avoid
		// any (tdlib, td/mtproto/TcpTransport.cpp).
		return relay.Yes
	case len(prefix) < frameSize, !allowedFirst(prefix):
		return relay.No
	}
	return relay.Yes
}

// Open implements relay.Inbound.
func (in *Inbound) Open(_ context.Context, user auth.User, c *transport.Peeked) (transport.Request, error) {
	b := c.Unread()
	if in.Inside {
		var err error
		if b, err = c.Peek(frameSize); err != nil {
			return nil, fmt.Errorf("mtproto: frame: %w", err)
		}
	} else if in.Match(b) != relay.Yes {
		return nil, transport.ErrNotOurs
	}
	r := &request{c: c, user: user, table: in.DCs, reencrypt: in.Reencrypt, frame: frame(b)}
	if !in.identify(r) || !in.Inside && in.Replays.again(r.frame.seed()) {
		return nil, in.not("no key fits")
	}
	if !in.locate(r) {
		return nil, in.not("unknown data centre")
	}
	c.Discard(frameSize)
	if user.IsAnonymous() {
		in.Keys.Proved(transport.Source(c), r.user)
	}
	return r, nil
}

// not is how an opening fails. On the wire that is a stranger's, whatever he
// knows: someone who alters recorded frames must see the cover too.
func (in *Inbound) not(why string) error {
	if in.Inside {
		return fmt.Errorf("mtproto: %w: %s", relay.ErrBadRequest, why)
	}
	return transport.ErrNotOurs
}

// identify finds the user whose key fits, and what the frame says: that of the
// user whom the carrier has proved, or one of all.
func (in *Inbound) identify(r *request) bool {
	t := newTrial(&r.frame)
	if !r.user.IsAnonymous() {
		key, ok := in.Keys.Key(r.user)
		if !ok {
			return false
		}
		r.key = key
		r.tag, r.id = t.with(&key)
		return in.allows(r.tag)
	}
	found := false
	in.Keys.Candidates("", transport.Source(r.c), func(user auth.User, key *[SecretSize]byte) bool {
		r.tag, r.id = t.with(key)
		if found = in.allows(r.tag); found {
			r.user, r.key = user, *key
		}
		return !found
	})
	return found
}

// allows reports whether a tag may be used. Some clients frame with padding
// whatever the secret (gotd/td, telegram/dcs/mtproxy.go): who may come with a
// simple secret may be less easily recognised, too.
func (in *Inbound) allows(tag uint32) bool {
	switch tag {
	case tagPadded:
		return in.Inside || slices.Contains(in.Plain, KindPadded) || slices.Contains(in.Plain, KindSimple)
	case tagAbridged, tagIntermediate:
		return in.Inside || slices.Contains(in.Plain, KindSimple)
	}
	return false
}

// locate finds the data centre.
func (in *Inbound) locate(r *request) (ok bool) {
	r.id, r.way, ok = in.DCs.find(r.id)
	return ok
}
