package vless

import (
	"io"
	"sync"

	"relay/transport"
)

// chunkSize is one read of a stream of frames.
const chunkSize = 16 << 10

// chunkBuffers holds *[]byte of chunkSize.
var chunkBuffers = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// chunks reads a stream of frames. It holds no buffer while it waits for the next
// one. It is for one goroutine.
type chunks struct {
	ready  *transport.Ready
	held   *[]byte
	unread []byte // in held
}

func newChunks(c transport.Conn) chunks { return chunks{ready: transport.NewReady(c)} }

// next waits until bytes are unread and returns all that are. They are valid until
// the next call.
func (c *chunks) next() ([]byte, error) {
	if len(c.unread) == 0 {
		b, n, err := c.ready.Read(&chunkBuffers)
		if n == 0 {
			return nil, err
		}
		c.held, c.unread = b, (*b)[:n]
	}
	return c.unread, nil
}

// take takes n unread bytes.
func (c *chunks) take(n int) {
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.release()
	}
}

func (c *chunks) release() {
	if c.held != nil {
		chunkBuffers.Put(c.held)
	}
	c.held, c.unread = nil, nil
}

// full fills b, as io.ReadFull does, and says how far it came.
func (c *chunks) full(b []byte) (n int, err error) {
	for n < len(b) {
		unread, err := c.next()
		if err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
		m := copy(b[n:], unread)
		c.take(m)
		n += m
	}
	return n, nil
}

// skip takes n bytes, and waits for them. The error of an ended stream is
// io.ErrUnexpectedEOF.
func (c *chunks) skip(n int) error {
	for n > 0 {
		unread, err := c.next()
		if err != nil {
			return broken(err)
		}
		m := min(n, len(unread))
		c.take(m)
		n -= m
	}
	return nil
}

// broken is the error of a stream that ends within a frame.
func broken(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
