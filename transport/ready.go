package transport

import (
	"errors"
	"io"
	"sync"
	"syscall"
)

// Ready reads from a connection with a buffer that is taken from a pool only
// when there are bytes to put into it. It is for one goroutine; waiting costs
// no buffer on sockets and on conns that are a [ReadWaiter].
type Ready struct {
	c    Conn
	raw  syscall.RawConn // nil: not a socket, or not a system where this works
	try  func(fd uintptr) bool
	pool *sync.Pool
	buf  *[]byte
	n    int
	err  error
}

// NewReady returns a Ready for c.
func NewReady(c Conn) *Ready {
	r := &Ready{c: c}
	if sc, ok := c.(syscall.Conn); ok && tryRead != nil {
		if raw, err := sc.SyscallConn(); err == nil {
			r.raw = raw
			r.try = r.attempt
		}
	}
	return r
}

// WaitRead waits until c can be read, or has ended, and reads nothing. It returns
// errors.ErrUnsupported for what is neither a socket nor a [ReadWaiter].
func WaitRead(c Conn) error {
	if w, ok := c.(ReadWaiter); ok {
		return w.WaitRead()
	}
	sc, ok := c.(syscall.Conn)
	if !ok || canRead == nil {
		return errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(canRead)
}

// Read waits for bytes and returns a buffer from pool, which holds *[]byte,
// with n > 0 bytes in it; the caller puts it back. With n == 0 there is no
// buffer to put back and err says why: io.EOF at the end of the stream.
func (r *Ready) Read(pool *sync.Pool) (b *[]byte, n int, err error) {
	if r.raw == nil {
		return r.plain(pool)
	}
	r.pool, r.buf, r.n, r.err = pool, nil, 0, nil
	if err := r.raw.Read(r.try); err != nil {
		return nil, 0, err
	}
	if r.n > 0 {
		b, r.buf = r.buf, nil
		return b, r.n, nil
	}
	if r.err == nil {
		return nil, 0, io.EOF
	}
	return nil, 0, r.err
}

// attempt runs inside RawConn.Read; false means wait for readability.
func (r *Ready) attempt(fd uintptr) bool {
	b := r.pool.Get().(*[]byte)
	n, again, err := tryRead(fd, *b)
	if n > 0 {
		r.buf, r.n = b, n
		return true
	}
	r.pool.Put(b)
	r.err = err
	return !again
}

func (r *Ready) plain(pool *sync.Pool) (*[]byte, int, error) {
	if w, ok := r.c.(ReadWaiter); ok {
		if err := w.WaitRead(); err != nil {
			return nil, 0, err
		}
	}
	b := pool.Get().(*[]byte)
	n, err := r.c.Read(*b)
	if n > 0 {
		return b, n, nil
	}
	pool.Put(b)
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, 0, err
}

// Gate is a Conn that can be told not to wait, for a layer above it that can take up
// a read where it was.
type Gate interface {
	Conn
	ReadWaiter
	// NoWait makes Read return ErrNotYet where it would have to wait.
	NoWait(on bool)
}

// ErrNotYet says that nothing has come yet. crypto/tls takes it for a time-out.
var ErrNotYet error = notYet{}

type notYet struct{}

func (notYet) Error() string   { return "nothing has come yet" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }

// TryRead reads from a socket without waiting, or returns ErrNotYet. It returns
// errors.ErrUnsupported for what is no socket.
func TryRead(c Conn, b []byte) (n int, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok || tryRead == nil {
		return 0, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	again := false
	e := raw.Read(func(fd uintptr) bool {
		n, again, err = tryRead(fd, b)
		return true
	})
	switch {
	case e != nil:
		return 0, e
	case again:
		return 0, ErrNotYet
	case err == nil && n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, err
}
