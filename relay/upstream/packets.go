package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"relay/transport"
)

// redialTime bounds how long a datagram waits for another connection. Those behind it
// are dropped meanwhile, as on any way that has gone.
const redialTime = 5 * time.Second

// DialPacket implements transport.PacketDialer. What it returns outlives the
// connection that carries the datagrams: the next one goes by another. What was on its
// way is lost, and the exit sends from another port then.
func (s *Set) DialPacket(ctx context.Context) (transport.PacketConn, error) {
	limited, cancel := context.WithTimeoutCause(ctx, dialTime, errNoAnswer)
	defer cancel()
	c, w, err := s.dialPacket(limited, ctx, nil)
	if err != nil {
		return nil, err
	}
	p := &packets{set: s, conn: c, way: w, since: time.Now()}
	p.wake.L = &p.mu
	return p, nil
}

// dialPacket opens a connection for datagrams. w is nil if it is direct: looking for
// ways ends with ctx, and that with outer.
func (s *Set) dialPacket(ctx, outer context.Context, except *way) (c transport.PacketConn, w *way, err error) {
	for range mostMoves + 1 {
		if w, err = s.choose(ctx, except); err != nil {
			break
		}
		began := time.Now()
		c, err = w.Dialer.DialPacket(ctx)
		switch {
		case err == nil:
			return c, w, nil
		case !errors.Is(err, transport.ErrCarrier):
			return nil, nil, fmt.Errorf("upstream: %w", err)
		}
		s.lost(w, began, err)
		except, err = w, s.failure()
	}
	if d, ok := s.rules.Load().direct.(transport.PacketDialer); ok && s.mayGoDirect(outer, err) {
		c, err = d.DialPacket(outer)
		return c, nil, err
	}
	return nil, nil, err
}

// packets judges the targets of datagrams, and goes on where a connection was lost:
// reading waits until there is something to write, as only that can need another one.
type packets struct {
	set *Set

	mu      sync.Mutex
	wake    sync.Cond // conn is another, or it is over
	conn    transport.PacketConn
	way     *way
	since   time.Time // it is on this way
	lost    bool      // conn is of no more use
	proved  bool      // something has come on it
	dialing context.CancelFunc
	limit   time.Time
	closed  bool
}

var _ transport.ReadWaiter = (*packets)(nil)

// WritePacket implements transport.PacketConn.
func (p *packets) WritePacket(b []byte, to transport.Target) error {
	if err := p.set.rules.Load().check(to); err != nil {
		return err
	}
	var err error
	for range 2 {
		var c transport.PacketConn
		if c, err = p.writer(); err != nil {
			return err
		}
		if err = c.WritePacket(b, to); !p.leave(c, err) {
			p.set.up.Add(int64(len(b)))
			return err
		}
	}
	return err
}

// writer is the connection to write to, another one if the last was lost.
func (p *packets) writer() (transport.PacketConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, net.ErrClosed
	case !p.lost:
		return p.conn, nil
	case p.over():
		return nil, os.ErrDeadlineExceeded
	}
	ctx, cancel := context.WithTimeoutCause(p.set.ctx, redialTime, errNoAnswer)
	defer cancel()
	p.dialing = cancel
	last := p.way
	p.mu.Unlock()
	c, w, err := p.set.dialPacket(ctx, p.set.ctx, last)
	p.mu.Lock()
	p.dialing = nil
	switch {
	case p.closed:
		if err == nil {
			_ = c.Close()
		}
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	}
	p.conn, p.way, p.since, p.lost, p.proved = c, w, time.Now(), false, false
	if !p.limit.IsZero() {
		_ = c.SetDeadline(p.limit)
	}
	p.wake.Broadcast()
	return c, nil
}

// over reports whether the deadline has come; under mu.
func (p *packets) over() bool { return !p.limit.IsZero() && !time.Now().Before(p.limit) }

// reader is the connection to read from, once there is one.
func (p *packets) reader() (transport.PacketConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closed:
			return nil, net.ErrClosed
		case !p.lost:
			return p.conn, nil
		case p.over():
			return nil, os.ErrDeadlineExceeded
		case p.set.ctx.Err() != nil:
			return nil, errStopped
		case p.limit.IsZero():
			p.wait()
		default:
			timer := time.AfterFunc(time.Until(p.limit), p.rouse)
			p.wait()
			timer.Stop()
		}
	}
}

// wait waits for a change, or for the end of the set; under mu.
func (p *packets) wait() {
	stop := context.AfterFunc(p.set.ctx, p.rouse)
	p.wake.Wait()
	stop()
}

func (p *packets) rouse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake.Broadcast()
}

// leave reports whether err says that c was lost, and leaves c then.
func (p *packets) leave(c transport.PacketConn, err error) bool {
	if !errors.Is(err, transport.ErrCarrier) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.conn != c || p.lost {
		return !p.closed
	}
	p.lost = true
	p.set.lost(p.way, p.since, err)
	_ = c.Close()
	return true
}

// ReadPacket implements transport.PacketConn.
func (p *packets) ReadPacket(b []byte) (n int, from transport.Target, err error) {
	for {
		c, err := p.reader()
		if err != nil {
			return 0, from, err
		}
		n, from, err = c.ReadPacket(b)
		switch {
		case err == nil:
			p.answered(c)
			p.set.down.Add(int64(n))
			return n, from, nil
		case p.ended(c, err): // the next datagram begins another one
		case !p.leave(c, err) && !p.left(c, err):
			return n, from, err
		}
	}
}

// ended reports whether the exit has ended an association that it had answered on, as one
// does that was idle for long: the client's goes on. One that never answers has refused.
func (p *packets) ended(c transport.PacketConn, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != io.EOF || p.conn != c || !p.proved || p.lost || p.closed {
		return false
	}
	p.lost = true
	_ = c.Close()
	return true
}

// left reports whether err, as it is that of a closed connection, only says that
// WritePacket has left c.
func (p *packets) left(c transport.PacketConn, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Is(err, net.ErrClosed) && !p.closed && (p.conn != c || p.lost)
}

// answered keeps that something has come.
func (p *packets) answered(c transport.PacketConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == c && !p.proved {
		p.proved = true
		p.set.worked(p.way)
	}
}

// WaitRead implements transport.ReadWaiter, as far as what is below does: else the
// ReadPacket that follows waits.
func (p *packets) WaitRead() error {
	for {
		c, err := p.reader()
		if err != nil {
			return err
		}
		w, ok := c.(transport.ReadWaiter)
		if !ok {
			return nil
		}
		err = w.WaitRead()
		if err == nil || !p.ended(c, err) && !p.leave(c, err) && !p.left(c, err) {
			return err
		}
	}
}

// SetDeadline implements transport.PacketConn.
func (p *packets) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = t
	if p.dialing != nil && p.over() {
		p.dialing()
	}
	p.wake.Broadcast()
	if p.lost {
		return nil
	}
	return p.conn.SetDeadline(t)
}

// Close implements transport.PacketConn.
func (p *packets) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.closed = true
	if p.dialing != nil {
		p.dialing()
	}
	p.wake.Broadcast()
	if p.lost {
		return nil
	}
	return p.conn.Close()
}
