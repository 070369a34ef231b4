package splice

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

// Account is told of every byte moved and may slow a direction down. Its
// methods are called by both directions at once.
type Account interface {
	// Moved reports n bytes that went up (to the target) or down (to the
	// client), and returns how long that direction should pause now.
	Moved(up bool, n int) (pause time.Duration)
	// Limited reports whether a rate limit holds: moves are then kept small.
	Limited() bool
}

// Limits are the timeouts of a flow; zero means none.
type Limits struct {
	Idle time.Duration // both directions open and nothing moves
	Fin  time.Duration // one direction has ended and nothing moves
}

// End is how a flow ended.
type End struct {
	Status   transport.Status
	Up, Down int64 // bytes moved to the target, to the client
}

// Core joins pairs. Make it with New.
type Core struct {
	tick  time.Duration
	epoch time.Time
	now   atomic.Int64 // time since epoch when the sweeper last looked

	mu    sync.Mutex
	flows list
	empty chan struct{} // closed when the last flow ends; nil if nobody waits
	stop  chan struct{} // closed to end the sweeper early; nil if none runs
	swept chan struct{} // closed by the sweeper when it ends
}

// New returns a Core whose timeouts come up to two ticks late and never early;
// 0 means one second.
func New(tick time.Duration) *Core {
	if tick <= 0 {
		tick = time.Second
	}
	return &Core{tick: tick, epoch: time.Now()}
}

// Join takes both connections over and returns at once. near is the client's
// side, far the target's. Unread bytes of a [transport.Detachable] go first.
// done is called once, after both connections are closed; it may be called
// before Join returns.
func (c *Core) Join(near, far transport.Conn, lim Limits, acct Account, done func(End)) *Flow {
	f := &Flow{core: c, lim: lim, acct: acct, done: done}
	var early, answer []byte
	f.near, early = detach(near)
	f.far, answer = detach(far)
	f.pumps.Store(2)
	c.add(f)
	up := &pump{f: f, up: true, src: f.near, dst: f.far, early: early}
	down := &pump{f: f, src: f.far, dst: f.near, early: answer}
	up.other, down.other = down, up
	go up.run()
	go down.run()
	return f
}

func detach(c transport.Conn) (transport.Conn, []byte) {
	var unread []byte
	for {
		d, ok := c.(transport.Detachable)
		if !ok {
			return c, unread
		}
		below, more := d.Detach()
		if below == c {
			return c, append(unread, more...)
		}
		// The outer layer has read further: its bytes come first.
		unread = append(unread, more...)
		c = below
	}
}

// Len is the number of live flows.
func (c *Core) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flows.n
}

// Drain waits until no flow is left. When ctx ends first it cuts those that
// remain with [transport.Drained], waits for them to close and returns how
// many there were. After it no goroutine of the core is left, unless somebody
// joins more.
func (c *Core) Drain(ctx context.Context) int {
	defer c.rest()
	c.mu.Lock()
	if c.flows.n == 0 {
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
	left := c.all()
	for _, f := range left {
		f.Cut(transport.Drained)
	}
	<-empty
	return len(left)
}

// rest ends the sweeper if there is nothing left to sweep.
func (c *Core) rest() {
	c.mu.Lock()
	stop, swept := c.stop, c.swept
	if stop == nil || c.flows.n > 0 {
		c.mu.Unlock()
		return
	}
	c.stop = nil
	c.mu.Unlock()
	close(stop)
	<-swept
}

func (c *Core) all() []*Flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*Flow, 0, c.flows.n)
	for f := c.flows.head; f != nil; f = f.next {
		out = append(out, f)
	}
	return out
}

func (c *Core) add(f *Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		c.stop, c.swept = make(chan struct{}), make(chan struct{})
		c.now.Store(int64(time.Since(c.epoch)))
		go c.sweep(c.stop, c.swept)
	}
	f.last.Store(c.now.Load())
	c.flows.push(f)
}

func (c *Core) remove(f *Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flows.drop(f)
	if c.flows.n == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// sweep runs while there are flows: an idle relay has no timer at all.
func (c *Core) sweep(stop, swept chan struct{}) {
	defer close(swept)
	t := time.NewTicker(c.tick)
	defer t.Stop()
	var late []*Flow
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		now := int64(time.Since(c.epoch))
		c.now.Store(now)
		late = late[:0]
		c.mu.Lock()
		if c.flows.n == 0 && c.stop == stop {
			c.stop = nil
			c.mu.Unlock()
			return
		}
		for f := c.flows.head; f != nil; f = f.next {
			if f.late(now) {
				late = append(late, f)
			}
		}
		c.mu.Unlock()
		for _, f := range late {
			f.end(transport.Timeout, false)
		}
		clear(late)
	}
}

// list is an intrusive list of flows: no memory beyond the flows themselves.
type list struct {
	head *Flow
	n    int
}

func (l *list) push(f *Flow) {
	f.next = l.head
	if l.head != nil {
		l.head.prev = f
	}
	l.head = f
	l.n++
}

func (l *list) drop(f *Flow) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		l.head = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.next, f.prev = nil, nil
	l.n--
}
