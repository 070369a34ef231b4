package h2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	// firstStreams is how many streams are opened before the peer has said how many
	// it takes, and mostStreams how many at most: Chrome's numbers.
	firstStreams = 100
	mostStreams  = 256
	// mostQueued is what may wait for a connection that takes no bytes before new
	// requests are refused.
	mostQueued = 256 << 10
	// mostHead is the longest head of a request.
	mostHead = 1 << 20
	// mostPings is how many answers are waited for at once.
	mostPings = 16
	// goAwayTime is how long a peer that has broken the protocol may take to hear it.
	goAwayTime = time.Second
)

// Conn is the client's end of one connection.
type Conn struct {
	conn net.Conn
	f    *Fingerprint
	born time.Time
	done chan struct{}

	heard, asked atomic.Int64 // since born
	total        atomic.Int64
	in           credit       // of the connection
	earned       atomic.Int64 // what the peer may answer; see charge
	stray        atomic.Int64 // what may still come for streams that we have reset

	receives int64   // the first window of a stream
	server   *server // nil: the client's end

	mu      sync.Mutex
	drained sync.Cond       // something was written; for a server's end
	err     error           // why it has ended
	away    *GoAwayError    // the peer has sent GOAWAY
	broken  *ViolationError // we have, and it ends when that is written
	streams map[uint32]*Stream
	next    uint32 // the id of the next stream
	pings   map[uint64]chan struct{}
	ping    uint64 // the number of the next one

	// What the peer's SETTINGS say. The length of frames is not among it: every
	// peer takes those that we send.
	most       int
	initial    int64 // window of a stream
	headerList uint64

	encoder encoder
	frame   int   // bytes of one of ours
	window  int64 // of the peer
	out     *buffer
	opening int   // bytes of out that open the connection
	started bool  // something is to be sent at all
	writing bool  // somebody writes
	ready   turns // who has something to send
	limit   int64 // the write deadline of conn, since born
}

// NewConn speaks HTTP/2 on c, which it owns from here. Nothing is sent before the
// first request or ping. f must not change any more.
func NewConn(c net.Conn, f *Fingerprint) *Conn {
	frame := FullFrame
	if f.Frame > 0 {
		frame = min(f.Frame, FullFrame)
	}
	h := &Conn{
		conn: c, f: f, born: time.Now(), done: make(chan struct{}),
		streams: make(map[uint32]*Stream), next: 1, ping: 1,
		most: firstStreams, initial: defaultWindow, headerList: mostHead,
		encoder: encoder{limit: defaultTable}, frame: frame, window: defaultWindow,
		out:      buffers.Get().(*buffer),
		receives: int64(setting(f.Settings, SettingInitialWindowSize, defaultWindow)),
	}
	h.drained.L = &h.mu
	h.in.open(defaultWindow + int64(f.Window))
	h.out.b = appendOpening(h.out.b, f)
	h.opening = len(h.out.b)
	go h.readAll(h.newReader(hpack.NewDecoder(setting(f.Settings, SettingHeaderTableSize, defaultTable), nil),
		setting(f.Settings, SettingMaxHeaderListSize, mostBlock), setting(f.Settings, SettingMaxFrameSize, defaultFrame)), nil)
	return h
}

// Open sends a request, with as much of body as the peer's windows allow in the same
// write, and then the rest of it. end says that nothing follows; else the Stream's
// Write goes on. ctx is for this call only, and for windows that do not open: when it
// ends first, the stream is reset. A connection that takes no bytes ends by itself.
// An error that is an [ErrUnprocessed] means that the request may be sent again
// elsewhere. The caller closes the Stream.
func (c *Conn) Open(ctx context.Context, head Head, body []byte, end bool) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Stream{c: c}
	s.readable.L, s.writable.L = &s.mu, &c.mu
	s.in.open(c.receives)
	s.in.renewed.Store(c.now())
	if err := c.add(s, head, end && len(body) == 0); err != nil {
		return nil, err
	}
	stop := func() bool { return true }
	if ctx.Done() != nil && len(body) > 0 {
		stop = context.AfterFunc(ctx, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			s.stop(ctx.Err())
		})
	}
	_, err := s.send(body, noPadding, end)
	// Somebody else's write may have taken the head along, and the answer be there.
	if reset, ok := errors.AsType[*ResetError](err); ok && reset.Code == NoError {
		err = nil
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// add makes s a stream and puts its head where the next write takes it.
func (c *Conn) add(s *Stream, head Head, end bool) error {
	if err := head.check(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return fmt.Errorf("%w: %w", ErrUnprocessed, c.err)
	case c.broken != nil:
		return fmt.Errorf("%w: %w", ErrUnprocessed, c.broken)
	case c.away != nil:
		return fmt.Errorf("%w: %w", ErrUnprocessed, c.away)
	case c.next > mostID:
		return fmt.Errorf("%w: the connection has had all of its streams", ErrUnprocessed)
	case len(c.streams) >= c.most || c.out != nil && len(c.out.b) > mostQueued:
		return ErrBusy
	case head.size() > c.headerList:
		return fmt.Errorf("h2: the head of the request has %d bytes, and the peer takes %d", head.size(), c.headerList)
	}
	s.id, s.window = c.next, c.initial
	c.appendHead(s.id, head, end)
	c.streams[s.id] = s
	c.next += 2
	s.sent = end
	c.started = true
	if silent := time.Duration(c.now() - c.heard.Load()); c.f.Ping > 0 && silent > c.f.Ping && len(c.pings) == 0 {
		c.appendPing()
	}
	return nil
}

// Usable reports whether requests may still be opened, now or when [Conn.Room] says so.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usable()
}

