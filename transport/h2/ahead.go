package h2

import (
	"errors"
	"sync/atomic"
	"time"
)

const (
	// stallTime is how long a stream may keep the connection's window nearly closed
	// for all others without being read, which is looked at every stallTick.
	stallTime = 10 * time.Second
	stallTick = time.Second
	// mostAhead is what one connection may take of a Budget, and partAhead how many
	// times what it has taken must be left: however many take all that they can get,
	// there is some for the next one.
	mostAhead = 8 << 20
	partAhead = 8
)

var errStalled = errors.New("h2: the stream was not read, and in the way of others")

// Budget is how many bytes may be held for streams that nobody reads, of any number of
// connections, without closing the connections' windows for the other streams.
type Budget struct{ left atomic.Int64 }

// NewBudget returns one of n bytes.
func NewBudget(n int64) *Budget {
	b := new(Budget)
	b.left.Store(n)
	return b
}

// has reports whether a connection that has taken n may take more.
func (b *Budget) has(n int64) bool {
	return b != nil && n < mostAhead && n < b.left.Load()/partAhead
}

func (b *Budget) take(n int) bool {
	if b.left.Add(-int64(n)) < 0 {
		b.left.Add(int64(n))
		return false
	}
	return true
}

func (b *Budget) give(n int) {
	if n > 0 {
		b.left.Add(int64(n))
	}
}

// paid is for how many of n bytes that were read or thrown away that was done; under
// s.mu.
func (s *Stream) paid(n int) int {
	k := min(n, s.ahead)
	s.ahead -= k
	if k > 0 && s.c.server != nil {
		s.c.server.ahead.Add(-int64(k))
		s.c.server.Ahead.give(k)
	}
	return k
}

// crowded opens the connection's window by what has come for streams that do not read it,
// for the others, as far as that may wait; else it watches those that are in the way. It
// is called when the window is half closed.
func (c *Conn) crowded() {
	quarter := c.in.most / 4
	switch w := c.in.window.Load(); {
	case w <= quarter/2, w <= quarter && c.server.looked > quarter:
	case w > c.server.looked-quarter/4:
		return // little has come since
	}
	c.mu.Lock()
	streams := make([]*Stream, 0, len(c.streams))
	for _, s := range c.streams {
		streams = append(streams, s)
	}
	c.mu.Unlock()
	sum := 0
	for _, s := range streams {
		s.mu.Lock()
		n := s.inbox.unread - s.ahead
		if n > 0 && c.server.Ahead.has(c.server.ahead.Load()) && c.server.Ahead.take(n) {
			c.server.ahead.Add(int64(n))
			s.ahead += n
			sum += n
		}
		s.mu.Unlock()
	}
	c.consumed(nil, 0, sum)
	c.server.looked = c.in.window.Load()
	if c.server.looked > quarter {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.watch == nil && c.err == nil {
		c.server.watch = time.AfterFunc(stallTick, c.unclog)
	}
}

// unclog resets streams that were not read for stallTime while the window is closed.
func (c *Conn) unclog() {
	now := c.now()
	c.mu.Lock()
	var stalled []*Stream
	if c.err == nil && c.in.window.Load() <= c.in.most/4 {
		for _, s := range c.streams {
			if s.in.window.Load() < s.in.most-s.in.used.Load() && now-s.moved.Load() > int64(stallTime) {
				stalled = append(stalled, s)
			}
		}
		c.server.watch.Reset(stallTick)
	} else {
		c.server.watch = nil
	}
	c.mu.Unlock()
	for _, s := range stalled {
		s.Fail(errStalled)
	}
}

// Fail resets s as Close does, for another than who has it: that one is told why, and
// closes it still.
func (s *Stream) Fail(why error) {
	s.c.reset(s, Cancel, why)
	s.mu.Lock()
	unread := 0
	if !s.inbox.closed {
		unread = s.forget(why)
	}
	s.mu.Unlock()
	s.c.consumed(nil, 0, unread)
}

// Held returns how many bytes have come that nobody has read, how many of them were set
// aside, and how many were read.
func (s *Stream) Held() (unread, aside int, read int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox.unread, s.ahead, s.inbox.taken
}

// SetAside opens the window of a client's connection by n more of the bytes that s holds:
// nobody reads them, and the other streams are not to wait for that. The window of s stays closed, which
// bounds the memory, together with how many streams this is done for.
func (s *Stream) SetAside(n int) {
	s.mu.Lock()
	n = min(n, s.inbox.unread-s.ahead)
	s.ahead += max(0, n)
	s.mu.Unlock()
	if n > 0 {
		s.c.in.used.Add(int64(n))
		s.c.tell(nil, s.c.in.renew(s.c.now()), 0)
	}
}
