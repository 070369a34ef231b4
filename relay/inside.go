package relay

import (
	"context"
	"errors"
	"sync"

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
	if !k.srv.unsaid.enter(user.ID) {
		k.srv.stats.end(transport.OverLimit)
		_ = transport.Abort(near)
		return errUnsaid
	}
	c, err := k.srv.inner(carrier, near)
	if err != nil {
		k.srv.unsaid.leave(user.ID)
		_ = transport.Abort(near)
		return err
	}
	c.unsaid = user.ID
	defer c.said()
	c.run(func() error {
		if err := near.SetDeadline(c.began.Add(c.set.limits.Handshake)); err != nil {
			return err
		}
		return (&inside{&visit{conn: c}, k.inbounds}).Stream(k.srv.ctx, user, near)
	})
	return nil
}

// mostUnsaid is how many streams of a user may not belong to a session: they have not
// said yet where they want to go, or stand for many requests. The user's own limits do
// not count them, and a few connections bring enough of them to fill the relay.
const mostUnsaid = 512

var errUnsaid = errors.New("too many streams of one user that belong to no session")

// mostCarriers is how many connections of one user do not count among strangers, and
// are not given up first when the relay is full. Those that carry nothing cost one
// little who wants to fill it.
const mostCarriers = 128

// perUser counts by user, up to a limit.
type perUser struct {
	most int
	mu   sync.Mutex
	n    map[uint64]int
}

func (u *perUser) enter(user uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if user == 0 {
		return true // nobody's
	}
	if u.n[user] >= u.most {
		return false
	}
	if u.n == nil {
		u.n = make(map[uint64]int)
	}
	u.n[user]++
	return true
}

func (u *perUser) leave(user uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if user == 0 {
		return
	}
	if u.n[user]--; u.n[user] == 0 {
		delete(u.n, user)
	}
}

// said takes a stream out of the count, once.
func (c *conn) said() {
	if c.unsaid != 0 {
		c.srv.unsaid.leave(c.unsaid)
		c.unsaid = 0
	}
}