func (c *Conn) usable() bool {
	return c.err == nil && c.broken == nil && c.away == nil && c.next <= mostID
}

// Streams returns how many streams are open.
func (c *Conn) Streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// Room returns how many more the peer allows now. Before it has said so it is
// taken to allow 100.
func (c *Conn) Room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.usable() {
		return 0
	}
	return max(0, c.most-len(c.streams))
}

// Err returns why the connection has ended, or nil.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection and all of its streams. Where the one below is TLS, it
// takes what that takes to say so.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

// Abort is Close with a TCP reset, and does not wait for anything.
func (c *Conn) Abort() {
	below := c.conn
	for {
		v, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		below = v.NetConn()
	}
	if v, ok := below.(interface{ SetLinger(sec int) error }); ok {
		_ = v.SetLinger(0)
	}
	_ = below.Close()
	c.fail(net.ErrClosed)
}

// Ping waits for the answer to a PING.
func (c *Conn) Ping(ctx context.Context) error {
	c.mu.Lock()
	switch {
	case c.err != nil:
		defer c.mu.Unlock()
		return c.err
	case len(c.pings) >= mostPings:
		c.mu.Unlock()
		return errors.New("h2: ping: too many are not answered")
	}
	id, answer := c.appendPing()
	c.asked.Store(c.now())
	c.started = true
	c.flush()
	c.mu.Unlock()
	select {
	case <-answer:
		return nil
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pings, id)
		return ctx.Err()
	}
}

// now is how long c has been there.
func (c *Conn) now() int64 { return int64(time.Since(c.born)) }

// Heard returns when the last byte came, and how many have. Before the first one the
// time is that of NewConn.
func (c *Conn) Heard() (at time.Time, total int64) {
	return c.born.Add(time.Duration(c.heard.Load())), c.total.Load()
}

// Sent returns when something that the peer has to answer was last given to be
// written: a request, bytes of a stream or a ping; the zero time before that.
func (c *Conn) Sent() time.Time {
	at := c.asked.Load()
	if at == 0 {
		return time.Time{}
	}
	return c.born.Add(time.Duration(at))
}

// leave tells a peer that has broken the protocol why the connection ends.
func (c *Conn) leave(err *ViolationError) {
	c.mu.Lock()
	if !c.started {
		c.mu.Unlock()
		c.fail(err)
		return
	}
	defer c.mu.Unlock()
	c.broken = err
	o := c.append()
	o.b = appendHeader(o.b, frameHeader{8, frameGoAway, 0, 0})
	o.b = binary.BigEndian.AppendUint32(o.b, 0)
	o.b = binary.BigEndian.AppendUint32(o.b, uint32(err.Code))
	c.flush()
	time.AfterFunc(goAwayTime, func() { c.fail(err) })
}

// fail ends the connection and all that waits for it, once.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if c.away != nil && errors.Is(err, io.ErrUnexpectedEOF) {
		err = c.away
	}
	c.err = err
	streams := c.streams
	c.streams, c.ready, c.pings = nil, turns{}, nil
	if c.out != nil {
		c.out.free()
		c.out = nil
	}
	for _, s := range streams {
		s.stop(err)
	}
	c.drained.Broadcast()
	if c.server != nil {
		c.server.stop()
	}
	c.mu.Unlock()
	close(c.done)
	for _, s := range streams {
		s.end(err)
	}
	_ = c.conn.Close()
}
