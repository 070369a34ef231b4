package relay

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"relay/auth"
	"relay/relay/policy"
	"relay/relay/splice"
	"relay/transport"
)

// conn is one accepted connection on its way through the flow.
type conn struct {
	srv     *Server
	set     *settings
	inbound string // "" until one claimed it
	source  netip.Addr
	client  net.Addr // if a PROXY protocol header told it
	began   time.Time
	place   *list.Element // in srv.sources; under its lock
	over    *list.Element // the same, if its source has too many
	counted bool          // in srv.sources
	// In srv.sources as well: what it has borrowed beside holds.
	units    []*list.Element
	borrowed int
	holds    int            // descriptors
	reached  bool           // the one of a target is among them
	joined   bool           // with the core, for a cut; in srv.sources, under its lock
	served   bool           // a user's session has begun, or an anonymous one
	untold   bool           // denied in a protocol that has no reply
	evicted  atomic.Bool    // reset to make room
	visit    *visit         // when it is parked
	raw      transport.Conn // as accepted
	near     transport.Conn // raw, or a layer around it
	cut      cutter
	sess     *auth.Session        // once it is joined
	learns   func(up, down int64) // of a Rerouted request, then
	stream   *multiplexed         // brought it; nil: it was accepted
	unsaid   uint64               // the user in whose count of unsaid it is; 0: none
	carrier  uint64               // the same of carriers
	turn     *turn                // at a handshake with the site; under the lock of srv.shaking
	settled  place                // in srv.settled; under its lock
}

// serve takes an accepted connection to its end, or to the splice core, which
// owns it from then on. False: it is parked, and served again later, or the site
// has it, which says when it is over.
func (c *conn) serve(r *route) (done bool) {
	switch err := c.follow(r); err {
	case nil:
		return true
	case errParked, errTaken:
		return false
	default:
		c.failed(err)
		return true
	}
}

// failed is the end of a connection that was not joined.
func (c *conn) failed(err error) {
	switch {
	case c.evicted.Load():
		err = errEvicted
	case errors.Is(err, net.ErrClosed) && c.srv.ctx.Err() != nil:
		err = errDrained // Shutdown has closed raw
	}
	c.close(err)
	// A source that is refused time and again counts until each is over.
	c.authenticated()
	c.ended(splice.End{Status: statusOf(err)})
	c.srv.log.Debug("connection refused", "inbound", c.inbound, "error", err)
}

// connect begins the user's session, dials the target and hands the pair over.
func (c *conn) connect(req transport.Request) error {
	switch req := req.(type) {
	case transport.PacketRequest:
		return c.connectPackets(req)
	case transport.Multiplexed:
		return c.multiplex(req)
	}
	sess, err := c.begin(req)
	if err != nil {
		return err
	}
	far, err := c.reach(req)
	if errors.Is(err, splice.ErrLeft) {
		sess.End()
		return err // there is nobody to tell
	}
	if err != nil {
		sess.End()
		return c.deny(req, dialError{c.cut.or(err)})
	}
	// The answer has a time of its own: dialling may have used up the opening's.
	var near, newFar transport.Conn
	if err = c.allow(); err == nil {
		near, newFar, err = req.Accept(c.srv.ctx, far)
	}
	if err == nil {
		c.near = near // to be closed, if anything fails
		err = near.SetDeadline(time.Time{})
	}
	if err != nil {
		sess.End()
		_ = far.Close()
		if errors.Is(err, ErrTarget) {
			c.untold, err = true, dialError{err}
		}
		return c.cut.or(err)
	}
	c.sess = sess
	limits := c.set.limits.splice()
	if r, ok := req.(transport.Rerouted); ok {
		c.learns = r.Learns()
		if limits.Fin == 0 || limits.Fin > leftTime {
			limits.Fin = leftTime
		}
	}
	c.srv.handOver(c)                                  // to the core, from here on
	if c.srv.log.Enabled(c.srv.ctx, slog.LevelDebug) { // the arguments alone cost allocations
		c.srv.log.Debug("connection opened", "inbound", c.inbound, "target", req.Target())
	}
	flow := c.srv.splice.Join(near, newFar, limits, sess, c.finished)
	// A cut that came in between has met nobody: arm calls again.
	c.cut.arm(func(error) { flow.Cut(transport.Cut) })
	return nil
}

// begin begins the user's session, or says why not. A cut ends the stream as well
// that brought the request.
func (c *conn) begin(req transport.Request) (*auth.Session, error) {
	cut := c.cut.cut
	if c.stream != nil {
		cut = func(why error) { c.cut.cut(why); c.stream.conn.cut.cut(why) }
	}
	sess, err := c.srv.users.Begin(req.User(), c.source, cut)
	if err != nil {
		return nil, c.deny(req, fmt.Errorf("%w: %w", errNotServed, err))
	}
	c.served = true
	c.said()
	return sess, nil
}

// finished is the end of a connection that was joined.
func (c *conn) finished(e splice.End) {
	c.sess.End()
	if c.learns != nil {
		c.learns(e.Up, e.Down)
	}
	c.ended(e)
}

// reach dials the target of a request, and where it knows others those as well.
func (c *conn) reach(req transport.Request) (transport.Conn, error) {
	other, ok := req.(transport.Rerouted)
	if !ok {
		return c.dial(c.set.dialer, req.Target(), 0, splice.Broken)
	}
	for {
		far, err := c.dial(c.set.dialer, req.Target(), other.Patience(), splice.Ended)
		if err == nil {
			return far, nil
		}
		if err = c.cut.or(err); !other.Reroute(err) {
			return nil, err
		}
	}
}

