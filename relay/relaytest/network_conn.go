package relaytest

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"relay/transport"
)

// Conn is one end of a connection in memory. What is worth knowing of TCP on
// Linux holds here too:
//
//   - Close with unread bytes in hand, or after SetLinger(0), resets the
//     connection. The peer's next Read and its next Write say
//     syscall.ECONNRESET; later ones io.EOF and syscall.EPIPE. (On Linux only
//     the first of either does; that is for tests with real sockets.)
//   - A Write to a peer that has closed in order says syscall.EPIPE.
//   - A Write returns as soon as the bytes are queued, not when they are read.
//
// One thing is harsher than loopback on Linux, as a real network can be: a
// reset throws away what is queued in both directions.
type Conn struct {
	link          *link
	peer          *Conn
	in, out       *queue
	local, remote *net.TCPAddr

	// Under link.mu.
	reads, writes deadline
	abrupt        bool // SetLinger(0)
	closed        bool
	reset         bool // the peer has reset the connection
	toldRead      bool // and a Read has said so
	toldWrite     bool // and a Write has
}

var (
	_ transport.Conn       = (*Conn)(nil)
	_ transport.ReadWaiter = (*Conn)(nil)
)

// link is what both ends share.
type link struct {
	mu   sync.Mutex
	wake sync.Cond // any change
}

// queue is one direction.
type queue struct {
	b     []byte
	r     int // b[:r] has been read
	limit int
	eof   bool // nothing follows
}

// Pipe returns the two ends of a connection with buffers of 64 KiB.
func Pipe() (a, b *Conn) { return PipeSize(0) }

// PipeSize is Pipe with buffers of the given size; 0 means 64 KiB.
func PipeSize(buffer int) (a, b *Conn) {
	ap := func(port uint16) *net.TCPAddr {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	}
	return newPair(buffer, ap(1), ap(2))
}

func newPair(buffer int, local, remote *net.TCPAddr) (a, b *Conn) {
	if buffer <= 0 {
		buffer = defaultBuffer
	}
	l := new(link)
	l.wake.L = &l.mu
	ab, ba := &queue{limit: buffer}, &queue{limit: buffer}
	a = &Conn{link: l, in: ba, out: ab, local: local, remote: remote}
	b = &Conn{link: l, in: ab, out: ba, local: remote, remote: local, peer: a}
	a.peer = b
	return a, b
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if err := c.readable(len(b) == 0); err != nil {
		return 0, err
	}
	n := c.in.take(b)
	if n > 0 {
		c.link.wake.Broadcast()
	}
	return n, nil
}

// WaitRead implements [transport.ReadWaiter]. As on Linux, waiting does not take
// the reset that a Read is to be told.
func (c *Conn) WaitRead() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	told := c.toldRead
	err := c.readable(false)
	if c.toldRead != told {
		c.toldRead = told
		return nil
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// readable waits for bytes, unless it is told not to; under mu.
func (c *Conn) readable(now bool) error {
	for {
		switch {
		case c.closed:
			return c.opErr("read", net.ErrClosed)
		case c.reads.passed():
			return c.opErr("read", os.ErrDeadlineExceeded)
		case now:
			return nil
		case c.reset && !c.toldRead:
			c.toldRead = true
			return sysErr("read", "read", c.local, c.remote, syscall.ECONNRESET)
		case c.in.len() > 0:
			return nil
		case c.in.eof || c.reset:
			return io.EOF
		}
		c.link.wake.Wait()
	}
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for {
		switch {
		case c.closed:
			return n, c.opErr("write", net.ErrClosed)
		case c.writes.passed():
			return n, c.opErr("write", os.ErrDeadlineExceeded)
		case c.reset && !c.toldWrite:
			c.toldWrite = true
			return n, sysErr("write", "write", c.local, c.remote, syscall.ECONNRESET)
		case c.reset, c.out.eof, c.peer.closed:
			return n, sysErr("write", "write", c.local, c.remote, syscall.EPIPE)
		}
		if m := c.out.put(b[n:]); m > 0 {
			n += m
			c.link.wake.Broadcast()
		}
		if n == len(b) {
			return n, nil
		}
		c.link.wake.Wait()
	}
}

// CloseWrite implements [transport.Conn].
func (c *Conn) CloseWrite() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.closed {
		return c.opErr("close", net.ErrClosed)
	}
	if c.reset {
		return sysErr("close", "shutdown", c.local, c.remote, syscall.ENOTCONN)
	}
	c.out.eof = true
	c.link.wake.Broadcast()
	return nil
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.closed {
		return c.opErr("close", net.ErrClosed)
	}
	c.closed = true
	c.reads.stop()
	c.writes.stop()
	if c.abrupt || c.in.len() > 0 {
		c.in.drop()
		c.out.drop()
		c.peer.reset = true
	}
	c.out.eof = true
	c.link.wake.Broadcast()
	return nil
}

// SetLinger decides what Close does, as in net.TCPConn: 0 is a reset.
func (c *Conn) SetLinger(sec int) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.closed {
		return c.opErr("set", net.ErrClosed)
	}
	c.abrupt = sec == 0
	return nil
}

// LocalAddr implements net.Conn; it is a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn; it is a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.reads, &c.writes) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.reads) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writes) }

func (c *Conn) setDeadlines(t time.Time, which ...*deadline) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.closed {
		return c.opErr("set", net.ErrClosed)
	}
	for _, d := range which {
		d.stop()
		d.at = t
		if !t.IsZero() {
			d.timer = time.AfterFunc(time.Until(t), func() {
				c.link.mu.Lock()
				defer c.link.mu.Unlock()
				c.link.wake.Broadcast()
			})
		}
	}
	c.link.wake.Broadcast()
	return nil
}

func (c *Conn) opErr(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// deadline is a point in time and the timer that wakes those who wait for it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (q *queue) len() int { return len(q.b) - q.r }

// put queues as much of b as there is room for.
func (q *queue) put(b []byte) int {
	n := min(len(b), q.limit-q.len())
	if n <= 0 {
		return 0
	}
	if len(q.b)+n > cap(q.b) && q.r > 0 {
		q.b = q.b[:copy(q.b, q.b[q.r:])]
		q.r = 0
	}
	q.b = append(q.b, b[:n]...)
	return n
}

func (q *queue) take(b []byte) int {
	n := copy(b, q.b[q.r:])
	q.r += n
	if q.r == len(q.b) {
		q.b, q.r = q.b[:0], 0
	}
	return n
}

func (q *queue) drop() { q.b, q.r = nil, 0 }
