package splice

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// mostCoroutines is how many coroutines a reactor keeps for the next opening.
// One that has been used has the stack that an opening needs.
const mostCoroutines = 64

// coroutine runs tasks, one after the other. Switching to it and back takes the
// goroutine's place and asks no scheduler.
type coroutine struct {
	run    func() // nil when there is nothing to do
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
}

func newCoroutine() *coroutine {
	c := new(coroutine)
	c.resume, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		defer whence()
		for {
			c.run()
			if c.run = nil; !yield(struct{}{}) {
				return
			}
		}
	})
	return c
}

// whence adds to a panic where it was: iter.Pull throws it again without that.
func whence() {
	if e := recover(); e != nil {
		panic(fmt.Sprintf("%v\n\n%s", e, debug.Stack()))
	}
}

// task is an opening on a reactor: code that is written as if it could wait, run
// as a coroutine by the reactor's goroutine. Where it would wait for one of its
// sockets it lets the reactor go on, which comes back when the socket is ready.
// Until it joins or leaves, its pair belongs to it.
type task struct {
	r      *reactor
	p      *pair
	serve  func() // what it is
	run    func() // the same until it has started, and once it is parked
	co     *coroutine
	parked bool // to be started again when it returns
	behind bool // in r.later, or to be put there
	held   bool // to be parked without a deadline
	near   Socket
	far    Socket
	at     int64 // when what it waits for is due; 0: never

	cancelled atomic.Bool // nothing is dialled any more

	mu          sync.Mutex
	off         bool // left the reactor; under mu, and only changed by the task
	over        bool // joined, or closed; under mu like off
	interrupted bool // under mu
}

// Socket is a TCP connection on a reactor, for the task that it belongs to.
// Nobody else may use it, except for Interrupt.
type Socket struct {
	t     *task
	i     int // which side of the pair
	peer  netip.AddrPort
	off   *net.TCPConn // once the task has left
	until int64        // deadline, since r.epoch; 0: none
	full  bool         // no room for a write, or not connected yet
	used  bool         // something was read
}

func newTask(r *reactor, p *pair, peer netip.AddrPort) *task {
	t := &task{r: r, p: p}
	t.near = Socket{t: t, peer: peer}
	t.far = Socket{t: t, i: 1}
	return t
}

// event notes what epoll says of a side and lets the task go on.
func (t *task) event(i int, events uint32) {
	s := &t.near
	if i == 1 {
		s = &t.far
	}
	t.p.sides[i].hear(events)
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.full = false
	}
	if !t.behind { // whoever sends more does not get ahead
		t.goOn()
	}
}

// goOn starts the task or switches to it, until it waits or is done.
func (t *task) goOn() {
	r := t.r
	t.behind = false
	if t.co == nil {
		if t.run == nil {
			return // it has ended
		}
		if n := len(r.idle); n > 0 {
			t.co, r.idle = r.idle[n-1], r.idle[:n-1]
		} else {
			t.co = newCoroutine()
		}
		t.co.run, t.run = t.run, nil
	}
	co := t.co
	co.resume()
	switch {
	case co.run == nil:
		t.co = nil
		if len(r.idle) < mostCoroutines {
			r.idle = append(r.idle, co)
		} else {
			co.stop()
		}
		if t.parked {
			t.rest()
		}
	case t.off:
		// It will wait for other things than its sockets: a goroutine does
		// that for it, and the reactor has nothing to do with it any more.
		go func() {
			co.resume()
			co.stop()
		}()
	}
}

// wait lets the reactor go on until something happens to a socket of the task,
// or until the deadline.
func (t *task) wait(until int64) error {
	if err := t.check(until); err != nil {
		return err
	}
	t.due(until)
	t.co.yield(struct{}{})
	return t.check(until)
}

// due sees to it that the task goes on by then. What is due before the next but
// one tick is not left to the wheel.
func (t *task) due(until int64) {
	if t.at == until {
		return
	}
	t.at = until
	t.r.schedule(t.p)
	if until != 0 && until < t.r.now+2*t.r.wheel.tick {
		t.r.alarms.push(alarm{at: until, p: t.p, d: opening})
		t.r.dueBy(until)
	}
}

