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

// listener is one accept loop.
type listener struct {
	srv   *Server
	ln    net.Listener
	done  chan struct{} // closed by close
	once  sync.Once
	route atomic.Pointer[route]
}

// close ends the accept loop, even one that waits out an error.
func (l *listener) close() {
	l.once.Do(func() {
		_ = l.ln.Close()
		close(l.done)
	})
}

// route is what a listener does with connections, as of the last Apply.
type route struct {
	set      *settings
	inbounds []Inbound
}

const (
	firstBackOff = 5 * time.Millisecond
	mostBackOff  = time.Second
	warnEvery    = 10 * time.Second
)

// accept runs until the listener is closed. An error that does not close it,
// such as too many open files, is waited out: the loop never spins. Nor does
// the log: at the limit of descriptors accepting fails and works in turns.
func (l *listener) accept() {
	var wait time.Duration
	var warned time.Time
	for {
		raw, err := l.ln.Accept()
		if err == nil {
			wait = 0
			l.handle(raw)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		wait = min(max(2*wait, firstBackOff), mostBackOff)
		if now := time.Now(); warned.IsZero() || now.Sub(warned) >= warnEvery {
			warned = now
			l.srv.log.Warn("accept", "listener", l.ln.Addr(), "error", acceptCause(err), "retry", wait)
		}
		select {
		case <-time.After(wait):
		case <-l.done:
			return
		}
	}
}

// acceptCause leaves out the address that net puts into its errors.
func acceptCause(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys
	}
	return err
}

// handle counts a connection and gives it a goroutine, or resets it: a reset
// costs both sides least, and lets a real client try again at once.
func (l *listener) handle(raw net.Conn) {
	r := l.route.Load()
	s := l.srv
	tc, ok := raw.(transport.Conn)
	if !ok {
		_ = raw.Close()
		return
	}
	c := &conn{srv: s, set: r.set, raw: tc, near: tc, source: transport.Source(tc), began: time.Now()}
	if !s.sources.enter(c) {
		s.refuse(tc)
		return
	}
	c.counted = true
	if !s.reserve(c, r.set.limits.Connections) {
		c.authenticated()
		s.refuse(tc)
		return
	}
	if !s.begin(c) {
		c.authenticated()
		s.live.Add(-1)
		s.stats.end(transport.Drained)
		_ = tc.Close()
		return
	}
	select {
	case s.openings <- opening{c, r.inbounds}:
	default:
		go s.serve(opening{c, r.inbounds})
	}
}

// opening is a connection for the next goroutine that is free.
type opening struct {
	c        *conn
	inbounds []Inbound
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
		o.c.serve(o.inbounds)
		s.opened(o.c)
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

// Listen opens a TCP listener. A client that vanishes without a word is found
// by keep-alive probes, whose settings accepted sockets inherit on Linux.
func Listen(ctx context.Context, address string, backlog int) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(inheritKeepAlive)
		},
	}
	// Go offers Multipath TCP by default. A relay has no use for it, and the
	// answer to such a SYN would tell it from a web server.
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network(address), address)
	if err != nil {
		return nil, err
	}
	if err := setBacklog(ln, backlog); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}
