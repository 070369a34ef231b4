package splice

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// listening is a listener of a reactor.
type listening struct {
	r     *reactor
	fd    int32
	n     int32 // what events call it
	a     Acceptor
	ended bool
}

// Serve accepts the connections of a listener on a reactor, until stop is called.
// The listener stays the caller's, and must not accept by itself meanwhile. ok
// is false where there is no reactor for it.
func (c *Core) Serve(ln net.Listener, a Acceptor) (stop func(), ok bool) {
	t, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil, false
	}
	fd := -1
	if err := raw.Control(func(from uintptr) {
		if fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			// Accepted sockets inherit it: a system call less for each.
			_ = setNoDelay(int32(fd))
		}
	}); err != nil || fd < 0 {
		return nil, false
	}
	r := c.reactor()
	if r == nil {
		closeSocket(int32(fd), false)
		return nil, false
	}
	l := &listening{r: r, fd: int32(fd), a: a}
	r.tell(func() { r.listens = append(r.listens, l) })
	return l.stop, true
}

// stop returns when nothing is accepted any more and the port is free.
func (l *listening) stop() {
	done := make(chan struct{})
	if l.r.tell(func() { l.r.stops = append(l.r.stops, stopped{l, done}) }) {
		<-done
	}
}

type stopped struct {
	l    *listening
	done chan struct{}
}

// listen takes up a listener; on the reactor.
func (r *reactor) listen(l *listening) {
	i := slices.Index(r.listening, nil)
	if i < 0 {
		i = len(r.listening)
		r.listening = append(r.listening, nil)
	}
	r.listening[i] = l
	// An event of one that had the number before makes it look in vain, once.
	l.n = -2 - int32(i)
	l.watch()
}

func (l *listening) watch() {
	// Level-triggered: what a turn leaves in the queue is told again, when asked.
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: l.n}
	if err := epollControl(l.r.epfd, unix.EPOLL_CTL_ADD, l.fd, &e); err != nil {
		l.rest(err)
	}
}

// rest looks away for a while after an error that accepting again would meet at once.
func (l *listening) rest(err error) {
	_ = epollControl(l.r.epfd, unix.EPOLL_CTL_DEL, l.fd, nil)
	wait := l.a.Failed(os.NewSyscallError("accept", err))
	time.AfterFunc(wait, func() {
		l.r.tell(func() { l.r.again = append(l.r.again, l) })
	})
}

func (l *listening) end(done chan struct{}) {
	if !l.ended {
		l.ended = true
		// Closing is not enough: the socket stays open where others have it,
		// the caller or a service manager, and epoll would tell of it for ever.
		_ = epollControl(l.r.epfd, unix.EPOLL_CTL_DEL, l.fd, nil)
		closeSocket(l.fd, false)
		l.r.listening[-2-l.n] = nil
	}
	close(done)
}

// accept takes one connection from the queue, and has the next one wait until others
// have had their turn: each costs some 20 µs, and in a flood of them users wait for all.
func (l *listening) accept() {
	if l.ended {
		return
	}
	fd, peer, e := accept(l.fd)
	switch e {
	case 0:
		if o := l.r.other(); o == nil || !o.tell(func() { o.arrivals = append(o.arrivals, arrival{l, fd, peer}) }) {
			l.r.admit(l, fd, peer)
		}
	case unix.EAGAIN:
		return
	case unix.EINTR, unix.ECONNABORTED:
	default:
		l.rest(e)
		return
	}
	l.r.more = true
}

// admit makes a pair of one side of a new connection, and a task if it is let in.
func (r *reactor) admit(l *listening, fd int32, peer netip.AddrPort) {
	p := new(pair)
	p.r.Store(r)
	p.sides[0].fd, p.sides[1].fd = fd, -1
	r.mu.Lock()
	r.name(p)
	r.mu.Unlock()
	r.put(p)
	t := newTask(r, p, peer)
	p.task = t
	if err := p.watch(0, unix.EPOLL_CTL_ADD, false); err != nil {
		_ = t.near.Close()
		return
	}
	serve, start := l.a.Admit(&t.near)
	if serve == nil {
		return
	}
	t.serve, t.run = serve, serve
	switch {
	case start.IsZero():
		t.due(t.near.until)
	case start.After(r.epoch.Add(time.Duration(r.now))):
		t.due(int64(start.Sub(r.epoch)))
	default:
		t.goOn()
	}
}
