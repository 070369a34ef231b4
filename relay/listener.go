package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"relay/transport"
)

// listener accepts connections: on a reactor of the splice core where there is
// one for it, in a loop of its own elsewhere.
type listener struct {
	srv   *Server
	ln    net.Listener
	stop  func()        // ends accepting on the reactor; nil: there is a loop
	done  chan struct{} // closed by close
	once  sync.Once
	route atomic.Pointer[route]

	wait   atomic.Int64 // a time.Duration, after an error; 0 after a success
	warned time.Time    // only for whoever accepts
}

// start begins to accept.
func (l *listener) start() {
	stop, ok := l.srv.splice.Serve(l.ln, l)
	if ok {
		l.stop = stop
		return
	}
	l.srv.serving.Go(l.accept)
}

// Keep-alives find clients that vanish without a word.
var (
	// usersKeepAlive notice a phone that left the network after about five minutes, and
	// wake a sleeping one rarely.
	usersKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 4 * time.Minute, Interval: 20 * time.Second, Count: 4}
	// siteKeepAlive are package net's, which a site in this process has as well: who
	// connects and waits sees them.
	siteKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9}
)

// inherit has connections begin with the keep-alives of a listener's cover.
func (l *listener) inherit(cover *Cover) {
	c := usersKeepAlive
	if cover != nil && cover.Site != nil {
		c = siteKeepAlive
	}
	if sc, ok := l.ln.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { inheritKeepAlive(fd, c) })
		}
	}
}

// proved ends what is done for a connection that may be a stranger's.
func (v *visit) proved() {
	v.drop()
	v.conn.authenticated()
	if v.cover == nil || v.cover.Site == nil {
		return
	}
	if c, ok := v.conn.raw.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = c.SetKeepAliveConfig(usersKeepAlive)
	}
}

// close ends accepting, even in a loop that waits out an error.
func (l *listener) close() {
	l.once.Do(func() {
		if l.stop != nil {
			l.stop()
		}
		_ = l.ln.Close()
		close(l.done)
	})
}

// route is what a listener does with connections, as of the last Apply.
type route struct {
	set        *settings
	candidates []Candidate
	cover      *Cover
	proxied    func(netip.Addr) bool
}

const (
	firstBackOff = 5 * time.Millisecond
	mostBackOff  = time.Second
	warnEvery    = 10 * time.Second
)

// accept runs until the listener is closed.
func (l *listener) accept() {
	for {
		raw, err := l.ln.Accept()
		if err == nil {
			l.wait.Store(0)
			l.handle(raw)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case <-time.After(l.Failed(err)):
		case <-l.done:
			return
		}
	}
}

// Failed implements splice.Acceptor: an error that does not close the listener,
// such as too many open files, is waited out, so that accepting never spins. Nor
// does the log: at the limit of descriptors accepting fails and works in turns.
func (l *listener) Failed(err error) time.Duration {
	wait := min(max(2*time.Duration(l.wait.Load()), firstBackOff), mostBackOff)
	l.wait.Store(int64(wait))
	if now := time.Now(); l.warned.IsZero() || now.Sub(l.warned) >= warnEvery {
		l.warned = now
		l.srv.log.Warn("accept", "listener", l.ln.Addr(), "error", acceptCause(err), "retry", wait)
	}
	return wait
}

// acceptCause leaves out the address that net puts into its errors.
func acceptCause(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys
	}
	return err
}

// handle gives a connection from the loop a goroutine.
func (l *listener) handle(raw net.Conn) {
	tc, ok := raw.(transport.Conn)
	if !ok {
		_ = raw.Close()
		return
	}
	c, r := l.admit(tc)
	if c == nil {
		return
	}
	select {
	case l.srv.openings <- opening{c, r}:
	default:
		go l.srv.serve(opening{c, r})
	}
}

// Admit implements splice.Acceptor.
func (l *listener) Admit(raw transport.Conn) (serve func(), start time.Time) {
	l.wait.Store(0)
	c, r := l.admit(raw)
	if c == nil {
		return nil, time.Time{}
	}
	_ = raw.SetDeadline(c.began.Add(c.set.limits.Handshake))
	return func() {
		if c.serve(r) {
			l.srv.opened(c)
		}
	}, r.starts(c.began)
}

// admit counts a connection, or resets it: a reset costs both sides least, and
// lets a real client try again at once. In front of a cover a source may have as
// many as it likes, as long as there is room: see sources.enter.
func (l *listener) admit(tc transport.Conn) (*conn, *route) {
	r := l.route.Load()
	s := l.srv
	c := &conn{srv: s, set: r.set, raw: tc, near: tc, source: transport.Source(tc), began: time.Now()}
	proxied := r.proxied != nil && r.proxied(c.source)
	if !proxied && !s.bursts.allow(c.source, c.began) || !s.sources.enter(c, r.cover) {
		s.refuse(tc)
		return nil, nil
	}
	c.counted = true
	if !s.reserve(c) {
		c.authenticated()
		s.refuse(tc)
		return nil, nil
	}
	if !s.begin(c) {
		c.authenticated()
		s.release(c)
		s.stats.end(transport.Drained)
		_ = tc.Close()
		return nil, nil
	}
	return c, r
}

// opening is a connection for the next goroutine that is free.
type opening struct {
	c *conn
	r *route
}

// rest is how long a goroutine waits for the next opening.
const rest = time.Second

// serve takes openings one after the other. An opening needs more stack than a
// goroutine begins with, and growing it costs a twelfth of all the work on a
// connection: a goroutine that has done it is kept for a moment.
func (s *Server) serve(o opening) {
	t := time.NewTimer(rest)
	defer t.Stop()
	for {
		if o.c.serve(o.r) { // only reactors park
			s.opened(o.c)
		}
		o = opening{} // nothing is kept alive while waiting
		t.Reset(rest)
		select {
		case o = <-s.openings:
		case <-s.ctx.Done():
			return
		case <-t.C:
			return
		}
	}
}

// refuse resets a connection that is over a limit. There is no log line: a
// flood must not become a flood of lines.
func (s *Server) refuse(c transport.Conn) {
	s.stats.end(transport.OverLimit)
	_ = transport.Abort(c)
}

// network keeps an IPv4 address to IPv4: Go takes 0.0.0.0 for both families,
// and a firewall that knows only IPv4 would leave the other one open.
func network(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil && ap.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// Listen opens a TCP listener. Accepted sockets inherit its keep-alives on Linux. Errors
// do not name the address, as callers do.
func Listen(ctx context.Context, address string, backlog int) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { inheritKeepAlive(fd, usersKeepAlive) })
		},
	}
	// Go offers Multipath TCP by default. A relay has no use for it, and the
	// answer to such a SYN would tell it from a web server.
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network(address), address)
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return nil, e.Err
	}
	if err != nil {
		return nil, err
	}
	if err := setBacklog(ln, backlog); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}
