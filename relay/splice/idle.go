package splice

import (
	"errors"
	"os"
	"syscall"
	"time"

	"relay/transport"
)

// A direction in which nothing has moved for a while is parked: its goroutine ends,
// and the lookout starts another one when the source can be read or the flow has
// ended. The sweeper asks for it, so that a byte that moves costs nothing more:
//
//	free ──sweeper: a deadline that is past──► asked ──pump: the time-out──► in the
//	  ▲                                                                      lookout
//	  └───────────────lookout, or the end of the flow: a goroutine──────────────┘
//
// A source that tells by itself ([transport.Notifier]) stands for the lookout.
//
// A flow has no other deadlines on its sources.
const (
	free  int32 = iota
	asked       // or in the lookout
	never       // the source waits on no socket, parking saves no goroutine, or it has failed
)

// patience is for how many ticks nothing has moved before a direction is parked.
const patience = 2

// errParked says that move has not ended: it goes on in another goroutine.
var errParked = errors.New("parked")

// lostEvery is in how many ticks the sweeper looks for clients that have gone while
// nobody reads from them, and for sources that somebody else has closed, as a site
// does at its end: epoll forgets those without a word.
const lostEvery = 5

// longAgo is a deadline that is past.
var longAgo = time.Unix(1, 0)

// socket is what a source waits on, below its layers.
type socket interface {
	syscall.Conn
	resting
}

// resting is a socket or a [transport.Notifier].
type resting interface{ SetReadDeadline(time.Time) error }

// below finds what can wait below the layers of a connection; both are nil if nothing can.
func below(c transport.Conn) (s socket, n transport.Notifier) {
	for {
		if n, ok := c.(transport.Notifier); ok {
			return nil, n
		}
		l, ok := c.(interface{ Below() transport.Conn })
		if !ok {
			s, _ := c.(socket)
			return s, nil
		}
		c = l.Below()
	}
}

// rests is either of what below finds; nil: neither.
func rests(c transport.Conn) resting {
	switch s, n := below(c); {
	case n != nil:
		return n
	case s != nil:
		return s
	}
	return nil
}

// canRest reports whether there is a direction to be asked to park.
func (f *pumped) canRest(now, after int64) bool {
	return canPark && now-f.last.Load() >= after && f.paused.Load() == 0 &&
		(f.ways[0].wish.Load() == free || f.ways[1].wish.Load() == free)
}

// rest asks the directions of an idle flow to park.
func (f *pumped) rest() {
	for i := range f.ways {
		f.ways[i].ask()
	}
}

// ask interrupts the wait for the source. One that waits for its sink hears of it
// later, and is back at once if there is something to read.
func (p *pump) ask() {
	s := rests(p.src)
	if s == nil {
		p.wish.CompareAndSwap(free, never)
		return
	}
	if p.wish.CompareAndSwap(free, asked) {
		_ = s.SetReadDeadline(longAgo)
	}
}

// park leaves the wait for the source to the lookout after a time-out that was asked
// for; if it returns true, the pump belongs to another goroutine already.
func (p *pump) park() bool {
	s, n := below(p.src)
	_ = rests(p.src).SetReadDeadline(time.Time{})
	if n != nil {
		n.Notify(p.goOn) // at the end of the flow too, which closes it
		return true
	}
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	// Whoever ends the flow looks for parked pumps after that: see pumped.end.
	if p.f.status == "" && p.f.core.lookout.watch(p, s) {
		return true
	}
	p.wish.Store(never)
	return false
}

// lost reports whether somebody else has closed what a parked direction waits for.
func (f *pumped) lost() bool { return f.ways[0].lost() || f.ways[1].lost() }

func (p *pump) lost() bool {
	if p.wish.Load() != asked {
		return false
	}
	s, _ := below(p.src)
	if s == nil {
		return false // tells by itself
	}
	raw, err := s.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// wake lets both directions go on, if they are parked.
func (f *pumped) wake() {
	for i := range f.ways {
		f.core.lookout.wake(&f.ways[i])
	}
}

// goOn takes up what was parked.
func (p *pump) goOn() {
	p.wish.Store(free)
	p.run()
}

// askedFor reports whether an error is the time-out that ask has made.
func (p *pump) askedFor(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && p.wish.Load() == asked
}
