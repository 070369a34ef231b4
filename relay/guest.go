package relay

import (
	"io"
	"time"

	"relay/auth"
	"relay/relay/splice"
	"relay/transport"
)

// toSite lets the site have the stranger, until it closes him.
func (v *visit) toSite() error {
	c := v.conn
	if c.evicted.Load() {
		return errEvicted
	}
	// He may have waited for his turn until his opening's deadline.
	if err := c.allow(); err != nil {
		return err
	}
	// With more to read, what is left unread would depend on who reads it.
	if v.cover.Refuse != nil && (v.ended || splice.Drained(v.p)) && v.cover.Refuse(v.p, v.ended, c.began, c) {
		c.visit, c.near = nil, nil
		return errTaken
	}
	if !c.srv.shaking.enter(c, v.cover.Handshakes) {
		if splice.Gone(v.p) {
			return io.EOF // or his place would cost him nothing
		}
		if splice.Hold(v.p) {
			v.held = true
			v.p.Shrink()
			return errParked
		}
		c.srv.shaking.force(c)
	}
	if v.held {
		if v.gone() {
			return io.EOF
		}
		// Whoever gets his turn gets it behind everybody who is no stranger.
		if v.held = false; splice.Yield(v.p) {
			return errParked
		}
	}
	// What he is sent comes from a file or another server, which is a descriptor more.
	if !c.reached {
		if !c.srv.hold(c, 1) {
			return errCrowded
		}
		c.reached = true
	}
	if splice.Leave(v.p) {
		return errParked
	}
	if err := v.p.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.visit, c.near = nil, nil // not to be kept as long
	if v.cover.Handshakes == 0 {
		c.srv.settled.enter(c)
	}
	v.cover.Site(v.p, c.began, c)
	return errTaken
}

// gone reports whether a stranger has ended while he waited for his turn. A
// handshake, which is most of what is done for him, would be for nobody; a flood that
// ends would leave thousands of them to be done.
func (v *visit) gone() bool {
	for splice.HasInput(v.p) && len(v.p.Unread()) < transport.MaxPeek {
		if _, err := v.p.Peek(len(v.p.Unread()) + 1); err != nil {
			return true
		}
	}
	return false
}

// Claimed implements transport.Guest: a stranger turns out to be a user's carrier,
// and counts among strangers no more.
func (c *conn) Claimed(user auth.User) {
	if !c.srv.carriers.enter(user.ID) {
		return // his streams are served all the same
	}
	c.carrier = user.ID
	c.srv.settled.leave(c)
	c.authenticated()
	c.srv.strangers.Add(-1)
	c.served, c.inbound = true, carrierName
}

// Answered implements transport.Guest.
func (c *conn) Answered() {
	c.srv.shaking.leave(c)
	c.srv.settled.enter(c)
}

// Borrow implements transport.Guest. The streams of a visitor who reads none of them
// would keep as many files open.
func (c *conn) Borrow() bool {
	if !c.srv.room(c) {
		return false
	}
	if !c.srv.sources.borrow(c) {
		c.srv.held.Add(-1)
		return false
	}
	return true
}

// Return implements transport.Guest.
func (c *conn) Return() {
	c.srv.held.Add(-1)
	c.srv.sources.giveBack(c)
}

// Closed implements transport.Guest.
func (c *conn) Closed(up, down int64) {
	c.srv.shaking.leave(c)
	if c.served {
		c.srv.carriers.leave(c.carrier)
		c.ended(splice.End{Status: transport.OK}) // its streams have been counted
	} else {
		c.strangerEnded(splice.End{Up: up, Down: down})
	}
	c.srv.opened(c)
}

// carrierName is what the log calls the inbound of a connection whose streams are
// connections of their own in the flow.
const carrierName = "carrier"
