package relay

import (
	"context"
	"errors"

	"relay/auth"
	"relay/transport"
)

// Verdict is an inbound's answer to the first bytes of a connection.
type Verdict = transport.Verdict

// The verdicts.
const (
	No   = transport.No   // not this protocol
	Yes  = transport.Yes  // this protocol, whatever follows
	More = transport.More // could be: show me more bytes
)

// Inbound is the opening of one client protocol on one listener.
type Inbound interface {
	// Name is the word for the protocol in the configuration.
	Name() string
	// Match judges the first bytes of a connection. It is pure: the same
	// prefix has the same verdict, and a longer one never takes a Yes or No
	// back. The first prefix is empty: Yes to it claims connections whose
	// client waits for the target to speak; a protocol that its client begins
	// answers More.
	Match(prefix []byte) Verdict
	// Open reads the client's opening and returns what it wants. user is who
	// the carrier proved the client to be, the zero User if nobody. Bytes
	// behind the opening stay unread. Open answers the client as far as the
	// protocol demands, errors included, and leaves c to the caller. The read
	// deadline of c bounds it.
	Open(ctx context.Context, user auth.User, c *transport.Peeked) (transport.Request, error)
}

// Errors by which an inbound says how an opening failed; the status word
// follows from them.
var (
	ErrBadRequest = errors.New("opening is not valid")
	ErrAuth       = errors.New("not authenticated")
)

// ErrNoReply is what Deny of a request returns when its protocol has no reply
// for the client. The flow then resets the connection: an orderly end would
// look like a target that had nothing to say.
var ErrNoReply = errors.New("the protocol has no reply")

var errNotOurs = errors.New("no inbound knows this connection")

// detect asks the inbounds in order about the first bytes, at first about none:
// nothing is read before somebody wants to see it. An inbound that needs more
// holds back those behind it, as the order is the operator's.
func detect(c *transport.Peeked, inbounds []Inbound) (Inbound, error) {
	var prefix []byte
	for {
		more := false
	ask:
		for _, in := range inbounds {
			switch in.Match(prefix) {
			case Yes:
				return in, nil
			case More:
				more = true
				break ask
			}
		}
		if !more {
			return nil, errNotOurs
		}
		var err error
		if prefix, err = c.Peek(len(prefix) + 1); err != nil {
			return nil, err
		}
	}
}

// claimsSilent reports whether the route decides without a byte.
func claimsSilent(inbounds []Inbound) bool {
	for _, in := range inbounds {
		if v := in.Match(nil); v != No {
			return v == Yes
		}
	}
	return true
}
