package relay

import (
	"io"
	"net"
	"time"

	"relay/transport"
)

// inner makes the connection of a request, or of a stream, that another one has
// brought: it counts, has its limits and ends with a line like one that was
// accepted. raw is what is closed with it. The caller ends it with run, unless
// there is an error.
func (s *Server) inner(by *conn, raw transport.Conn) (*conn, error) {
	c := &conn{
		srv: s, set: by.set, inbound: by.inbound, source: by.source, client: by.client,
		began: time.Now(), raw: raw, near: raw, reached: true, // its only descriptor will be of the target
	}
	if !s.reserve(c) {
		s.stats.end(transport.OverLimit)
		return nil, ErrFull
	}
	if !s.begin(c) {
		s.release(c)
		s.stats.end(transport.Drained)
		return nil, errDrained
	}
	return c, nil
}

// run takes a connection of inner to its end, or to the splice core.
func (c *conn) run(open func() error) {
	defer c.srv.opened(c)
	if err := open(); err != nil {
		c.failed(err)
	}
}

// noConn stands for the connection of a request that shares a stream with others:
// there is nothing to wait for, to linger on or to close.
type noConn struct{}

func (noConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (noConn) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (noConn) Close() error                     { return nil }
func (noConn) CloseWrite() error                { return nil }
func (noConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (noConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (noConn) SetDeadline(time.Time) error      { return nil }
func (noConn) SetReadDeadline(time.Time) error  { return nil }
func (noConn) SetWriteDeadline(time.Time) error { return nil }
