package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"relay/transport"
)

const (
	// writeTime is how long the connection may take no byte, and a write deadline
	// is set anew when less than that is left of it: setting one for each write
	// costs a tenth of a small one.
	writeTime  = 30 * time.Second
	writeSlack = 10 * time.Second
	// servedTime is writeTime at a server's end: a client is behind a slow line more
	// often than a server is, and 64 KiB are one write.
	servedTime = time.Minute
	// noPadding is a frame without the PADDED flag.
	noPadding = -1
	// gatherSize is what a server's write waits for more with, until all who can run
	// have run. What is longer costs more than its write.
	gatherSize = 4 << 10
)

// check refuses what would break the block for the peer.
func (h *Head) check() error {
	if h.Method == "" {
		return errors.New("h2: the head of the request has no method")
	}
	for i := range h.Fields {
		if n := h.Fields[i].Name; n == "" || n[0] == ':' {
			return fmt.Errorf("h2: %q is no name of a field", n)
		}
	}
	return nil
}

// size is as SETTINGS_MAX_HEADER_LIST_SIZE counts.
func (h *Head) size() uint64 {
	n := len(h.Method) + len(h.Scheme) + len(h.Authority) + len(h.Path) + 4*fieldCost + 31
	for i := range h.Fields {
		n += len(h.Fields[i].Name) + len(h.Fields[i].Value) + fieldCost
	}
	return uint64(n)
}

func (h *Head) pseudo(name string) string {
	switch name {
	case ":method":
		return h.Method
	case ":authority":
		return h.Authority
	case ":scheme":
		return h.Scheme
	case ":path":
		return h.Path
	}
	return ""
}

// append returns what the next write takes; under mu.
func (c *Conn) append() *buffer {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	return c.out
}

// appendHead encodes a request; under mu: the peer decodes in the same order.
func (c *Conn) appendHead(id uint32, head Head, end bool) {
	o := c.append()
	start := len(o.b)
	h := frameHeader{kind: frameHeaders, stream: id}
	if end {
		h.flags |= flagEnd
	}
	o.b = appendHeader(o.b, h)
	if p := c.f.Priority; p != nil {
		h.flags |= flagPriority
		o.b = c.appendPriority(o.b, p, head.weight(p))
	}
	o.b = c.encoder.begin(o.b)
	order := c.f.Pseudo
	if order == nil {
		order = chromePseudo
	}
	for _, name := range order {
		if v := head.pseudo(name); v != "" {
			o.b = c.encoder.field(o.b, Field{name, v}, false)
		}
	}
	for _, f := range head.Fields {
		o.b = c.encoder.field(o.b, f, false)
	}
	o.b = split(o.b, start, h)
	c.earned.Add(1)
	c.asked.Store(c.now())
}

// fleeting are the fields of answers whose values hardly come twice.
var fleeting = map[string]bool{"x-padding": true, "content-length": true, "date": true, "etag": true, "last-modified": true}

// appendAnswer encodes the head of an answer, or with status 0 what is behind it; under mu.
func (c *Conn) appendAnswer(id uint32, status int, fields []Field, end bool) {
	o := c.append()
	start := len(o.b)
	h := frameHeader{kind: frameHeaders, stream: id}
	if end {
		h.flags |= flagEnd
	}
	o.b = c.encoder.begin(appendHeader(o.b, h))
	if status > 0 {
		o.b = c.encoder.field(o.b, Field{":status", strconv.Itoa(status)}, true)
	}
	for _, f := range fields {
		o.b = c.encoder.field(o.b, f, fleeting[f.Name])
	}
	o.b = split(o.b, start, h)
	c.earned.Add(1)
}

// appendPing asks for an answer; under mu.
func (c *Conn) appendPing() (id uint64, answer chan struct{}) {
	id, answer = c.ping, make(chan struct{})
	c.ping += 2 // as Chrome counts
	if c.pings == nil {
		c.pings = make(map[uint64]chan struct{})
	}
	c.pings[id] = answer
	o := c.append()
	o.b = appendHeader(o.b, frameHeader{8, framePing, 0, 0})
	o.b = binary.BigEndian.AppendUint64(o.b, id)
	return id, answer
}

// appendPriority is RFC 7540, Section 6.2.
func (c *Conn) appendPriority(b []byte, p *Priority, weight uint8) []byte {
	on := p.DependsOn
	if p.Chain {
		last := uint32(0)
		for id := range c.streams {
			last = max(last, id)
		}
		if last > 0 {
			on = last
		}
	}
	if p.Exclusive {
		on |= 1 << 31
	}
	return append(binary.BigEndian.AppendUint32(b, on), weight)
}

// split makes frames of a block that was appended behind one header, none longer
// than every peer takes.
func split(b []byte, start int, h frameHeader) []byte {
	for {
		rest := len(b) - start - headerSize
		if rest <= defaultFrame {
			h.flags |= flagEndHeaders
			h.length = rest
			appendHeader(b[:start], h)
			return b
		}
		h.length = defaultFrame
		appendHeader(b[:start], h)
		start += headerSize + defaultFrame
		h = frameHeader{kind: frameContinuation, stream: h.stream}
		b = slices.Insert(b, start, make([]byte, headerSize)...)
	}
}

// turns is who has something to send, in turn.
type turns struct{ first, last *Stream }

