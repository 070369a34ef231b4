package site

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"relay/auth"
	"relay/transport"
)

// taken is a connection that was accepted, and perhaps peeked at, by somebody
// else. It behaves as the bare socket would that the HTTP server had accepted by
// itself: see Read, Close and shift.
type taken struct {
	transport.Conn               // below everything that was peeked at
	lag            time.Duration // what had passed since it was accepted

	noWait     bool                       // see transport.Gate
	limit      atomic.Pointer[time.Timer] // runs during a Write: see share
	unreadLeft atomic.Bool
	mu         sync.Mutex
	told       bool   // guest does not want to know of claims any more
	answers    int    // going on, by weight
	unread     []byte // peeked at, and not read
	pieces     []int  // in which it came; see Read

	readShifted, writeShifted atomic.Bool
	answered                  atomic.Bool  // the guest knows
	up, down                  atomic.Int64 // bytes read and written

	records *transport.Records // nil: each goes by itself

	once  sync.Once
	guest transport.Guest
	leave func() // called when it is closed; nil: nobody minds
}

// take owns c from now on, and tells g when it is closed.
func take(c transport.Conn, began time.Time, g transport.Guest) *taken {
	t := &taken{guest: g}
	if !began.IsZero() {
		t.lag = max(0, time.Since(began))
	}
	// A Peeked is for one goroutine and would be in the way: HTTP servers read
	// and close at the same time.
	for {
		p, ok := c.(*transport.Peeked)
		if !ok {
			break
		}
		pieces := p.Reads()
		below, _, unread := p.Detach()
		t.unread = append(unread, t.unread...)
		t.pieces = append(pieces, t.pieces...)
		c = below
	}
	t.unreadLeft.Store(len(t.unread) > 0)
	t.Conn = c
	return t
}

// keepAlive sets the probes that package net sets for Caddy, after 15 s and every
// 15 s: the listener's may be others, and whoever waits that long sees them.
func (t *taken) keepAlive() {
	if c, ok := t.Conn.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	}
}

// Read returns unread bytes in the pieces in which they came, the last one together
// with what has arrived behind it: where the reads of a TLS server end decides what
// is left in the kernel when it gives up, and so whether the peer sees a FIN or a RST.
func (t *taken) Read(b []byte) (int, error) {
	n, err := t.read(b)
	t.up.Add(int64(n))
	if n > 0 && t.down.Load() > 0 && !t.answered.Load() && !t.answered.Swap(true) {
		t.guest.Answered()
	}
	return n, err
}

// Write implements net.Conn. One goroutine writes.
func (t *taken) Write(b []byte) (int, error) {
	if limit := t.limit.Load(); limit != nil {
		limit.Reset(stuckTime)
		defer limit.Stop()
	}
	var n int
	var err error
	if t.records != nil {
		n, err = t.records.Write(b)
	} else {
		n, err = t.Conn.Write(b)
	}
	t.down.Add(int64(n))
	return n, err
}

func (t *taken) read(b []byte) (int, error) {
	if !t.unreadLeft.Load() {
		return t.readBelow(b)
	}
	t.mu.Lock()
	n := copy(b, t.unread[:t.piece()])
	t.unread = t.unread[n:]
	t.pieces[0] -= n
	last := len(t.unread) == 0
	if last {
		t.unread = nil
		t.unreadLeft.Store(false)
	}
	t.mu.Unlock()
	if n == 0 {
		return t.readBelow(b)
	}
	if last && n < len(b) {
		n += readNow(t.Conn, b[n:])
	}
	return n, nil
}

func (t *taken) readBelow(b []byte) (int, error) {
	if t.noWait {
		if n, err := transport.TryRead(t.Conn, b); err != errors.ErrUnsupported {
			return n, err
		}
	}
	return t.Conn.Read(b)
}

// NoWait implements transport.Gate.
func (t *taken) NoWait(on bool) { t.noWait = on }

// WaitRead implements transport.ReadWaiter.
func (t *taken) WaitRead() error {
	if t.unreadLeft.Load() {
		return nil
	}
	return transport.WaitRead(t.Conn)
}

// Below returns the wrapped connection.
func (t *taken) Below() transport.Conn { return t.Conn }

// Detach implements transport.Detachable: for who has made a connection without TLS
// his own.
func (t *taken) Detach() (transport.Conn, transport.Codec, []byte) {
	t.mu.Lock()
	unread := t.unread
	t.unread, t.told = nil, true
	t.mu.Unlock()
	t.once.Do(t.over)
	return t.Conn, nil, unread
}

