package h2

import (
	"io"
	"sync"
)

// chunk holds bytes that nobody has read yet: b[r:w].
type chunk struct {
	next *chunk
	r, w int
	b    []byte
}

const (
	// smallChunk is for what comes in small frames, largeChunk for a full frame with
	// the header of the next.
	smallChunk = 2 << 10
	largeChunk = 18 << 10
)

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, largeChunk)} }}
)

func newChunk(n int) *chunk {
	if n <= smallChunk-headerSize {
		return smallChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (k *chunk) free() {
	k.next, k.r, k.w = nil, 0, 0
	if len(k.b) == smallChunk {
		smallChunks.Put(k)
		return
	}
	largeChunks.Put(k)
}

// inbox is what has come for a stream. Its memory is at most about twice what the
// window allows: a chunk is left for the next while it is less than half full.
type inbox struct {
	first, last *chunk
	unread      int
	taken       int64  // bytes that were read
	filling     *chunk // the last one, while the reader of the connection has it
	end         error  // what follows the bytes; nil: more bytes
	closed      bool
	why         error // it is closed
}

// space returns a chunk with room for the next of n bytes, or nil if they are not
// wanted any more.
func (q *inbox) space(n int) *chunk {
	if q.closed || q.end != nil {
		return nil
	}
	k := q.last
	if k == nil || len(k.b)-k.w < n && len(k.b)-k.w < len(k.b)/2 {
		k = newChunk(n)
		if q.last == nil {
			q.first = k
		} else {
			q.last.next = k
		}
		q.last = k
	}
	q.filling = k
	return k
}

// took ends what space has begun: n bytes are there. It returns how many of them are
// not wanted.
func (q *inbox) took(k *chunk, n int) (unwanted int) {
	q.filling = nil
	if q.closed {
		k.free()
		return n
	}
	q.unread += n
	if k.w += n; k.r == k.w && k == q.first {
		q.drop(k)
	}
	return 0
}

// drop lets go of the first chunk, which has been read.
func (q *inbox) drop(k *chunk) {
	if q.first = k.next; q.first == nil {
		q.last = nil
	}
	k.free()
}

// empty reports whether there are no bytes.
func (q *inbox) empty() bool { return q.first == nil || q.first.r == q.first.w }

// read copies what fits.
func (q *inbox) read(b []byte) (n int) {
	for n < len(b) && !q.empty() {
		k := q.first
		m := copy(b[n:], k.b[k.r:k.w])
		n += m
		q.unread -= m
		q.taken += int64(m)
		if k.r += m; k.r == k.w && k != q.filling {
			q.drop(k)
		}
	}
	return n
}

// finish says what follows the bytes; the first reason stands.
func (q *inbox) finish(err error) {
	if q.end == nil {
		q.end = err
	}
}

// close forgets all there is, and returns how much that was.
func (q *inbox) close(why error) (unread int) {
	q.closed, q.why = true, why
	unread, q.unread = q.unread, 0
	for k := q.first; k != nil; {
		next := k.next
		if k != q.filling {
			k.free()
		}
		k = next
	}
	q.first, q.last = nil, nil
	q.finish(io.ErrClosedPipe)
	return unread
}
