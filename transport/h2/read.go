package h2

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/http2/hpack"
)

const (
	// mostIdle is how many frames that bring nothing may come at once, and
	// idleRate how many in a second for ever: pings, settings, windows, resets,
	// empty frames and unknown ones. What the streams carry earns more.
	mostIdle = 2000
	idleRate = 500
	// earnedByFrame is for a request or a DATA frame of ours: that is answered with
	// windows, by Go's server with two for each 4 KiB.
	earnedByFrame = 32
	// earnedBySize is how many bytes of the peer's earn one.
	earnedBySize = 1 << 10
	// shortRest of a frame is waited for before whoever reads is woken. Go's server
	// makes a record of a frame's last 9 bytes, and waking costs more than they do.
	shortRest = 1 << 10
	// mostReads may bring nothing in a row.
	mostReads = 100
)

// reader is the state of the goroutine that reads.
type reader struct {
	header [headerSize]byte
	have   int // bytes of header
	budget int64
	since  int64 // when budget was made, since the connection began
	peer   bool  // its first SETTINGS have come

	decoder *hpack.Decoder
	block   block
	limit   int // of a block, either way of counting
	frame   int // the longest of the peer's
}

// block is a header block that is coming.
type block struct {
	stream  uint32 // 0: there is none
	fresh   bool   // a request, of a stream that was not there
	end     bool   // END_STREAM
	size    int    // encoded
	decoded int
	fields  []Field
}

func violation(code Code, what string) error { return &ViolationError{code, what} }

// newReader returns what reads with these limits of SETTINGS.
func (c *Conn) newReader(d *hpack.Decoder, list, frame uint32) *reader {
	r := &reader{budget: mostIdle, limit: int(min(list, mostBlock)), frame: int(min(frame, mostFrame)), decoder: d}
	d.SetMaxStringLength(r.limit)
	d.SetEmitFunc(r.field)
	return r
}

// readAll reads until the connection ends, or does not if err says that it has to.
func (c *Conn) readAll(r *reader, err error) {
	for err == nil {
		err = c.readFrame(r)
	}
	switch v := err.(type) {
	case *ViolationError:
		c.leave(v)
		return
	case *GoAwayError:
	default:
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // to a stream, which has not ended in order
		}
		err = fmt.Errorf("h2: read: %w", err)
	}
	c.fail(err)
}

// readFrame waits without a buffer for the header of a frame, and handles it.
func (c *Conn) readFrame(r *reader) error {
	for r.have < headerSize {
		n, err := c.readSome(r.header[r.have:])
		if r.have += n; err != nil {
			return err
		}
	}
	r.have = 0
	h := parseHeader(r.header[:])
	switch {
	case h.length > r.frame:
		return violation(FrameSizeError, "a frame is longer than allowed")
	case !r.peer && (h.kind != frameSettings || h.has(flagAck)):
		return violation(ProtocolError, "the first frame is not SETTINGS")
	case r.block.stream != 0 && (h.kind != frameContinuation || h.stream != r.block.stream):
		return violation(ProtocolError, "a header block was interrupted")
	case h.kind == frameData:
		return c.readData(r, h)
	}
	// DATA have windows; of the rest no server sends as much in one frame.
	if h.length > defaultFrame {
		return violation(FrameSizeError, "a frame is longer than allowed")
	}
	if err := c.charge(r); err != nil {
		return err
	}
	if h.length == 0 {
		return c.control(r, h, nil)
	}
	k := newChunk(h.length)
	defer k.free()
	p := k.b[:h.length]
	if err := c.readFull(p); err != nil {
		return err
	}
	return c.control(r, h, p)
}

