package h2_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// peer is a server in memory that does as little as one can: it answers each request
// with as many bytes, within the windows, and reads what it is sent.
type peer struct {
	down int

	mu     sync.Mutex
	wake   sync.Cond
	closed bool
	in     []byte // begun frame of the client's
	opened bool   // the preface has come
	out    []byte // frames before bodies
	stream uint32 // whose body is being sent
	left   int
	frame  []byte // of a body, with its header
	rest   []byte // of frame
	window int
	conn   int
	first  int // window of a stream
	unread int
}

func newPeer(down int) *peer {
	p := &peer{down: down, conn: 65535, first: 65535, frame: make([]byte, 9+16384)}
	p.wake.L = &p.mu
	// SETTINGS: windows of 4 MiB, and 16 MiB for all.
	p.out = append(p.out, 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0x40, 0, 0)
	p.out = append(p.out, 0, 0, 4, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0)
	return p
}

// Write takes frames.
func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := len(b)
	if p.closed {
		return 0, net.ErrClosed
	}
	if len(p.in) > 0 {
		p.in = append(p.in, b...)
		b = p.in
	}
	if !p.opened {
		b, p.opened = b[24:], true
	}
	for len(b) >= 9 {
		n := 9 + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
		if len(b) < n {
			break
		}
		p.take(b[:n])
		b = b[n:]
	}
	p.in = append(p.in[:0], b...)
	p.wake.Broadcast()
	return all, nil
}

func (p *peer) take(f []byte) {
	id, end := binary.BigEndian.Uint32(f[5:]), f[4]&1 != 0
	switch f[3] {
	case 0:
		if p.unread += len(f) - 9; p.unread > 1<<20 || end {
			for _, id := range []uint32{0, id} {
				p.out = append(p.out, 0, 0, 4, 8, 0)
				p.out = binary.BigEndian.AppendUint32(p.out, id)
				p.out = binary.BigEndian.AppendUint32(p.out, uint32(max(1, p.unread)))
			}
			p.unread = 0
		}
		if end {
			p.answer(id)
		}
	case 1:
		if end {
			p.answer(id)
		}
	case 4:
		for s := f[9:]; len(s) > 0 && !end; s = s[6:] {
			if s[1] == 4 {
				p.first = int(binary.BigEndian.Uint32(s[2:]))
			}
		}
		if !end {
			p.out = append(p.out, 0, 0, 0, 4, 1, 0, 0, 0, 0)
		}
	case 6:
		if !end {
			p.out = append(append(p.out, 0, 0, 8, 6, 1, 0, 0, 0, 0), f[9:]...)
		}
	case 8:
		n := int(binary.BigEndian.Uint32(f[9:]))
		if id == 0 {
			p.conn += n
		} else if id == p.stream {
			p.window += n
		}
	}
}

// answer begins an answer, after the one before.
func (p *peer) answer(id uint32) {
	flags := byte(4)
	if p.down == 0 {
		flags |= 1
	}
	p.out = append(p.out, 0, 0, 1, 1, flags)
	p.out = binary.BigEndian.AppendUint32(p.out, id)
	p.out = append(p.out, 0x88)
	p.stream, p.left, p.window = id, p.down, p.first
}

// Read gives frames, one after the other.
func (p *peer) Read(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed {
			return 0, io.EOF
		}
		if len(p.rest) == 0 && len(p.out) > 0 {
			n = copy(b, p.out)
			p.out = p.out[:copy(p.out, p.out[n:])]
			return n, nil
		}
		for n < len(b) {
			if len(p.rest) == 0 && !p.next() {
				break
			}
			m := copy(b[n:], p.rest)
			n, p.rest = n+m, p.rest[m:]
		}
		if n > 0 {
			return n, nil
		}
		p.wake.Wait()
	}
}

// next makes the next frame of the body, if there is one.
func (p *peer) next() bool {
	size := min(p.left, p.window, p.conn, 16384)
	if size <= 0 || len(p.out) > 0 {
		return false
	}
	p.left, p.window, p.conn = p.left-size, p.window-size, p.conn-size
	h := append(p.frame[:0], byte(size>>16), byte(size>>8), byte(size), 0, 0)
	if p.left == 0 {
		h[4] = 1
	}
	binary.BigEndian.AppendUint32(h, p.stream)
	p.rest = p.frame[:9+size]
	return true
}

// Close implements net.Conn.
func (p *peer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.wake.Broadcast()
	return nil
}

func (p *peer) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p *peer) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *peer) SetDeadline(time.Time) error      { return nil }
func (p *peer) SetReadDeadline(time.Time) error  { return nil }
func (p *peer) SetWriteDeadline(time.Time) error { return nil }
