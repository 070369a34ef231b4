package h2

import (
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

const (
	// mostBlock is the longest head of an answer.
	mostBlock = 256 << 10
	// mostSettings is how many may come at once: each can concern all streams.
	// golang.org/x/net's server takes as many.
	mostSettings = 100
)

// control handles any frame but DATA.
func (c *Conn) control(r *reader, h frameHeader, p []byte) error {
	switch h.kind {
	case frameHeaders:
		return c.readHeaders(r, h, p)
	case frameContinuation:
		if r.block.stream == 0 {
			return violation(ProtocolError, "CONTINUATION without a header block")
		}
		return c.readBlock(r, h, p)
	case frameReset:
		return c.readReset(h, p)
	case frameSettings:
		return c.readSettings(r, h, p)
	case framePing:
		return c.readPing(h, p)
	case frameGoAway:
		return c.readGoAway(h, p)
	case frameWindow:
		return c.readWindow(h, p)
	case framePush:
		return violation(ProtocolError, "a push, which SETTINGS refuse")
	case framePriority:
		if len(p) != 5 {
			return violation(FrameSizeError, "PRIORITY of another length than 5")
		}
	}
	return nil // unknown frames are ignored (Section 5.5)
}

// readHeaders begins a block (RFC 9113, Section 6.2).
func (c *Conn) readHeaders(r *reader, h frameHeader, p []byte) error {
	fresh := c.server != nil && h.stream >= c.next && h.stream%2 == 1
	if fresh {
		c.makeRoom()
		c.mu.Lock()
		c.next = h.stream + 2
		c.mu.Unlock()
	} else if _, err := c.lookup(h.stream); err != nil {
		return err
	}
	p, err := blockOf(h, p)
	if err != nil {
		return err
	}
	r.block = block{stream: h.stream, fresh: fresh, end: h.has(flagEnd)}
	return c.readBlock(r, h, p)
}

// readBlock decodes a piece of a block, also when nobody wants it: the table is one
// for all streams.
func (c *Conn) readBlock(r *reader, h frameHeader, p []byte) error {
	b := &r.block
	if b.size += len(p); b.size > r.limit {
		return violation(EnhanceYourCalm, "the head of an answer is longer than allowed")
	}
	if _, err := r.decoder.Write(p); err != nil {
		return violation(CompressionError, err.Error())
	}
	if b.decoded > r.limit {
		return violation(EnhanceYourCalm, "the head of an answer is longer than allowed")
	}
	if !h.has(flagEndHeaders) {
		return nil
	}
	if err := r.decoder.Close(); err != nil {
		return violation(CompressionError, err.Error())
	}
	done := *b
	*b = block{}
	if done.fresh {
		c.fresh(done)
		return nil
	}
	s, err := c.lookup(done.stream)
	if s == nil || err != nil {
		return err
	}
	return c.answer(s, done)
}

// field is called by the decoder.
func (r *reader) field(f hpack.HeaderField) {
	b := &r.block
	if b.decoded += len(f.Name) + len(f.Value) + fieldCost; b.decoded > r.limit {
		return
	}
	b.fields = append(b.fields, Field{f.Name, f.Value})
}

// answer takes a whole block: of an interim answer, of the answer, or behind it.
func (c *Conn) answer(s *Stream, b block) error {
	status, what := 0, ""
	early, ended := s.expects()
	if ended {
		return violation(StreamClosed, "a head behind the end of a stream")
	} else if early {
		status, what = statusOf(b)
	} else if !b.end {
		what = "a second head of an answer"
	} else if len(b.fields) > 0 && strings.HasPrefix(b.fields[0].Name, ":") {
		what = "a pseudo-header field behind the answer"
	}
	if what != "" {
		c.refuse(s, what)
		return nil
	}
	if b.end {
		c.received(s)
	}
	if status >= 200 || b.end {
		s.mu.Lock()
		if early {
			s.status, s.fields = status, b.fields[1:]
		}
		if b.end {
			s.inbox.finish(io.EOF)
		}
		s.tell()
		s.mu.Unlock()
	}
	return nil
}

// statusOf returns the status of an answer, or what is wrong with it (RFC 9113,
// Section 8.3.2).
func statusOf(b block) (status int, what string) {
	if len(b.fields) == 0 || b.fields[0].Name != ":status" {
		return 0, "the head of an answer does not begin with its status"
	}
	status, err := strconv.Atoi(b.fields[0].Value)
	if err != nil || len(b.fields[0].Value) != 3 || status < 100 || status == 101 {
		return 0, "the status of an answer is none"
	}
	if status < 200 && b.end {
		return 0, "an interim answer is the last"
	}
	for _, f := range b.fields[1:] {
		if f.Name == "" || f.Name[0] == ':' || strings.ToLower(f.Name) != f.Name {
			return 0, "the name of a field in an answer is none"
		}
	}
	return status, ""
}

// readReset is RFC 9113, Section 6.4. What has come stays readable.
func (c *Conn) readReset(h frameHeader, p []byte) error {
	s, err := c.lookup(h.stream)
	switch {
	case err != nil:
		return err
	case len(p) != 4:
		return violation(FrameSizeError, "RST_STREAM of another length than 4")
	case s == nil:
		return nil
	}
	reset := &ResetError{Code(binary.BigEndian.Uint32(p))}
	c.mu.Lock()
	s.stop(reset)
	c.remove(s)
	answered := c.server != nil && s.sent
	c.mu.Unlock()
	if answered {
		s.end(io.EOF) // so clients end a request whose answer they have
		return nil
	}
	s.end(reset)
	return nil
}

// readSettings is RFC 9113, Section 6.5.
func (c *Conn) readSettings(r *reader, h frameHeader, p []byte) error {
	switch {
	case h.stream != 0:
		return violation(ProtocolError, "SETTINGS for a stream")
	case h.has(flagAck) && len(p) > 0 || len(p)%6 != 0:
		return violation(FrameSizeError, "SETTINGS of a wrong length")
	case h.has(flagAck):
		return nil
	case len(p) > 6*mostSettings:
		return violation(EnhanceYourCalm, "more SETTINGS at once than there are")
	}
	r.peer = true
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(p) > 0; p = p[6:] {
		if err := c.set(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	o := c.append()
	o.b = appendHeader(o.b, frameHeader{0, frameSettings, flagAck, 0})
	c.flush()
	c.wake()
	return nil
}

// set takes one setting of the peer's; under mu.
func (c *Conn) set(id uint16, v uint32) error {
	switch id {
	case SettingHeaderTableSize:
		c.encoder.setLimit(int(min(v, mostTable)))
	case SettingEnablePush:
		if v > 1 || v == 1 && c.server == nil {
			return violation(ProtocolError, "a server cannot be pushed to")
		}
	case SettingMaxConcurrentStreams:
		c.most = int(min(v, mostStreams))
	case SettingInitialWindowSize:
		if v > mostWindow {
			return violation(FlowControlError, "a window is larger than windows can be")
		}
		more := int64(v) - c.initial
		c.initial = int64(v)
		for _, s := range c.streams {
			if s.window += more; s.window > mostWindow {
				return violation(FlowControlError, "a window is larger than windows can be")
			}
			c.offer(s)
		}
	case SettingMaxFrameSize:
		if v < defaultFrame || v > mostFrame {
			return violation(ProtocolError, "a length of frames that is not allowed")
		}
	case SettingMaxHeaderListSize:
		c.headerList = min(uint64(v), mostHead)
	}
	return nil
}

// readPing is RFC 9113, Section 6.7.
func (c *Conn) readPing(h frameHeader, p []byte) error {
	switch {
	case h.stream != 0:
		return violation(ProtocolError, "PING for a stream")
	case len(p) != 8:
		return violation(FrameSizeError, "PING of another length than 8")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.has(flagAck) {
		id := binary.BigEndian.Uint64(p)
		if answer := c.pings[id]; answer != nil {
			delete(c.pings, id)
			close(answer)
		}
		return nil
	}
	o := c.append()
	o.b = append(appendHeader(o.b, frameHeader{8, framePing, flagAck, 0}), p...)
	c.flush()
	return nil
}

// readGoAway is RFC 9113, Section 6.8.
func (c *Conn) readGoAway(h frameHeader, p []byte) error {
	switch {
	case h.stream != 0:
		return violation(ProtocolError, "GOAWAY for a stream")
	case len(p) < 8:
		return violation(FrameSizeError, "GOAWAY shorter than 8")
	}
	last, code := word(p), Code(binary.BigEndian.Uint32(p[4:]))
	var unseen []*Stream
	c.mu.Lock()
	c.away = &GoAwayError{code}
	for id, s := range c.streams {
		if id > last && c.server == nil { // a client means pushes
			unseen = append(unseen, s)
			delete(c.streams, id)
			s.stop(ErrUnprocessed)
		}
	}
	left := len(c.streams)
	c.mu.Unlock()
	for _, s := range unseen {
		s.end(ErrUnprocessed)
	}
	if left == 0 && c.server == nil {
		return &GoAwayError{code}
	} else if left == 0 {
		c.failSoon(&GoAwayError{code})
	}
	return nil
}

// readWindow is RFC 9113, Section 6.9.
func (c *Conn) readWindow(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return violation(FrameSizeError, "WINDOW_UPDATE of another length than 4")
	}
	n := int64(word(p))
	if n == 0 {
		return violation(ProtocolError, "WINDOW_UPDATE by nothing")
	}
	if h.stream == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.window += n; c.window > mostWindow {
			return violation(FlowControlError, "a window is larger than windows can be")
		}
		c.wake()
		return nil
	}
	s, err := c.lookup(h.stream)
	if s == nil || err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.window += n; s.window > mostWindow {
		return violation(FlowControlError, "a window is larger than windows can be")
	}
	c.offer(s)
	c.wake()
	return nil
}
