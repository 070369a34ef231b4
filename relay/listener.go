package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"relay/transport"
)

// listener is one accept loop.
type listener struct {
	srv   *Server
	ln    net.Listener
	route atomic.Pointer[route]
}

// route is what a listener does with connections, as of the last Apply.
type route struct {
	set      *settings
	inbounds []Inbound
}

const (
	firstBackOff = 5 * time.Millisecond
	mostBackOff  = time.Second
)

// accept runs until the listener is closed. An error that does not close it,
// such as too many open files, is waited out: the loop never spins.
func (l *listener) accept() {
	var wait time.Duration
	for {
		raw, err := l.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			wait = min(max(2*wait, firstBackOff), mostBackOff)
			if wait == firstBackOff || wait == mostBackOff {
				l.srv.log.Warn("accept", "listener", l.ln.Addr(), "error", acceptCause(err), "retry", wait)
			}
			select {
			case <-time.After(wait):
			case <-l.srv.ctx.Done():
				return
			}
			continue
		}
		wait = 0
		l.handle(raw)
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
	if n := r.set.limits.Connections; n > 0 && s.live.Load() >= int64(n) {
		s.refuse(tc)
		return
	}
	if !s.sources.enter(c.source) {
		s.refuse(tc)
		return
	}
	c.counted = true
	if !s.begin(c) {
		c.authenticated()
		_ = tc.Close()
		return
	}
	go func() {
		c.serve(r.inbounds)
		s.opened(c)
	}()
}

// refuse resets a connection that is over a limit. There is no log line: a
// flood must not become a flood of lines.
func (s *Server) refuse(c transport.Conn) {
	s.stats.end(transport.OverLimit)
	_ = transport.Abort(c)
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
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := setBacklog(ln, backlog); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}
