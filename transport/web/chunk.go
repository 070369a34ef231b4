package web

import (
	"io"
	"sync"
	"sync/atomic"
)

const (
	chunkSize = 16 << 10
	// chunkCost is what a chunk takes beside its memory. Limits count what is taken:
	// a piece of a byte is a hundred times as much.
	chunkCost = 96
)

var chunks = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// chunk is memory with bytes in it, from the pool or not.
type chunk struct {
	b      []byte
	pooled *[]byte
	cost   int
}

func (c chunk) free() {
	if c.pooled != nil {
		chunks.Put(c.pooled)
	}
}

// readChunk reads once.
func readChunk(body io.Reader) (chunk, error) {
	b := chunks.Get().(*[]byte)
	n, err := body.Read(*b)
	return newChunk(*b, n, b), err
}

// newChunk keeps the first n bytes of b, which may be from the pool. Most pieces are
// small: what waits should not cost more than it is.
func newChunk(b []byte, n int, pooled *[]byte) chunk {
	if n > chunkSize/4 {
		return chunk{b: b[:n], pooled: pooled, cost: chunkSize + chunkCost}
	}
	var c chunk
	if n > 0 {
		c.b = append(c.b, b[:n]...)
		c.cost = cap(c.b) + chunkCost
	}
	if pooled != nil {
		chunks.Put(pooled)
	}
	return c
}

// line is chunks in order, whose cost is in what all lines hold.
type line struct {
	chunks []chunk
	cost   int
}

func (l *line) empty() bool { return len(l.chunks) == 0 }

// add does not change what is held.
func (l *line) add(c chunk) {
	if len(c.b) > 0 {
		l.cost += c.cost
		l.chunks = append(l.chunks, c)
	}
}

// read moves bytes from the line to b.
func (l *line) read(b []byte, held *atomic.Int64) (n int) {
	for n < len(b) && len(l.chunks) > 0 {
		c := &l.chunks[0]
		m := copy(b[n:], c.b)
		n += m
		if c.b = c.b[m:]; len(c.b) > 0 {
			break
		}
		c.free()
		l.cost -= c.cost
		held.Add(-int64(c.cost))
		if l.chunks = l.chunks[1:]; len(l.chunks) == 0 {
			l.chunks = nil
		}
	}
	return n
}

// drop frees all that nobody will read.
func (l *line) drop(held *atomic.Int64) {
	for _, c := range l.chunks {
		c.free()
	}
	held.Add(-int64(l.cost))
	l.chunks, l.cost = nil, 0
}
