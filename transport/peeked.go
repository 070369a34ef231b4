package transport

import (
	"fmt"
	"io"
	"sync"
)

// MaxPeek bounds what Peeked keeps of a connection whose owner is not known yet.
const MaxPeek = 16 << 10

// peekSize is the first buffer of a Peeked: every messenger's SOCKS5 opening, most
// HTTP ones and a browser's TLS hello fit.
const peekSize = 2 << 10

var peekBuffers = sync.Pool{New: func() any { b := make([]byte, peekSize); return &b }}

// Peeked is a Conn whose first bytes can be looked at and stay unread. It
// holds no buffer before the first byte arrives. It is for one goroutine.
type Peeked struct {
	Conn
	buf    []byte // from peekBuffers, or larger
	pooled *[]byte
	r, w   int
	ready  *Ready

	taken int     // bytes that are not unread any more
	ends  []int32 // of reads that others followed, from the beginning of the stream
	full  bool    // the last read may have left bytes behind
}

// mostReads is how many reads a Peeked tells apart.
const mostReads = 32

// NewPeeked wraps c.
func NewPeeked(c Conn) *Peeked { return &Peeked{Conn: c} }

// Unread returns the bytes read from the connection but not yet taken. They
// are valid until the next call of any method.
func (p *Peeked) Unread() []byte { return p.buf[p.r:p.w] }

// Peek waits until at least n bytes are unread and returns all unread bytes.
// When the stream ends, fails or meets its deadline before that, it returns
// what there is and the error; the error of an ended stream is io.EOF when
// nothing is unread and io.ErrUnexpectedEOF otherwise.
func (p *Peeked) Peek(n int) ([]byte, error) {
	if n > MaxPeek {
		return p.Unread(), fmt.Errorf("%w: %d bytes", ErrTooLong, MaxPeek)
	}
	for p.w-p.r < n {
		if err := p.fill(n); err != nil {
			if err == io.EOF && p.w > p.r {
				err = io.ErrUnexpectedEOF
			}
			return p.Unread(), err
		}
	}
	return p.Unread(), nil
}

// Reads returns in which pieces the unread bytes have come: how many there were
// to read each time, and in the last piece whatever came after those. Some servers
// do other things with the same bytes when they come in other pieces.
func (p *Peeked) Reads() (sizes []int) {
	at := p.taken
	for _, end := range p.ends {
		if size := int(end) - at; size > 0 {
			sizes = append(sizes, size)
			at = int(end)
		}
	}
	return append(sizes, p.taken+p.w-p.r-at)
}

// Discard takes n unread bytes.
func (p *Peeked) Discard(n int) {
	n = min(n, p.w-p.r)
	p.r += n
	p.taken += n
	if p.r == p.w {
		p.release()
	}
}

// Shrink keeps what is unread in no more room than that takes: for whoever waits
// for the rest of an opening, which may never come.
func (p *Peeked) Shrink() {
	if p.pooled == nil || p.r == p.w {
		return
	}
	own := append(make([]byte, 0, p.w-p.r), p.Unread()...)
	p.release()
	p.buf, p.w = own, len(own)
}

// Read takes unread bytes first. Once they are gone it reads from the
// connection below without a buffer between.
func (p *Peeked) Read(b []byte) (int, error) {
	if p.w > p.r {
		n := copy(b, p.buf[p.r:p.w])
		p.Discard(n)
		return n, nil
	}
	return p.Conn.Read(b)
}

// WaitRead implements [ReadWaiter].
func (p *Peeked) WaitRead() error {
	if p.w > p.r {
		return nil
	}
	_, err := p.Peek(1)
	if err == io.EOF {
		return nil
	}
	return err
}

// Detach implements [Detachable].
func (p *Peeked) Detach() (Conn, Codec, []byte) {
	var unread []byte
	if p.w > p.r {
		unread = append(unread, p.buf[p.r:p.w]...)
	}
	p.r, p.w = 0, 0
	p.release()
	return p.Conn, nil, unread
}

// Below returns the wrapped connection.
func (p *Peeked) Below() Conn { return p.Conn }

func (p *Peeked) release() {
	if p.pooled != nil {
		peekBuffers.Put(p.pooled)
	}
	p.buf, p.pooled, p.r, p.w = nil, nil, 0, 0
}

// fill reads once, with room for at least n unread bytes in all.
func (p *Peeked) fill(n int) error {
	if p.buf == nil {
		return p.first()
	}
	if p.r+n > len(p.buf) {
		p.grow(n)
	}
	m, err := p.Conn.Read(p.buf[p.w:])
	if m > 0 {
		p.note(m == len(p.buf)-p.w)
		p.w += m
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// first waits for the first bytes with no buffer in hand: ten thousand silent
// connections cost their descriptors and goroutines, nothing more.
func (p *Peeked) first() error {
	if p.ready == nil {
		p.ready = NewReady(p.Conn)
	}
	b, n, err := p.ready.Read(&peekBuffers)
	if n == 0 {
		return err
	}
	p.pooled, p.buf, p.r, p.w = b, *b, 0, n
	p.full = n == len(*b)
	return nil
}

// note remembers where the read before this one ended, which has filled its room
// or not.
func (p *Peeked) note(full bool) {
	end := int32(p.taken + p.w - p.r)
	switch {
	case p.full || p.w == p.r:
	case len(p.ends) == mostReads-1:
		p.ends[mostReads-2] = end
	default:
		p.ends = append(p.ends, end)
	}
	p.full = full
}

func (p *Peeked) grow(n int) {
	old := p.Unread()
	if n <= len(p.buf) {
		p.w = copy(p.buf, old)
		p.r = 0
		return
	}
	size := max(len(p.buf), peekSize)
	for size < n {
		size *= 2
	}
	buf := make([]byte, min(size, MaxPeek))
	m := copy(buf, old)
	p.release()
	p.buf, p.r, p.w = buf, 0, m
}
