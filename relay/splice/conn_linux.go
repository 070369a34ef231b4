package splice

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

func (s *Socket) side() *side { return &s.t.p.sides[s.i] }

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (int, error) {
	if s.off != nil {
		return s.off.Read(b)
	}
	if err := s.t.check(s.until); err != nil || len(b) == 0 {
		return 0, err
	}
	for {
		if err := s.WaitRead(); err != nil {
			return 0, err
		}
		side := s.side()
		n, e := recv(side.fd, b)
		s.used = true
		switch {
		case e == unix.EAGAIN:
			side.readable = false
			continue
		case e != 0:
			return 0, os.NewSyscallError("read", e)
		case n == 0:
			return 0, io.EOF
		}
		if n < len(b) && !side.closing {
			side.readable = false
		}
		return n, nil
	}
}

// SyscallConn implements syscall.Conn for a socket that has left.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.off != nil {
		return s.off.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// WaitRead implements transport.ReadWaiter.
func (s *Socket) WaitRead() error {
	if s.off != nil {
		raw, err := s.off.SyscallConn()
		if err != nil {
			return err
		}
		return raw.Read(func(fd uintptr) bool { return pending(int32(fd)) })
	}
	for !s.side().readable {
		if err := s.t.wait(s.until); err != nil {
			return err
		}
	}
	return nil
}

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (n int, err error) {
	if s.off != nil {
		return s.off.Write(b)
	}
	if err := s.t.check(s.until); err != nil {
		return 0, err
	}
	for n < len(b) {
		m, e := send(s.side().fd, b[n:])
		switch {
		case e == 0:
			n += m
			continue
		case e != unix.EAGAIN:
			return n, os.NewSyscallError("write", e)
		}
		s.full = true
		if side := s.side(); !side.armed {
			side.armed = true
			if err := s.t.p.watch(s.i, unix.EPOLL_CTL_MOD, true); err != nil {
				return n, err
			}
		}
		for s.full {
			if err := s.t.wait(s.until); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Close implements net.Conn.
func (s *Socket) Close() error {
	if s.off != nil {
		return s.off.Close()
	}
	t := s.t
	if t.over || s.side().fd < 0 {
		return net.ErrClosed
	}
	closeSocket(s.side().fd, false)
	s.side().fd = -1
	if t.p.sides[0].fd < 0 && t.p.sides[1].fd < 0 {
		t.finish()
		t.r.forget(t.p)
	}
	return nil
}

// CloseWrite implements transport.Conn.
func (s *Socket) CloseWrite() error {
	if s.off != nil {
		return s.off.CloseWrite()
	}
	if err := s.t.check(0); err != nil {
		return err
	}
	return endWrite(s.side().fd)
}

// SetLinger makes Close a reset if sec is 0; see net.TCPConn.
func (s *Socket) SetLinger(sec int) error {
	if s.off != nil {
		return s.off.SetLinger(sec)
	}
	if s.t.over || s.side().fd < 0 {
		return net.ErrClosed
	}
	l := unix.Linger{Linger: int32(sec)}
	if sec >= 0 {
		l.Onoff = 1
	}
	return setLinger(s.side().fd, &l)
}

// SetKeepAliveConfig is that of net.TCPConn.
func (s *Socket) SetKeepAliveConfig(c net.KeepAliveConfig) error {
	if s.off != nil {
		return s.off.SetKeepAliveConfig(c)
	}
	if s.t.over || s.side().fd < 0 {
		return net.ErrClosed
	}
	return setKeepAlive(s.side().fd, c)
}

// SetDeadline implements net.Conn. On a reactor reads and writes have the same
// deadline, and it comes as late as any other time-out of the core.
func (s *Socket) SetDeadline(at time.Time) error {
	if s.off != nil {
		return s.off.SetDeadline(at)
	}
	if s.t.over {
		return net.ErrClosed
	}
	s.until = 0
	if !at.IsZero() {
		s.until = max(1, int64(at.Sub(s.t.r.epoch)))
	}
	return nil
}

// SetReadDeadline is SetDeadline; see there.
func (s *Socket) SetReadDeadline(at time.Time) error {
	if s.off != nil {
		return s.off.SetReadDeadline(at)
	}
	return s.SetDeadline(at)
}

// SetWriteDeadline is SetDeadline; see there.
func (s *Socket) SetWriteDeadline(at time.Time) error {
	if s.off != nil {
		return s.off.SetWriteDeadline(at)
	}
	return s.SetDeadline(at)
}

// RemoteAddr implements net.Conn.
func (s *Socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.peer) }

// Source is the address of the peer.
func (s *Socket) Source() netip.Addr { return s.peer.Addr() }

// LocalAddr implements net.Conn.
func (s *Socket) LocalAddr() net.Addr {
	if s.off != nil {
		return s.off.LocalAddr()
	}
	var a net.TCPAddr
	if s.t.over || s.side().fd < 0 {
		return &a
	}
	switch sa, _ := unix.Getsockname(int(s.side().fd)); sa := sa.(type) {
	case *unix.SockaddrInet4:
		a.IP, a.Port = sa.Addr[:], sa.Port
	case *unix.SockaddrInet6:
		a.IP, a.Port = sa.Addr[:], sa.Port
	}
	return &a
}

// WaitEither waits until one of two connections can be read, or has ended, or
// until near's deadline: near, which a task was given, and far, which it has
// dialled. ok is false where they are not on a reactor; then nothing has happened.
func WaitEither(near, far transport.Conn) (nearFirst, ok bool, err error) {
	n, f := onReactor(near), onReactor(far)
	if n == nil || f == nil || n.t != f.t || n.i != 0 || f.i != 1 {
		return false, false, nil
	}
	for !n.hasInput() && !f.hasInput() {
		if err := n.t.wait(n.until); err != nil {
			return false, true, err
		}
	}
	return n.side().readable, true, nil
}

// hasInput makes sure of what may be there.
func (s *Socket) hasInput() bool {
	side := s.side()
	// Before the first read, what epoll said is still true.
	side.readable = side.readable && (!s.used || pending(side.fd))
	return side.readable
}
