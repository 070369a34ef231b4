package web

import (
	"crypto/tls"
	"errors"
	"os"

	"relay/transport"
)

// secured is a connection in TLS, below which is one that can be asked for what has
// come without waiting: it waits without a buffer for what TLS makes of it. One
// goroutine reads it.
type secured struct {
	*tls.Conn
	below transport.Gate // nil: a connection of another kind
	first [1]byte
	have  bool // first is read and not taken
	err   error
}

func newSecured(t *tls.Conn) *secured {
	s := &secured{Conn: t}
	s.below, _ = t.NetConn().(transport.Gate)
	return s
}

// WaitRead implements transport.ReadWaiter.
func (s *secured) WaitRead() error {
	if s.below == nil || s.have || s.err != nil {
		return nil
	}
	n, err := s.wait(s.first[:])
	if s.have = n > 0; !s.have && errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.keep(err)
	return nil
}

// keep keeps an error for who reads next. A deadline can be moved, and what has not
// come yet may come.
func (s *secured) keep(err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, transport.ErrNotYet) {
		s.err = err
	}
}

// Read implements net.Conn.
func (s *secured) Read(b []byte) (n int, err error) {
	switch {
	case s.below == nil || len(b) == 0:
		return s.Conn.Read(b)
	case s.have:
		b[0], s.have = s.first[0], false
		n, err = s.try(b[1:])
		s.keep(err)
		return n + 1, nil
	case s.err != nil:
		return 0, s.err
	}
	return s.wait(b)
}

// wait reads, and waits for the socket alone if there is nothing yet.
func (s *secured) wait(b []byte) (int, error) {
	for {
		n, err := s.try(b)
		if n > 0 || !errors.Is(err, transport.ErrNotYet) {
			return n, err
		}
		if err := s.below.WaitRead(); err != nil {
			return 0, err
		}
	}
}

// try reads what there is. crypto/tls takes ErrNotYet for a time-out, which it can
// go on from: Conn.SetReadDeadline says so.
func (s *secured) try(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.below.NoWait(true)
	defer s.below.NoWait(false)
	return s.Conn.Read(b)
}

// Below returns the connection below TLS.
func (s *secured) Below() transport.Conn {
	if c, ok := s.NetConn().(transport.Conn); ok {
		return c
	}
	return nil
}
