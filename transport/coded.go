package transport

import (
	"io"
	"sync"
)

const (
	// codedRead is one read from the wire.
	codedRead = 16 << 10
	// codedWrite is how much payload one write encodes: with the longest header that
	// a WebSocket has for it, it fills one TLS record, and no second one.
	codedWrite = codedRead - 8
)

// wireBuffers and codedBuffers hold *[]byte: for a read, and for what a codec
// makes of one. That can be more than was read: a record that began before.
var (
	wireBuffers  = sync.Pool{New: func() any { b := make([]byte, codedRead); return &b }}
	codedBuffers = sync.Pool{New: func() any { b := make([]byte, 2*codedRead+codedRead/8); return &b }}
)

// Coded is a Conn whose bytes go through a [Codec]. It holds a buffer only
// while decoded bytes are unread. One goroutine may read while another writes.
type Coded struct {
	Conn
	codec   Codec
	replier Replier // nil: the codec never replies
	ready   *Ready

	unread []byte // in held
	held   *[]byte
	rerr   error // how the payload ended

	writing sync.Mutex
	ended   bool // the codec has said its End; under writing
}

// NewCoded returns the Conn that codec makes of below.
func NewCoded(below Conn, codec Codec) *Coded {
	c := &Coded{Conn: below, codec: codec}
	c.replier, _ = codec.(Replier)
	return c
}

// Read implements net.Conn.
func (c *Coded) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := c.fill(); err != nil {
		return 0, err
	}
	n := copy(b, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.release()
	}
	return n, nil
}

// WaitRead implements [ReadWaiter].
func (c *Coded) WaitRead() error {
	if err := c.fill(); err != io.EOF {
		return err
	}
	return nil
}

// fill waits until payload is unread.
func (c *Coded) fill() error {
	for len(c.unread) == 0 {
		if c.rerr != nil {
			return c.rerr
		}
		if err := c.decode(); err != nil {
			return err
		}
	}
	return nil
}

// decode reads once from the wire. The error is that of the connection below;
// how the payload ends is kept in rerr.
func (c *Coded) decode() error {
	if c.ready == nil {
		c.ready = NewReady(c.Conn)
		// The codec may have been in use before.
		if err := c.reply(); err != nil {
			return err
		}
	}
	wire, n, err := c.ready.Read(&wireBuffers)
	if n == 0 {
		if err == io.EOF {
			if c.rerr = c.codec.Ended(); c.rerr == nil {
				c.rerr = io.EOF
			}
			return nil
		}
		return err
	}
	c.held = codedBuffers.Get().(*[]byte)
	c.unread, c.rerr = c.codec.Decode((*c.held)[:0], (*wire)[:n])
	wireBuffers.Put(wire)
	if len(c.unread) == 0 {
		c.release()
	}
	return c.reply()
}

func (c *Coded) reply() error {
	if c.replier == nil || !c.replier.ReplyDue() {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.ended {
		return nil
	}
	b := codedBuffers.Get().(*[]byte)
	defer codedBuffers.Put(b)
	if wire := c.replier.Reply((*b)[:0]); len(wire) > 0 {
		_, err := c.Conn.Write(wire)
		return err
	}
	return nil
}

func (c *Coded) release() {
	if c.held != nil {
		codedBuffers.Put(c.held)
	}
	c.held, c.unread = nil, nil
}

// Write implements net.Conn.
func (c *Coded) Write(b []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if PassesOut(c.codec) {
		return c.Conn.Write(b)
	}
	buf := codedBuffers.Get().(*[]byte)
	defer codedBuffers.Put(buf)
	if h, ok := c.Conn.(Holder); ok && len(b) > codedWrite {
		h.Hold()
		defer func() {
			if e := h.Release(); err == nil {
				err = e
			}
		}()
	}
	for len(b) > 0 {
		part := b[:min(len(b), codedWrite)]
		wire, err := c.codec.Encode((*buf)[:0], part)
		if err == nil {
			_, err = c.Conn.Write(wire)
		}
		if err != nil {
			return n, err
		}
		n += len(part)
		b = b[len(part):]
	}
	return n, nil
}

// CloseWrite implements [Conn].
func (c *Coded) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	if wire := c.codec.End(nil); len(wire) > 0 {
		if _, err := c.Conn.Write(wire); err != nil {
			return err
		}
	}
	return c.Conn.CloseWrite()
}

// Detach implements [Detachable]. It does not let go once the payload has ended:
// a codec says so only once, and has said it here.
func (c *Coded) Detach() (below Conn, codec Codec, unread []byte) {
	if c.rerr != nil {
		return c, nil, nil
	}
	if len(c.unread) > 0 {
		unread = append(unread, c.unread...)
	}
	c.release()
	return c.Conn, c.codec, unread
}

// Below returns the wrapped connection.
func (c *Coded) Below() Conn { return c.Conn }
