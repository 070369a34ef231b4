package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Begun is a connection to which another HTTP/2 server has said and heard the first
// words, up to the head of its first request.
type Begun struct {
	Settings []Setting // ours, as they were sent
	Window   uint32    // by which ours was opened after them
	Peer     []Setting // the client's; they are acknowledged
	Opened   uint32    // by which the client has opened its own
	// Decoder has decoded nothing but the first head, which is Stream's and has
	// Fields. End says that nothing follows it.
	Decoder *hpack.Decoder
	Stream  uint32
	Fields  []Field
	End     bool
}

// Service is what the server's end of a connection needs.
type Service struct {
	// Handle is called for each request, by the goroutine that reads the connection,
	// and must not wait. Whoever it gives the Stream to closes it.
	Handle func(*Stream)
	// Ahead bounds what is read ahead for streams that nobody reads.
	Ahead *Budget
	// Idle is how long the connection lives without a stream; 0: for ever.
	Idle time.Duration
}

var errIdle = errors.New("h2: no stream for too long")

// served is the status of a stream that the client has opened: its head is here.
const served = 1

// renewFrom is how much has been read when golang.org/x/net's server opens a window
// again. So its uploads look on the wire, and so do ours.
const renewFrom = 4 << 10

// server is what a server's end has beside a client's.
type server struct {
	Service
	begun *Begun       // until Serve
	most  int          // streams at a time
	idle  *time.Timer  // nil: there is no limit
	ahead atomic.Int64 // bytes taken of Ahead
	// handled are the streams that nobody has closed yet: those that the client resets
	// are not among its streams, and cost as much.
	handled atomic.Int64
	watch   *time.Timer // of streams that nobody reads

	looked int64 // the window when crowded did; of the reader
	bye    bool  // GOAWAY was sent: no more streams
}

// Serve serves a connection of [NewServer] until that has ended, and returns why.
func (c *Conn) Serve() error {
	b := c.server.begun
	c.server.begun = nil
	r := c.newReader(b.Decoder, setting(b.Settings, SettingMaxHeaderListSize, mostBlock), setting(b.Settings, SettingMaxFrameSize, defaultFrame))
	r.peer = true
	c.fresh(block{stream: b.Stream, end: b.End, fields: b.Fields})
	c.readAll(r, nil)
	<-c.done
	return c.Err()
}

// stop ends the clocks; under mu.
func (v *server) stop() {
	if v.idle != nil {
		v.idle.Stop()
	}
	if v.watch != nil {
		v.watch.Stop()
	}
}

// NewServer goes on as the server of a connection, which it owns from here. Nothing is
// read before Serve is called.
func NewServer(conn net.Conn, b *Begun, svc Service) *Conn {
	c := &Conn{
		conn: conn, f: new(Fingerprint), born: time.Now(), done: make(chan struct{}),
		streams: make(map[uint32]*Stream), next: b.Stream + 2,
		most: mostStreams, initial: defaultWindow, headerList: mostHead,
		encoder: encoder{limit: defaultTable}, frame: FullFrame, window: defaultWindow + int64(b.Opened),
		started: true, receives: int64(setting(b.Settings, SettingInitialWindowSize, defaultWindow)),
	}
	c.drained.L = &c.mu
	c.in.open(defaultWindow + int64(b.Window))
	c.in.least = renewFrom
	c.server = &server{Service: svc, begun: b, looked: c.in.most, most: int(min(setting(b.Settings, SettingMaxConcurrentStreams, mostStreams), mostStreams))}
	for _, s := range b.Peer {
		_ = c.set(s.ID, s.Value) // the other server has taken them
	}
	if svc.Idle > 0 {
		c.server.idle = time.AfterFunc(svc.Idle, c.expire)
	}
	return c
}

// expire ends a connection that has had no stream for too long.
func (c *Conn) expire() {
	c.mu.Lock()
	if c.err != nil || len(c.streams) > 0 {
		c.mu.Unlock()
		return
	}
	c.sayBye()
	c.mu.Unlock()
	c.failSoon(errIdle)
}

// Leave takes no more streams and ends the connection with the last one.
func (c *Conn) Leave() {
	c.mu.Lock()
	if c.err != nil || c.server.bye {
		c.mu.Unlock()
		return
	}
	c.sayBye()
	left := len(c.streams)
	c.mu.Unlock()
	if left == 0 {
		c.failSoon(net.ErrClosed)
	}
}

// sayBye sends GOAWAY; under mu.
func (c *Conn) sayBye() {
	c.server.bye = true
	o := c.append()
	o.b = appendHeader(o.b, frameHeader{8, frameGoAway, 0, 0})
	o.b = binary.BigEndian.AppendUint32(o.b, c.next-2)
	o.b = binary.BigEndian.AppendUint32(o.b, uint32(NoError))
	c.flush()
}

// failSoon leaves time for what is being written.
func (c *Conn) failSoon(err error) { time.AfterFunc(goAwayTime, func() { c.fail(err) }) }

// fresh makes a stream of a request; the peer's fault ends the stream.
func (c *Conn) fresh(b block) {
	head, what := headOf(b.fields)
	s := &Stream{c: c, id: b.stream, status: served, head: &head}
	s.readable.L, s.writable.L = &s.mu, &c.mu
	s.in.open(c.receives)
	s.in.least = renewFrom
	s.moved.Store(c.heard.Load())
	c.mu.Lock()
	code := NoError
	switch {
	case c.err != nil:
		c.mu.Unlock()
		return
	case what != "":
		code = ProtocolError
	case c.server.bye, len(c.streams) >= c.server.most, c.server.handled.Load() >= int64(2*c.server.most):
		code = RefusedStream
	}
	if code != NoError {
		c.stray.Add(c.receives)
		o := c.append()
		o.b = appendWord(o.b, frameReset, b.stream, uint32(code))
		c.flush()
		c.mu.Unlock()
		return
	}
	if len(c.streams) == 0 && c.server.idle != nil {
		c.server.idle.Stop()
	}
	s.window = c.initial
	s.ended = b.end
	c.streams[s.id] = s
	c.mu.Unlock()
	c.server.handled.Add(1)
	if b.end {
		s.inbox.finish(io.EOF)
	}
	c.server.Handle(s)
}

// makeRoom waits until the answers that nobody reads are fewer.
func (c *Conn) makeRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.out != nil && len(c.out.b) > mostQueued {
		c.drained.Wait()
	}
}
