package h2

import (
	"io"

	"golang.org/x/net/http/httpguts"
)

// Head is the head of the request that a server's stream is for. It is there for
// [Service.Handle] only, once: a stream that lasts would keep a kilobyte or two.
func (s *Stream) Head() *Head {
	h := s.head
	s.head = nil
	return h
}

// Answer begins the answer; end says that nothing follows it. The fields go out in
// their order.
func (s *Stream) Answer(status int, fields []Field, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if err := s.refusal(); err != nil {
		return err
	}
	if s.sent {
		return io.ErrClosedPipe
	}
	c.appendAnswer(s.id, status, fields, end)
	s.answered = true
	if end {
		c.ended(s)
	}
	c.flush()
	return nil
}

// Trail ends the answer with fields behind its body.
func (s *Stream) Trail(fields []Field) error { return s.Answer(0, fields, true) }

// Ended reports whether the request is here to its end: in [Service.Handle], whether it has
// no body.
func (s *Stream) Ended() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.ended
}

// Finish ends the answer, and the request if it goes on. A client that takes nothing
// sees a reset instead.
func (s *Stream) Finish() error {
	s.c.mu.Lock()
	if s.answered && !s.sending && !s.sent && s.refused == nil && s.c.err == nil {
		o := s.c.append()
		o.b = appendHeader(o.b, frameHeader{0, frameData, flagEnd, s.id})
		s.c.ended(s)
		s.c.flush()
	}
	s.c.mu.Unlock()
	return s.Close()
}

// Lost reports whether the stream has failed, for who neither reads nor writes.
func (s *Stream) Lost() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.refused != nil && !s.sent
}

// OnLost has f called, once, when the stream has failed or was closed. f must not wait.
func (s *Stream) OnLost(f func()) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.refused != nil {
		f()
		return
	}
	s.lost = f
}

// Notify implements [transport.Notifier].
func (s *Stream) Notify(f func()) { s.NotifyAt(1, f) }

// NotifyAt calls f once, in a goroutine of its own, when there are n bytes to read, or no
// more will be, or the read deadline has passed.
func (s *Stream) NotifyAt(n int, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify, s.least = f, n
	s.tell()
}

// tell wakes who waits to read; under mu.
func (s *Stream) tell() {
	s.readable.Broadcast()
	if f := s.notify; f != nil && (s.inbox.unread >= s.least || s.inbox.end != nil || s.reads.passed()) {
		s.notify = nil
		go f()
	}
}

// headOf takes the head of a request apart, or says what is wrong with it (RFC 9113,
// Section 8.3.1).
func headOf(fields []Field) (h Head, what string) {
	n := 0
	for ; n < len(fields) && len(fields[n].Name) > 0 && fields[n].Name[0] == ':'; n++ {
		var p *string
		switch fields[n].Name {
		case ":method":
			p = &h.Method
		case ":scheme":
			p = &h.Scheme
		case ":authority":
			p = &h.Authority
		case ":path":
			p = &h.Path
		default:
			return h, "a pseudo-header field that requests do not have"
		}
		if *p != "" {
			return h, "a pseudo-header field that is there twice"
		}
		*p = fields[n].Value
	}
	if h.Method == "" || h.Scheme == "" || h.Path == "" {
		return h, "a request without method, scheme or path"
	}
	h.Fields = fields[n:]
	for _, f := range h.Fields {
		if !isName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			return h, "a field of a request is none"
		}
	}
	return h, ""
}

// isName reports whether a request may have a field of this name (RFC 9113, Section 8.2).
func isName(s string) bool {
	switch s {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false
	}
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return false
		}
	}
	return httpguts.ValidHeaderFieldName(s)
}
