package relaytest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"relay/transport"
)

// packetQueue is how many datagrams a [PacketConn] holds; more are dropped.
const packetQueue = 64

// PacketConn is one end of a [PacketPipe]. It works inside a synctest bubble.
type PacketConn struct {
	other *PacketConn

	mu       sync.Mutex
	some     sync.Cond
	queue    []packet
	closed   bool
	ended    error // of the other end
	late     bool
	deadline *time.Timer
}

type packet struct {
	b    []byte
	peer transport.Target
}

// PacketPipe returns two ends: what is written to one, for a peer, is read at the
// other, from that peer. A closed end is io.EOF for the other one.
func PacketPipe() (*PacketConn, *PacketConn) {
	a, b := &PacketConn{}, &PacketConn{}
	a.other, b.other = b, a
	a.some.L, b.some.L = &a.mu, &b.mu
	return a, b
}

// WaitRead implements transport.ReadWaiter.
func (c *PacketConn) WaitRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case c.late:
			return os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			return nil
		case c.ended != nil:
			return c.ended
		}
		c.some.Wait()
	}
}

// ReadPacket implements transport.PacketConn.
func (c *PacketConn) ReadPacket(b []byte) (n int, peer transport.Target, err error) {
	if err := c.WaitRead(); err != nil {
		return 0, transport.Target{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.queue[0]
	c.queue = c.queue[1:]
	return copy(b, p.b), p.peer, nil
}

// WritePacket implements transport.PacketConn.
func (c *PacketConn) WritePacket(b []byte, peer transport.Target) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	o := c.other
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) < packetQueue && !o.closed {
		o.queue = append(o.queue, packet{append([]byte(nil), b...), peer})
		o.some.Broadcast()
	}
	return nil
}

// SetDeadline implements transport.PacketConn, for reads.
func (c *PacketConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.late = false
	if t.IsZero() {
		return nil
	}
	if wait := time.Until(t); wait > 0 {
		c.deadline = time.AfterFunc(wait, func() { _ = c.SetDeadline(t) })
		return nil
	}
	c.late = true
	c.some.Broadcast()
	return nil
}

// Close implements transport.PacketConn.
func (c *PacketConn) Close() error { return c.end(io.EOF) }

// Break closes an end so that the other one reads err.
func (c *PacketConn) Break(err error) { _ = c.end(err) }

func (c *PacketConn) end(why error) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.some.Broadcast()
	c.mu.Unlock()
	c.other.mu.Lock()
	defer c.other.mu.Unlock()
	c.other.ended = why
	c.other.some.Broadcast()
	return nil
}
