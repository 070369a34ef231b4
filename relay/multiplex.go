package relay

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"relay/auth"
	"relay/relay/splice"
	"relay/transport"
)

const (
	// mostInStream is how many requests one stream may bring at once. Clients
	// open another one after eight, or some more.
	mostInStream = 256
	// streamIdle ends a stream without requests, unless the settings do so sooner.
	streamIdle = 5 * time.Minute
)

// errStreamIdle ends a stream that has been without requests for too long.
var errStreamIdle = fmt.Errorf("no request in the stream: %w", os.ErrDeadlineExceeded)

// multiplexed is a stream of many requests. It has no session of its own, for
// which a user with a limit would pay: it ends with the first request in it whose
// user is cut, or not served any more.
type multiplexed struct {
	conn *conn
	idle *time.Timer // runs while there is no request

	mu     sync.Mutex
	n      int // requests that are not over
	wait   time.Duration
	served bool // one of them was
	ended  bool
}

// multiplex is connect for a request that stands for many. It returns when the
// stream has ended.
func (c *conn) multiplex(req transport.Multiplexed) error {
	err := transport.MayWait(c.raw)
	if err == nil {
		err = c.near.SetDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	m := &multiplexed{conn: c, wait: streamIdle}
	if limit := c.set.limits.Idle; limit > 0 {
		m.wait = min(m.wait, limit)
	}
	raw := c.raw
	c.cut.arm(func(error) { transport.Interrupt(raw) })
	m.idle = time.AfterFunc(m.wait, m.tick)
	c.srv.onDrain(m)
	defer c.srv.offDrain(m)
	err = req.Each(c.srv.ctx, m.open)
	m.mu.Lock()
	m.ended = true
	m.idle.Stop()
	c.served = m.served
	m.mu.Unlock()
	c.ended(splice.End{Status: c.streamStatus(err)})
	return nil
}

// streamStatus is how a stream of requests ended.
func (c *conn) streamStatus(err error) transport.Status {
	why := c.cut.or(nil)
	switch {
	case errors.Is(why, errDrained), c.srv.ctx.Err() != nil:
		return transport.Drained
	case why == errStreamIdle:
		return transport.Timeout
	case why != nil:
		return transport.Cut
	case err == nil:
		return transport.OK
	}
	return statusOf(err)
}

// open takes one request to its end, or to the splice core.
func (m *multiplexed) open(req transport.Request) {
	if !m.enter() {
		m.conn.srv.stats.end(transport.OverLimit)
		_ = req.Deny(ErrFull)
		return
	}
	c, err := m.conn.srv.inner(m.conn, noConn{})
	if err != nil {
		m.over()
		_ = req.Deny(err)
		return
	}
	c.stream = m
	c.run(func() error {
		err := c.connect(req)
		m.mu.Lock()
		m.served = m.served || c.served
		m.mu.Unlock()
		if auth.Refused(err) && !errors.Is(err, auth.ErrTooManyConns) && !errors.Is(err, auth.ErrTooManyIPs) {
			m.conn.cut.cut(err) // nor will the next one be served
		}
		return err
	})
}

// enter counts a request; false says that there are too many.
func (m *multiplexed) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n >= mostInStream {
		return false
	}
	m.n++
	m.idle.Stop()
	return true
}

// over is the end of a request, also of one that the splice core had.
func (m *multiplexed) over() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n--; m.n == 0 && !m.ended {
		m.idle.Reset(m.wait)
	}
}

// drain implements drainer.
func (m *multiplexed) drain(now bool) {
	if now {
		m.conn.cut.cut(errDrained)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wait = min(m.wait, packetDrain)
	if m.n == 0 && !m.ended {
		m.idle.Reset(m.wait)
	}
}

// tick ends a stream that has no request.
func (m *multiplexed) tick() {
	m.mu.Lock()
	why, quiet := errStreamIdle, m.n == 0 && !m.ended
	m.mu.Unlock()
	if m.conn.srv.isStopped() {
		why = errDrained
	}
	if quiet {
		m.conn.cut.cut(why)
	}
}
