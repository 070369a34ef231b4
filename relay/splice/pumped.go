package splice

import (
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

// pumped is a flow on the portable path: one goroutine for each direction that is
// not parked.
type pumped struct {
	core      *Core
	near, far transport.Conn
	lim       Limits
	acct      Account
	done      func(End)
	gone      func() bool // see knows; nil: nobody knows
	ways      [2]pump     // up, down

	prev, next *pumped // under sweeper.mu

	last     atomic.Int64 // sweeper.clock when a byte last moved
	up, down atomic.Int64
	pumps    atomic.Int32 // directions still running
	paused   atomic.Int32 // directions in a pause, which is no idleness
	farEnded atomic.Bool  // and near was told
	closed   atomic.Bool  // both connections are
	told     atomic.Bool  // done was called

	mu     sync.Mutex
	status transport.Status // the first reason to end; empty while running
	left   transport.Status // who could not be written to, if anyone
	stop   chan struct{}    // made when a pump pauses, closed at the end
}

// pump joins two connections of any kind.
func (c *Core) pump(ends *[2]end, lim Limits, acct Account, done func(End)) Flow {
	f := &pumped{core: c, near: ends[0].wrap(), far: ends[1].wrap(), lim: lim, acct: acct, done: done}
	f.gone = knows(f.near)
	f.pumps.Store(2)
	up, down := &f.ways[0], &f.ways[1]
	up.f, up.up, up.src, up.dst, up.early, up.other = f, true, f.near, f.far, ends[0].unread, down
	down.f, down.src, down.dst, down.early, down.other = f, f.far, f.near, ends[1].unread, up
	c.sweeper.add(f)
	for _, p := range []*pump{up, down} {
		// A goroutine that was there before stays, whether it has this to do or not.
		if transport.Lend(f.near, p.up, p.run) {
			p.wish.CompareAndSwap(free, never)
		}
	}
	return f
}

// Cut implements Flow.
func (f *pumped) Cut(s transport.Status) { f.end(s, true) }

// end closes both connections; the pumps notice and finish. Only the first
// reason counts.
func (f *pumped) end(s transport.Status, reset bool) {
	f.mu.Lock()
	if f.status != "" {
		f.mu.Unlock()
		return
	}
	f.status = s
	if f.stop != nil {
		close(f.stop)
	}
	f.mu.Unlock()
	if reset {
		_ = transport.Abort(f.near)
		_ = transport.Abort(f.far)
	} else {
		_ = f.near.Close()
		_ = f.far.Close()
	}
	f.last.Store(f.core.sweeper.clock())
	f.closed.Store(true)
	f.wake()
}

// tell says once how the flow has ended.
func (f *pumped) tell() {
	if !f.told.Swap(true) && f.done != nil {
		f.done(End{Status: f.status, Up: f.up.Load(), Down: f.down.Load()})
	}
}

// knows finds the layer of a connection, if there is one, that knows whether the
// peer has gone although nobody reads: an HTTP server does.
func knows(c transport.Conn) func() bool {
	for {
		switch v := c.(type) {
		case interface{ Lost() bool }:
			return v.Lost
		case interface{ Below() transport.Conn }:
			c = v.Below()
		default:
			return nil
		}
	}
}

// broken notes who left when a direction could not deliver. The other
// direction goes on: it may still carry the answer.
func (f *pumped) broken(s transport.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == "" {
		f.left = s
	}
}

func (f *pumped) isBroken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left != ""
}

// pumpDone is the last thing that a direction does.
func (f *pumped) pumpDone() {
	f.last.Store(f.core.sweeper.clock())
	if f.pumps.Add(-1) > 0 {
		return
	}
	f.mu.Lock()
	s := f.left
	f.mu.Unlock()
	late := f.refusedLate(s)
	if s == "" {
		s = transport.OK
	}
	f.end(s, late)
	// Whoever ended the flow may still be about to close.
	_ = f.near.Close()
	_ = f.far.Close()
	f.tell()
	f.core.sweeper.remove(f)
	f.core.ended()
}

// moved accounts for n bytes and returns the pause that the account asks for.
func (f *pumped) moved(up bool, n int) time.Duration {
	f.last.Store(f.core.sweeper.clock())
	if up {
		f.up.Add(int64(n))
	} else {
		f.down.Add(int64(n))
	}
	if f.acct == nil {
		return 0
	}
	return f.acct.Moved(up, n)
}

// pause waits for d, or until the flow ends.
func (f *pumped) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	f.mu.Lock()
	if f.stop == nil {
		f.stop = make(chan struct{})
		if f.status != "" {
			close(f.stop)
		}
	}
	stop := f.stop
	f.mu.Unlock()
	f.paused.Add(1)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-stop:
	case <-t.C:
	}
	f.last.Store(f.core.sweeper.clock())
	f.paused.Add(-1)
}

// overdue reports whether the flow was closed so long ago that whoever has not come back
// from a write is stuck in it: what others wrote has been counted.
func (f *pumped) overdue(now int64) bool {
	return now-f.last.Load() >= int64(f.core.tick)
}

// deserted reports whether the target has closed its socket, and not just ended
// its half: see Limits.Ask.
func (f *pumped) deserted() bool {
	return f.lim.Ask > 0 && f.farEnded.Load() && hungUp(f.far)
}

func (f *pumped) late(now int64) bool {
	lim := f.lim.Idle
	if f.pumps.Load() < 2 {
		lim = f.lim.Fin
	}
	return lim > 0 && f.paused.Load() == 0 && now-f.last.Load() >= int64(lim)
}
