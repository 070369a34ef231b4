package vless

import (
	"slices"
	"sync"
	"time"

	"relay/transport"
)

// block holds part of a queue.
type block struct {
	next *block
	b    [chunkSize]byte
}

// blocks holds *block.
var blocks = sync.Pool{New: func() any { return new(block) }}

// queue is what waits for whoever reads a session. Without bytes it holds no block.
type queue struct {
	first, last *block
	r, w        int // in first, and in last
	size        int
}

func (q *queue) add(b []byte) {
	q.size += len(b)
	for len(b) > 0 {
		if q.last == nil || q.w == chunkSize {
			k := blocks.Get().(*block)
			if q.last == nil {
				q.first = k
			} else {
				q.last.next = k
			}
			q.last, q.w = k, 0
		}
		n := copy(q.last.b[q.w:], b)
		q.w += n
		b = b[n:]
	}
}

// next is what the first block has.
func (q *queue) next() []byte {
	if q.first == q.last {
		return q.first.b[q.r:q.w]
	}
	return q.first.b[q.r:]
}

func (q *queue) read(b []byte) (n int) {
	for n < len(b) && q.size > 0 {
		m := copy(b[n:], q.next())
		q.skip(m)
		n += m
	}
	return n
}

// skip drops n bytes of those that there are.
func (q *queue) skip(n int) {
	for q.size -= n; n > 0; {
		left := len(q.next())
		if n < left {
			q.r += n
			return
		}
		n -= left
		k := q.first
		if q.first, q.r = k.next, 0; q.first == nil {
			q.last = nil
		}
		k.next = nil
		blocks.Put(k)
	}
}

// put queues bytes of a stream and returns how many; what nobody wants any more
// counts too. It waits for room, which holds up the whole stream, and gives the
// session up when that takes too long.
func (s *session) put(b []byte) int {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var look deadline
	defer look.stop()
	for began := (time.Time{}); ; s.wake.Wait() {
		switch {
		case s.closed, s.lost != nil, s.m.err != nil:
			return len(b)
		case s.roomy():
			return s.enqueue(b)
		}
		now := time.Now()
		if began.IsZero() {
			began = s.m.holds(now)
			s.m.full = s
		}
		until := s.patience(began)
		if !now.Before(until) {
			s.giveUp(errStalled)
			s.m.stalled = now
			return len(b)
		}
		s.m.assure(now)
		look.set(now.Add(min(aliveTime, until.Sub(now))), s.rouse)
	}
}

// holds is since when sessions hold up the stream that nobody takes anything of, one after
// the other: whoever waits behind several of them waits for the time of one; under mu.
func (m *mux) holds(now time.Time) time.Time {
	if now.Sub(m.stalled) > holdTime {
		m.since = now
	}
	return m.since
}

// roomy reports whether more may wait for whoever reads s; under mu.
func (s *session) roomy() bool {
	n := s.waits.size
	return n < s.m.limit || n < mostAhead && s.m.ahead.Load() < mostHeld
}

// patience is until when s may hold up its stream, if nobody takes anything of it
// meanwhile, as it does since began, or another before it; under mu.
func (s *session) patience(began time.Time) time.Time {
	stalled, held := s.moved.Add(stallTime), began.Add(holdTime)
	if s.moved.After(began) {
		held = s.moved.Add(holdTime)
	}
	if held.Before(stalled) {
		return held
	}
	return stalled
}

// putPacket queues a datagram, or drops it.
func (s *session) putPacket(b []byte, peer transport.Target) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed || s.lost != nil || !peer.IsValid() || len(s.heads)-s.first == queuePackets || s.waits.size+len(b) > queueSize {
		return
	}
	if len(s.heads) == cap(s.heads) {
		s.heads = slices.Delete(s.heads, 0, s.first)
		s.first = 0
	}
	s.heads = append(s.heads, head{s.enqueue(b), peer})
}

// enqueue adds to the queue, for which there is room; under mu.
func (s *session) enqueue(b []byte) int {
	if s.waits.size == 0 {
		s.moved = time.Now()
	}
	s.waits.add(b)
	s.m.ahead.Add(int64(len(b)))
	s.heard = true
	s.wake.Broadcast()
	return len(b)
}

// unqueue moves bytes from the queue to b; under mu.
func (s *session) unqueue(b []byte) int {
	n := s.waits.read(b)
	s.took(n)
	return n
}

// drop takes n bytes out of the queue; under mu.
func (s *session) drop(n int) {
	s.waits.skip(n)
	s.took(n)
}

// took says that n bytes have left the queue; under mu.
func (s *session) took(n int) {
	s.m.ahead.Add(-int64(n))
	s.moved = time.Now()
	if s.waits.size == 0 {
		s.heads, s.first = s.heads[:0], 0
	}
	s.wake.Broadcast()
}

// empty throws the queue away; under mu.
func (s *session) empty() { s.drop(s.waits.size) }
