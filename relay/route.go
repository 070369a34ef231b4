package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relay/auth"
	"relay/transport"
	"relay/transport/hello"
)

// Verdict is an answer to the first bytes of a connection.
type Verdict = transport.Verdict

// The verdicts.
const (
	No   = transport.No   // not this protocol
	Yes  = transport.Yes  // this protocol, whatever follows
	More = transport.More // could be: show me more bytes
)

// Candidate is who may claim the connections of a listener: an [Inbound] or a
// [*Carrier].
type Candidate interface {
	// Name is the word for it in the configuration.
	Name() string
	// Match judges the first bytes of a connection. It is pure: the same
	// prefix has the same verdict, and a longer one never takes a Yes or No
	// back. The first prefix is empty: Yes to it claims connections whose
	// client waits for the target to speak; a protocol that its client begins
	// answers More.
	Match(prefix []byte) Verdict
}

// Inbound is the opening of one client protocol on one listener.
type Inbound interface {
	Candidate
	// Open reads the client's opening and returns what it wants. user is who
	// the carrier proved the client to be, the zero User if nobody. Bytes
	// behind the opening stay unread. Open answers the client as far as the
	// protocol demands, errors included, and leaves c to the caller. The read
	// deadline of c bounds it. A protocol that only its secret tells from
	// noise returns [transport.ErrNotOurs], with nothing read and nothing
	// written, and has waited for nothing.
	Open(ctx context.Context, user auth.User, c *transport.Peeked) (transport.Request, error)
}

// Carrier is a disguise on a route, and the inbounds to look for inside.
type Carrier struct {
	transport.Server
	Inside []Inbound
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

// ErrTarget is what Accept of a request wraps when the target, which had been
// reached, did not do what its protocol wants, and the client was told nothing.
// It is a dialling that has failed, in a protocol without a reply.
var ErrTarget = errors.New("the target is not of use")

// errNotInside ends a connection whose carrier proved a user, but whose payload
// no inbound knows. It is no stranger's: it took a credential to get here.
var errNotInside = fmt.Errorf("%w: nobody knows what is inside", ErrBadRequest)

// errOtherUser ends a connection that names two users.
var errOtherUser = fmt.Errorf("%w: the carrier and the opening name different users", ErrAuth)

// follow takes the connection along its route, up to the splice core: to the
// first candidate whose it is, or to the cover. The candidates are asked in
// order about the first bytes, at first about none: nothing is read before
// somebody wants to see it. One that needs more holds back those behind it, as
// the order is the operator's.
//
// It may end with errParked, and is called again later.
func (c *conn) follow(r *route) error {
	v := c.visit
	if v == nil {
		if err := c.near.SetDeadline(c.began.Add(c.set.limits.Handshake)); err != nil {
			return err
		}
		p := transport.NewPeeked(c.near)
		c.near = p
		if err := c.unproxy(p, r); err != nil {
			return err
		}
		v = &visit{conn: c, p: p, cover: r.cover, rest: r.candidates}
	}
	err := v.walk()
	switch err {
	case errParked:
		c.visit = v
		return err
	case errTaken:
		return err // c is somebody else's
	}
	v.drop()
	return err
}

// walk goes on from where the visit is.
func (v *visit) walk() error {
	if v.lost {
		return v.stranger()
	}
	for {
		prefix := v.p.Unread()
		if err := v.ask(prefix); !errors.Is(err, transport.ErrNotOurs) {
			return err
		}
		if len(v.rest) == 0 || v.cover != nil && !patient(prefix) {
			return v.stranger()
		}
		switch err := v.more(len(prefix) + 1); {
		case err == nil:
		case v.cover == nil, err == errParked:
			return err
		default:
			return v.unknown(err)
		}
	}
}

// ask asks the candidates in order, up to one that needs more: then the result is
// ErrNotOurs, and that one with those behind it are left; nobody changes his mind
// about a No. Any other result is that of whose the connection was.
func (v *visit) ask(prefix []byte) error {
	for ; len(v.rest) > 0; v.rest = v.rest[1:] {
		switch v.rest[0].Match(prefix) {
		case More:
			return transport.ErrNotOurs
		case Yes:
			if err := v.claimed(v.rest[0]); !errors.Is(err, transport.ErrNotOurs) {
				return err
			}
		}
	}
	return transport.ErrNotOurs
}

// claimed lets a candidate have the connection that it knows by its form.
func (v *visit) claimed(by Candidate) error {
	c := v.conn
	c.inbound = by.Name()
	var err error
	switch by := by.(type) {
	case *Carrier:
		err = by.Serve(c.srv.ctx, v.p, &inside{v, by.Inside})
	case Inbound:
		err = v.open(by, auth.User{}, v.p)
	default:
		err = fmt.Errorf("%w: %s is neither an inbound nor a carrier", ErrBadRequest, by.Name())
	}
	if errors.Is(err, transport.ErrNotOurs) {
		c.inbound = ""
	}
	return err
}

// open lets an inbound read the opening, and goes where it leads.
func (v *visit) open(in Inbound, user auth.User, p *transport.Peeked) error {
	req, err := in.Open(v.conn.srv.ctx, user, p)
	if err != nil {
		return err
	}
	v.conn.inbound = in.Name()
	if v.conn.counted {
		v.proved()
	}
	if user.ID != 0 && req.User().ID != user.ID {
		return v.conn.deny(req, errOtherUser)
	}
	return v.conn.connect(req)
}

// inside is the Sink of a carrier with one stream, whose connection it is.
type inside struct {
	*visit
	inbounds []Inbound
}

// Stream implements transport.Sink.
func (s *inside) Stream(_ context.Context, user auth.User, c transport.Conn) error {
	s.proved()
	p := transport.NewPeeked(c)
	s.conn.near = p
	in, err := detect(p, s.inbounds)
	if err != nil {
		return err
	}
	if err := s.open(in, user, p); !errors.Is(err, transport.ErrNotOurs) {
		return err
	}
	return errNotInside
}

// detect finds the inbound for what a carrier brought.
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
			return nil, errNotInside
		}
		var err error
		if prefix, err = c.Peek(len(prefix) + 1); err != nil {
			return nil, err
		}
	}
}

// patient reports whether a stranger's bytes may be waited for. A web server
// answers junk at once and waits for the rest of a client hello, so that is all
// that is waited for in front of a cover.
func patient(prefix []byte) bool { return len(prefix) == 0 || hello.Match(prefix) == More }

// starts is when a connection has to be looked at, though it has said nothing:
// now, if somebody claims silent ones; at the cover's time, or at its deadline.
func (r *route) starts(began time.Time) time.Time {
	for _, in := range r.candidates {
		if v := in.Match(nil); v != No {
			if v == Yes {
				return began
			}
			if r.cover != nil && r.cover.Site == nil {
				return began.Add(strangersClock)
			}
			return time.Time{}
		}
	}
	return began
}