// dial connects to a target: from where the client is, if that is known
// without waiting for anything but the target itself, and for the client to leave. It
// takes no longer than patience, unless that is 0.
func (c *conn) dial(by transport.Dialer, to transport.Target, patience time.Duration, until splice.Leaving) (transport.Conn, error) {
	if !c.reached {
		if !c.srv.hold(c, 1) {
			return nil, ErrFull
		}
		c.reached = true
	}
	if d, ok := by.(transport.DirectDialer); ok {
		hop, known, err := d.Direct(to)
		if err != nil {
			return nil, err
		}
		if known {
			raw := c.raw
			c.cut.arm(func(error) { splice.CancelDial(raw) })
			if patience > 0 && (hop.Timeout == 0 || patience < hop.Timeout) {
				hop.Timeout = patience
			}
			far, ok, err := splice.Dial(raw, hop.Addr, hop.Timeout, until)
			if err != nil && !errors.Is(err, net.ErrClosed) && err != splice.ErrLeft {
				err = d.Failed(err)
			}
			if ok {
				return far, err
			}
		}
	}
	if err := transport.MayWait(c.raw); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(c.srv.ctx)
	defer cancel(nil)
	c.cut.arm(func(why error) { cancel(why) })
	defer splice.OnLeave(c.raw, until, cancel)()
	limited := ctx
	if patience > 0 {
		var stop context.CancelFunc
		limited, stop = context.WithTimeout(ctx, patience)
		defer stop()
	}
	far, err := by.DialStream(limited, to, nil)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return far, err
}

// allow gives the client a fresh time to take an answer.
func (c *conn) allow() error { return c.near.SetDeadline(time.Now().Add(c.set.limits.Handshake)) }

// deny tells the client and keeps the reason.
func (c *conn) deny(req transport.Request, why error) error {
	_ = c.allow()
	c.untold = errors.Is(req.Deny(why), ErrNoReply)
	return why
}

const (
	// leftTime is the Fin of those whose end says that they have left: the target hears
	// of it, and need not answer.
	leftTime    = 3 * time.Second
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// close ends a connection that was refused. Whoever was told why gets the
// chance to read it: closing with unread bytes in the socket would reset the
// connection, and the answer would be lost on its way. Where the protocol has
// no answer, a reset is the answer.
func (c *conn) close(why error) {
	var cover coverError
	if c.untold || errors.Is(why, errEvicted) || errors.Is(why, errDrained) || errors.Is(why, errCrowded) || errors.As(why, &cover) {
		_ = transport.Abort(c.near)
		return
	}
	defer c.near.Close()
	switch statusOf(why) {
	case transport.NotOurs, transport.ClientGone, transport.Timeout:
		return // nobody was told anything
	}
	if c.inbound == "" {
		return
	}
	if c.near.CloseWrite() != nil || c.near.SetDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.near, lingerBytes)
}

// authenticated takes the connection out of its source's count.
func (c *conn) authenticated() {
	if c.counted {
		c.counted = false
		c.srv.sources.leave(c)
	}
}

// ended accounts for the end of a connection: one count, and one line, except
// that those who were never served get a bounded number of lines; unlogged is
// how many were left out before this one.
func (c *conn) ended(e splice.End) {
	c.srv.stats.end(e.Status)
	c.srv.release(c)
	if c.stream != nil {
		c.stream.over()
	}
	var unlogged int64
	if !c.served {
		// A flood must not become a flood of lines.
		if c.evicted.Load() || !c.srv.lines.Allow() {
			c.srv.unlogged.Add(1)
			return
		}
		unlogged = c.srv.unlogged.Swap(0)
	}
	h := c.srv.log.Handler()
	if !h.Enabled(c.srv.ctx, slog.LevelInfo) {
		return
	}
	// Without a caller, which nobody prints and whose search costs a microsecond.
	now := time.Now()
	line := slog.NewRecord(now, slog.LevelInfo, "connection ended", 0)
	line.AddAttrs(
		slog.String("inbound", c.inbound),
		slog.String("status", string(e.Status)),
		slog.Int64("up", e.Up),
		slog.Int64("down", e.Down),
		slog.Duration("after", now.Sub(c.began).Round(time.Millisecond)),
		slog.Int64("unlogged", unlogged))
	_ = h.Handle(c.srv.ctx, line)
}

// dialError marks the errors of dialling: a time-out there is not the client's.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// errEvicted ends an opening that made room for another connection.
var errEvicted = errors.New("waited longest when the relay was full")

// errNotServed marks what kept a user's session from beginning: mostly one of
// auth's reasons, or trouble with the database.
var errNotServed = errors.New("user is not served")

// statusOf finds the status word for an error on the way to the splice.
func statusOf(err error) transport.Status {
	var d dialError
	var cover coverError
	switch {
	case errors.Is(err, errNotOurs), errors.Is(err, transport.ErrTooLong), errors.As(err, &cover):
		return transport.NotOurs
	case errors.Is(err, errDrained):
		return transport.Drained
	case errors.Is(err, errEvicted):
		return transport.OverLimit
	case errors.Is(err, policy.ErrDenied):
		return transport.Denied
	case errors.Is(err, auth.ErrTooManyConns), errors.Is(err, auth.ErrTooManyIPs), errors.Is(err, errCrowded), errors.Is(err, ErrFull):
		return transport.OverLimit
	case errors.Is(err, errNotServed), auth.Refused(err):
		return transport.Denied
	case errors.As(err, &d):
		return transport.DialFailed
	case errors.Is(err, ErrBadRequest):
		return transport.BadRequest
	case errors.Is(err, ErrAuth), errors.Is(err, auth.ErrCredentials):
		return transport.AuthFailed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return transport.Timeout
	}
	// io.EOF, net.ErrClosed, resets, splice.ErrLeft.
	return transport.ClientGone
}