func (t *task) check(until int64) error {
	t.mu.Lock()
	interrupted := t.interrupted || t.over
	t.mu.Unlock()
	if interrupted {
		return net.ErrClosed
	}
	if until != 0 && t.r.now >= until {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// finish says that the sockets are not the task's any more.
func (t *task) finish() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.p.task = nil
}

// Interrupt makes what the task waits for fail with net.ErrClosed, and everything
// that it tries afterwards, so that it ends. Anyone may call it at any time.
func (s *Socket) Interrupt() {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.interrupted {
		return
	}
	t.interrupted = true
	if t.off {
		// Closing waits for whoever reads; the caller may be a reactor, or hold a lock
		// that accepting needs.
		go reset(t.near.off)
		return
	}
	t.nudge()
}

// nudge lets the task go on as if something had happened; from anywhere.
func (t *task) nudge() {
	t.r.tell(func() { t.r.orders = append(t.r.orders, order{t: t}) })
}

// Detach implements transport.Detachable.
func (s *Socket) Detach() (below transport.Conn, codec transport.Codec, unread []byte) {
	if s.off != nil {
		return s.off, nil, nil
	}
	return s, nil, nil
}

// here reports whether the socket is still the task's, on its reactor.
func (s *Socket) here() bool { return s.off == nil && !s.t.over }

// onReactor finds the socket below the layers of a connection, if it is one of a
// task that has not left.
func onReactor(c transport.Conn) *Socket {
	for {
		switch v := c.(type) {
		case *Socket:
			if !v.here() {
				return nil
			}
			return v
		case interface{ Below() transport.Conn }:
			c = v.Below()
		default:
			return nil
		}
	}
}

// Dial connects to an address from the task that near belongs to, without
// leaving its reactor, until CancelDial, or ErrLeft. ok is false where that is not
// possible; then nothing has happened. timeout 0 is none.
func Dial(near transport.Conn, to netip.AddrPort, timeout time.Duration, until Leaving) (far transport.Conn, ok bool, err error) {
	n := onReactor(near)
	if n == nil || n.i != 0 || n.t.p.sides[1].fd >= 0 {
		return nil, false, nil
	}
	if err := n.t.dial(to, timeout, until); err != nil {
		return nil, true, err
	}
	return &n.t.far, true, nil
}

// CancelDial makes a Dial from the task that near belongs to fail with
// context.Canceled, now or later. Anyone may call it at any time.
func CancelDial(near transport.Conn) {
	if s, ok := near.(*Socket); ok {
		s.t.cancelled.Store(true)
		s.t.nudge()
	}
}

// deserted reports whether whoever it is dialled for has left.
func (t *task) deserted(until Leaving) bool {
	near := &t.p.sides[0]
	return until >= Broken && near.broken || until == Ended && near.gone
}

func (t *task) dial(to netip.AddrPort, timeout time.Duration, leaving Leaving) error {
	if err := t.check(0); err != nil {
		return err
	}
	fd, e := connectSocket(to)
	if e != 0 {
		return os.NewSyscallError("connect", e)
	}
	s := &t.far
	*s = Socket{t: t, i: 1, peer: to, full: true}
	// Being connected is having room.
	t.p.sides[1] = side{fd: fd, armed: true}
	err := t.p.watch(1, unix.EPOLL_CTL_ADD, true)
	until := int64(0)
	if timeout > 0 {
		until = t.r.now + int64(timeout)
	}
	for err == nil && s.full && !t.cancelled.Load() {
		if t.deserted(leaving) {
			err = ErrLeft
		} else {
			err = t.wait(until)
		}
	}
	if err == nil && t.cancelled.Load() {
		err = context.Canceled
	}
	if err == nil && t.p.sides[1].closing {
		err = callError("connect", pendingError(fd))
	}
	if err != nil {
		closeSocket(fd, false)
		t.p.sides[1].fd = -1
	}
	return err
}