// readSome reads what there is, and at least a byte if err is nil.
func (c *Conn) readSome(b []byte) (int, error) {
	for range mostReads {
		n, err := c.conn.Read(b)
		if n > 0 {
			c.heard.Store(c.now())
			c.total.Add(int64(n))
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

func (c *Conn) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := c.readSome(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// discard reads n bytes that nobody wants.
func (c *Conn) discard(n int) error {
	if n == 0 {
		return nil
	}
	k := newChunk(n)
	defer k.free()
	for n > 0 {
		m, err := c.readSome(k.b[:min(n, len(k.b))])
		if err != nil {
			return err
		}
		n -= m
	}
	return nil
}

// charge counts a frame that brings nothing by itself.
func (c *Conn) charge(r *reader) error {
	if r.budget--; r.budget >= 0 {
		return nil
	}
	now := c.now()
	r.budget += c.earned.Swap(0)*earnedByFrame + (now-r.since)*idleRate/1e9
	r.budget = min(r.budget, mostIdle)
	r.since = now
	if r.budget < 0 {
		return violation(EnhanceYourCalm, "too many frames that bring nothing")
	}
	return nil
}

// lookup returns a stream, or nil if it is closed.
func (c *Conn) lookup(id uint32) (*Stream, error) {
	if id == 0 {
		return nil, violation(ProtocolError, "a frame that needs a stream has none")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id%2 == 0 || id >= c.next {
		return nil, violation(ProtocolError, "a frame is for a stream that was not opened")
	}
	return c.streams[id], nil
}

// readData is RFC 9113, Section 6.1.
func (c *Conn) readData(r *reader, h frameHeader) error {
	s, err := c.lookup(h.stream)
	if err != nil {
		return err
	}
	if !c.in.spend(h.length) {
		return violation(FlowControlError, "more bytes than the window of the connection")
	}
	if s == nil {
		if c.stray.Add(-int64(h.length)) < 0 {
			return violation(StreamClosed, "bytes for a stream that has ended")
		}
	} else if !s.in.spend(h.length) {
		return violation(FlowControlError, "more bytes than the window of a stream")
	}
	n, padding, err := c.readPadding(h)
	if err != nil {
		return err
	}
	if n == 0 && !(h.has(flagEnd) && s != nil) {
		if err := c.charge(r); err != nil {
			return err
		}
	}
	r.budget = min(r.budget+int64(n/earnedBySize), mostIdle)
	if s == nil {
		c.consumed(nil, 0, h.length)
		return c.discard(h.length - padding.read)
	}
	switch early, ended := s.expects(); {
	case ended:
		return violation(StreamClosed, "bytes behind the end of a stream")
	case early:
		c.refuse(s, "bytes before the head of the answer")
	}
	end := h.has(flagEnd)
	if err := c.deliver(r, s, n, padding.left == 0, end); err != nil {
		return err
	}
	if err := c.discard(padding.left); err != nil {
		return err
	}
	c.consumed(s, h.length-n, h.length-n)
	if end {
		c.received(s)
		s.end(io.EOF)
	}
	return nil
}

// padding of a DATA frame: what was read of it, and what was not.
type padding struct{ read, left int }

// readPadding returns how many bytes of a frame are no padding.
func (c *Conn) readPadding(h frameHeader) (n int, p padding, err error) {
	if !h.has(flagPadded) {
		return h.length, p, nil
	}
	var b [1]byte
	if h.length == 0 {
		return 0, p, violation(FrameSizeError, "a padded frame is empty")
	}
	if err := c.readFull(b[:]); err != nil {
		return 0, p, err
	}
	p = padding{1, int(b[0])}
	if n = h.length - 1 - p.left; n < 0 {
		return 0, p, violation(ProtocolError, "more padding than frame")
	}
	return n, p, nil
}

// deliver reads n bytes for s, each straight to where Read takes it from, and the
// header of the next frame with the last ones: one read is one frame where frames
// come one after the other.
func (c *Conn) deliver(r *reader, s *Stream, n int, ahead, end bool) error {
	for n > 0 {
		s.mu.Lock()
		k := s.inbox.space(n)
		s.mu.Unlock()
		if k == nil {
			c.consumed(nil, 0, n)
			return c.discard(n)
		}
		b := k.b[k.w:]
		want := min(n, len(b))
		more := 0
		if want == n && ahead {
			more = min(headerSize, len(b)-n)
		}
		m, err := c.readSome(b[:want+more])
		if m > want {
			r.have = copy(r.header[:], b[want:m])
			m = want
		}
		n -= m
		last := end && n == 0
		if last {
			c.received(s)
		}
		s.mu.Lock()
		if s.inbox.empty() {
			s.moved.Store(c.heard.Load())
		}
		unwanted := s.inbox.took(k, m)
		if last {
			s.inbox.finish(io.EOF)
		}
		if n == 0 || n > shortRest {
			s.tell()
		}
		s.mu.Unlock()
		c.consumed(nil, 0, unwanted)
		if c.server != nil && c.in.window.Load() < c.in.most/2 {
			c.crowded()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expects reports whether the head of the answer is still to come, and whether
// nothing is.
func (s *Stream) expects() (early, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status == 0, s.inbox.end != nil && !s.inbox.closed
}

// received is called at END_STREAM, before the stream's reader is told: it may open
// the next one at once.
func (c *Conn) received(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.ended = true
	if s.sent {
		c.remove(s)
	}
}

// ended is called when our END_STREAM is written; under mu.
func (c *Conn) ended(s *Stream) {
	s.sent = true
	if s.ended {
		c.remove(s)
	}
}

// remove forgets a stream; under mu. After GOAWAY the last one ends the connection.
func (c *Conn) remove(s *Stream) {
	delete(c.streams, s.id)
	switch {
	case len(c.streams) > 0 || c.err != nil:
	case c.away != nil && c.server != nil:
		c.failSoon(c.away) // the last answer may not be written yet
	case c.away != nil:
		go c.fail(c.away)
	case c.server == nil:
	case c.server.bye:
		c.failSoon(net.ErrClosed)
	case c.server.idle != nil:
		c.server.idle.Reset(c.server.Idle)
	}
}

// reset ends a stream from our side, if it has not ended. err is for its writes.
func (c *Conn) reset(s *Stream, code Code, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.stop(err)
	if c.err != nil || c.streams[s.id] != s {
		return
	}
	c.stray.Add(max(0, s.in.window.Load()))
	if c.server != nil && s.sent {
		code = NoError // RFC 9113, Section 8.1
	}
	o := c.append()
	o.b = appendWord(o.b, frameReset, s.id, uint32(code))
	c.flush()
	c.remove(s)
}

// refuse ends a stream whose peer has broken the protocol.
func (c *Conn) refuse(s *Stream, what string) {
	err := violation(ProtocolError, what)
	c.reset(s, ProtocolError, err)
	s.end(err)
}

// word is a payload of one number.
func word(p []byte) uint32 { return binary.BigEndian.Uint32(p) & mostID }