func (q *turns) push(s *Stream) {
	if q.first == nil {
		q.first = s
	} else {
		q.last.after = s
	}
	q.last = s
}

func (q *turns) pop() *Stream {
	s := q.first
	q.first, s.after = s.after, nil
	return s
}

// offer gives s its turn, if its window has room; under mu.
func (c *Conn) offer(s *Stream) {
	if s.due && s.refused == nil && !s.queued && s.window > 0 {
		s.queued = true
		c.ready.push(s)
	}
}

// fill takes frames from those whose turn it is, one from each, while the windows
// and the buffer have room; under mu.
func (c *Conn) fill() {
	for s := c.ready.first; s != nil && c.window > 0; s = c.ready.first {
		if s.due && s.refused == nil {
			room := outSize - headerSize
			if c.out != nil {
				room -= len(c.out.b)
			}
			if room < min(len(s.pending)+s.padding+1, c.frame) {
				return // only windows cut a frame short
			}
			c.appendData(s)
		}
		c.ready.pop().queued = false
		c.offer(s)
	}
}

// wake has the first one whose turn it is write, if nobody does; under mu.
func (c *Conn) wake() {
	if c.writing || c.window <= 0 {
		return
	}
	for s := c.ready.first; s != nil; s = c.ready.first {
		if s.due && s.refused == nil {
			s.writable.Broadcast()
			return
		}
		c.ready.pop().queued = false
	}
}

// appendData appends one frame of s, and ends s.due with the last one; under mu.
func (c *Conn) appendData(s *Stream) {
	limit := int(min(int64(c.frame), s.window, c.window))
	n, padding := min(len(s.pending), limit), 0
	h := frameHeader{kind: frameData, stream: s.id}
	if s.padding != noPadding && limit > 1 {
		// What does not fit is left out: padding must not hold up the bytes.
		padding = 1 + min(s.padding, limit-2)
		n = min(n, limit-padding)
		h.flags |= flagPadded
	}
	h.length = n + padding
	if n == len(s.pending) {
		s.due = false
		if s.last {
			h.flags |= flagEnd
			c.ended(s)
		}
	}
	o := c.append()
	o.b = appendHeader(o.b, h)
	if padding > 0 {
		o.b = append(o.b, byte(padding-1))
	}
	o.b = append(o.b, s.pending[:n]...)
	if padding > 1 {
		o.b = append(o.b, zeros[:padding-1]...)
	}
	s.pending = s.pending[n:]
	s.window -= int64(h.length)
	c.window -= int64(h.length)
	c.earned.Add(1)
	if !s.due {
		s.pending = nil
		s.writable.Broadcast()
	}
}

var zeros [255]byte

// flush has somebody write what is there, who is not the caller; under mu. It is for
// those who must not wait for the connection: the reader above all, as a peer may read
// again only when it has been read.
func (c *Conn) flush() {
	if !c.writing && c.started && c.err == nil && c.out != nil {
		c.writing = true
		go c.drainOn()
	}
}

func (c *Conn) drainOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gather()
	c.drain(nil)
}

// gather lets those who have something to send put it behind what is there: a write
// costs more than they do. Under mu.
func (c *Conn) gather() {
	if c.server == nil || c.out == nil || len(c.out.b) > gatherSize {
		return // a browser's frames are a record each
	}
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
}

// drain writes what there is; under mu, which it gives up meanwhile, and with writing
// set. A stream's goroutine leaves when its own bytes are written: others could keep
// it for ever.
func (c *Conn) drain(own *Stream) {
	for c.err == nil && c.out != nil {
		o, opening := c.out, c.opening
		c.out, c.opening = nil, 0
		c.mu.Unlock()
		err := c.put(o.b, opening)
		o.free()
		c.mu.Lock()
		if err != nil {
			c.mu.Unlock()
			c.fail(fmt.Errorf("h2: write: %w", err))
			c.mu.Lock()
			break
		}
		c.drained.Broadcast()
		c.fill()
		if own != nil && !own.due && c.out != nil {
			go c.drainOn()
			return
		}
	}
	c.writing = false
	if broken := c.broken; broken != nil {
		c.mu.Unlock()
		c.fail(broken)
		c.mu.Lock()
	}
}

// put writes b, which begins with so many bytes that open the connection.
func (c *Conn) put(b []byte, opening int) error {
	most := writeTime
	if c.server != nil {
		most = servedTime
	}
	if now := c.now(); c.limit-now < int64(most) {
		c.limit = now + int64(most+writeSlack)
		if err := c.conn.SetWriteDeadline(c.born.Add(time.Duration(c.limit))); err != nil {
			return err
		}
	}
	if !c.f.Apart {
		_, err := c.conn.Write(b)
		return err
	}
	h, ok := c.conn.(transport.Holder)
	// What opens the connection goes as the browser sends it, and one frame is one
	// write in any case.
	if !ok || opening > 0 || len(b) == headerSize+parseHeader(b).length {
		return c.putApart(b, opening)
	}
	h.Hold()
	err := c.putApart(b, opening)
	if e := h.Release(); err == nil {
		err = e
	}
	return err
}

func (c *Conn) putApart(b []byte, opening int) error {
	for n := opening; len(b) > 0; n = 0 {
		if n == 0 {
			n = headerSize + parseHeader(b).length
		}
		if _, err := c.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