// Interrupt resets the connection and tells nobody: who does this may hold what the
// guest needs. Whoever serves it closes it.
func (t *taken) Interrupt() { transport.Interrupt(t.Conn) }

// SetLinger makes Close a reset if sec is 0, as that of a socket.
func (t *taken) SetLinger(sec int) error {
	if c, ok := t.Conn.(interface{ SetLinger(sec int) error }); ok {
		return c.SetLinger(sec)
	}
	return nil
}

// piece is how long the next piece is of what is unread; under mu.
func (t *taken) piece() int {
	for len(t.pieces) > 1 && t.pieces[0] == 0 {
		t.pieces = t.pieces[1:]
	}
	return min(t.pieces[0], len(t.unread)) // less once it is closed
}

// stuckTime is how long a user's HTTP/2 connection may take no byte.
const stuckTime = time.Minute

// share says that a connection carries users' streams over HTTP/2. A client that
// does not read from the socket would hold all of them for ever, and those that are
// cut as well: the server waits for its turn to say so. Strangers have no such
// limit, as they have none at Caddy.
func (t *taken) share() {
	limit := time.AfterFunc(stuckTime, func() { _ = transport.Abort(t.Conn) })
	limit.Stop()
	t.limit.CompareAndSwap(nil, limit)
}

// claim says that a request on the connection was claimed, as a user's.
func (t *taken) claim(user auth.User) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.told {
		t.told = true
		t.guest.Claimed(user)
	}
}

// begin says that an answer begins, which may hold a file or a connection to the
// upstream for as long as the visitor reads nothing, and weighs n; false: there is no room
// for it. A weight of 1 at a time is counted with the connection.
func (t *taken) begin(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	want := max(0, t.answers+n-1) - max(0, t.answers-1)
	for i := range want {
		if !t.guest.Borrow() {
			t.giveBack(i)
			return false
		}
	}
	t.answers += n
	return true
}

// finish is the end of what begin began.
func (t *taken) finish(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveBack(max(0, t.answers-1) - max(0, t.answers-n-1))
	t.answers -= n
}

// giveBack is under mu.
func (t *taken) giveBack(n int) {
	for range n {
		t.guest.Return()
	}
}

// over says that the connection is not the site's any more.
func (t *taken) over() {
	if t.leave != nil {
		t.leave()
	}
	t.guest.Closed(t.up.Load(), t.down.Load())
}

// Close closes the connection. Unread bytes, had nobody peeked at them, would be
// in the kernel, which answers the close of such a socket with a reset; they
// count as if they were.
func (t *taken) Close() error {
	err := net.ErrClosed
	t.once.Do(func() {
		t.mu.Lock()
		// Pieces of which nothing was read would have come to a closed socket.
		left := len(t.unread) > 0 && t.pieces[0] > 0
		t.unread, t.told = nil, true
		t.mu.Unlock()
		if left {
			err = transport.Abort(t.Conn)
		} else {
			err = t.Conn.Close()
		}
		t.over()
	})
	return err
}

// SetDeadline implements net.Conn.
func (t *taken) SetDeadline(d time.Time) error {
	if err := t.SetReadDeadline(d); err != nil {
		return err
	}
	return t.SetWriteDeadline(d)
}

// SetReadDeadline implements net.Conn.
func (t *taken) SetReadDeadline(d time.Time) error {
	return t.Conn.SetReadDeadline(t.shift(&t.readShifted, d))
}

// SetWriteDeadline implements net.Conn.
func (t *taken) SetWriteDeadline(d time.Time) error {
	return t.Conn.SetWriteDeadline(t.shift(&t.writeShifted, d))
}

// shift moves the first deadline, that of the TLS handshake or of the first
// request, to where it would be had the server begun when the connection was
// accepted. Later ones begin with what the peer does.
func (t *taken) shift(shifted *atomic.Bool, d time.Time) time.Time {
	if d.IsZero() || shifted.Swap(true) {
		return d
	}
	return d.Add(-t.lag)
}

// queue is the listener of an HTTP server that accepts nothing by itself.
type queue struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{} // closed by Close
}

func newQueue() *queue {
	return &queue{conns: make(chan net.Conn), done: make(chan struct{})}
}

// put hands c to the server; false means that it has been shut down.
func (q *queue) put(c net.Conn) bool {
	select {
	case <-q.done:
		return false
	default:
	}
	select {
	case q.conns <- c:
		return true
	case <-q.done:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener. The queue has no address of its own.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
