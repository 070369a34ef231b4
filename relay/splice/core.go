package splice

import (
	"context"
	"errors"
	"sync"
	"time"

	"relay/transport"
)

// Account is told of every byte moved and may slow a direction down. Its
// methods are called by both directions at once, and must not block.
type Account interface {
	// Moved reports n bytes of payload that went up (to the target) or down
	// (to the client), and returns how long that direction should pause now.
	Moved(up bool, n int) (pause time.Duration)
	// Limited reports whether a rate limit holds: moves are then kept small.
	Limited() bool
}

// Limits are the timeouts of a flow; zero means none.
type Limits struct {
	Idle time.Duration // both directions open and nothing moves
	Fin  time.Duration // one direction has ended and nothing moves
	// Ask is how long after the target's end, if nothing moves, TCP begins to ask
	// whether it is still there. When it is not, neither is the other side: the
	// client is told nothing, as the target's system tells it nothing. 0: never.
	// A socket of the Unix family tells at once. Elsewhere without a reactor
	// nobody asks.
	Ask time.Duration
}

// End is how a flow ended.
type End struct {
	Status   transport.Status
	Up, Down int64 // bytes of payload moved to the target, to the client
}

// Leaving is what it takes for a Dial to be given up as its client has left.
type Leaving uint8

const (
	Never  Leaving = iota // the client's end is the target's to hear of
	Broken                // a reset
	Ended                 // the end of the client's direction, too
)

// ErrLeft is what a Dial fails with whose client has left.
var ErrLeft = errors.New("splice: the client has left")

// Flow is a joined pair.
type Flow interface {
	// Cut ends the flow with a reset towards both sides: nothing that is still
	// queued reaches anyone. It may be called at any time, by anyone, and does
	// not wait. Only the first reason to end counts.
	Cut(transport.Status)
}

// Core joins pairs. Make it with New.
type Core struct {
	tick time.Duration
	size int // how many reactors
	// restless makes reactors give a pair away at every turn, for tests.
	restless bool

	epoch time.Time // what the reactors' clocks count from

	mu       sync.Mutex
	n        int           // live flows
	empty    chan struct{} // closed when the last flow ends; nil if nobody waits
	reactors []*reactor    // nil until the first pair of sockets
	sweeper  sweeper
	lookout  lookout
}

// New returns a Core whose timeouts come up to two ticks late and never early;
// 0 means one second.
func New(tick time.Duration) *Core {
	if tick <= 0 {
		tick = time.Second
	}
	now := time.Now()
	return &Core{tick: tick, size: reactorCount(), epoch: now, sweeper: sweeper{tick: tick, after: patience * int64(tick), epoch: now}}
}

// Join takes both connections over and returns at once. near is the client's
// side, far the target's. A layered Conn is taken apart as far as it can be: see
// [transport.Detachable]. Unread payload goes first. done is called once, after
// both connections are closed, and must not block; it may be called before Join
// returns.
func (c *Core) Join(near, far transport.Conn, lim Limits, acct Account, done func(End)) Flow {
	c.begin()
	ends := [2]end{peel(near), peel(far)}
	if f := c.react(&ends, lim, acct, done); f != nil {
		return f
	}
	return c.pump(&ends, lim, acct, done)
}

// Len is the number of live flows.
func (c *Core) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Drain waits until no flow is left. When ctx ends first it cuts those that
// remain with [transport.Drained], waits for them to close and returns how
// many there were. After it no goroutine and no descriptor of the core is left,
// unless somebody joins more.
func (c *Core) Drain(ctx context.Context) int {
	defer c.rest()
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return 0
	}
	if c.empty == nil {
		c.empty = make(chan struct{})
	}
	empty := c.empty
	c.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	left := c.Len()
	for {
		c.cutAll()
		select {
		case <-empty:
			return left
		case <-time.After(c.tick): // somebody was about to join
		}
	}
}

// Trim gives up memory that is only kept because there was more to do a while ago.
func (c *Core) Trim() {
	for _, r := range c.peers() {
		r.trimSoon()
	}
}

func (c *Core) cutAll() {
	c.mu.Lock()
	reactors := c.reactors
	c.mu.Unlock()
	for _, r := range reactors {
		r.cutAll(transport.Drained)
	}
	for _, f := range c.sweeper.all() {
		f.Cut(transport.Drained)
	}
}

// rest ends what the core runs on if it has nothing left to do.
func (c *Core) rest() {
	c.mu.Lock()
	if c.n > 0 {
		c.mu.Unlock()
		return
	}
	reactors := c.reactors
	c.reactors = nil
	c.mu.Unlock()
	for _, r := range reactors {
		r.close()
	}
	c.sweeper.rest()
	c.lookout.rest()
}

// begin counts a flow; ended takes it off again.
func (c *Core) begin() {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
}

func (c *Core) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// reactor returns the one that takes what is new, or nil where there is none. It
// gives away what is too much: see share_linux.go.
func (c *Core) reactor() *reactor {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reactors == nil {
		c.reactors = newReactors(c)
	}
	if len(c.reactors) == 0 {
		c.reactors = nil // out of descriptors, it may be: ask again next time
		return nil
	}
	return c.reactors[0]
}

// peers are the reactors that there are.
func (c *Core) peers() []*reactor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reactors
}
