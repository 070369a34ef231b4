package vless

import (
	"slices"
	"sync"
	"time"

	"relay/transport"
)

// put queues bytes of a stream and returns how many; what nobody wants any more
// counts too. It waits for room, which holds up the whole stream, and gives the
// session up when that takes too long.
func (s *session) put(b []byte) int {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var late deadline
	defer late.stop()
	for {
		switch {
		case s.closed, s.lost != nil, s.m.err != nil:
			return len(b)
		case s.w-s.r < s.m.limit:
			return s.queue(b)
		case late.passed():
			s.giveUp(errStalled)
			return len(b)
		case late.at.IsZero():
			late.set(time.Now().Add(stallTime), s.rouse)
		}
		s.wake.Wait()
	}
}

// putPacket queues a datagram, or drops it.
func (s *session) putPacket(b []byte, peer transport.Target) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed || s.lost != nil || !peer.IsValid() || len(s.heads)-s.first == queuePackets || s.w-s.r+len(b) > queueSize {
		return
	}
	if len(s.heads) == cap(s.heads) {
		s.heads = slices.Delete(s.heads, 0, s.first)
		s.first = 0
	}
	s.heads = append(s.heads, head{s.queue(b), peer})
}

// queue takes what there is room for; under mu.
func (s *session) queue(b []byte) int {
	if s.held == nil {
		s.held = queueBuffers.Get().(*[]byte)
	}
	if s.w+len(b) > len(*s.held) {
		s.makeRoom(s.w - s.r + len(b))
	}
	n := copy((*s.held)[s.w:], b)
	s.heard = true
	s.w += n
	s.wake.Broadcast()
	return n
}

// makeRoom makes room for n bytes in all, up to the limit; under mu.
func (s *session) makeRoom(n int) {
	old, size := s.held, len(*s.held)
	for size < min(n, s.m.limit) {
		size *= 2
	}
	if size > len(*old) {
		s.held = newQueue(size)
	}
	s.w = copy(*s.held, (*old)[s.r:s.w])
	s.r = 0
	if s.held != old {
		keepQueue(old)
	}
}

// largeQueues hold *[]byte of twice queueSize, of twice that, and so on: a download
// whose reader is slower than the stream grows one of each, again and again.
var largeQueues [3]sync.Pool

// newQueue returns a buffer of size bytes, which are queueSize some times doubled.
func newQueue(size int) *[]byte {
	for i := range largeQueues {
		if size == queueSize<<(i+1) {
			if b, ok := largeQueues[i].Get().(*[]byte); ok {
				return b
			}
		}
	}
	b := make([]byte, size)
	return &b
}

// keepQueue puts a buffer back.
func keepQueue(b *[]byte) {
	if len(*b) == queueSize {
		queueBuffers.Put(b)
		return
	}
	for i := range largeQueues {
		if len(*b) == queueSize<<(i+1) {
			largeQueues[i].Put(b)
		}
	}
}

// unqueue moves bytes from the queue to b; under mu.
func (s *session) unqueue(b []byte) int {
	n := copy(b, (*s.held)[s.r:s.w])
	s.drop(n)
	return n
}

// drop takes n bytes out of the queue; under mu.
func (s *session) drop(n int) {
	if s.r += n; s.r == s.w {
		s.empty()
	}
	s.wake.Broadcast()
}

// empty gives the queue's memory back; under mu.
func (s *session) empty() {
	if s.held != nil {
		keepQueue(s.held)
	}
	s.held, s.r, s.w = nil, 0, 0
	s.heads, s.first = s.heads[:0], 0
}
