package h2

import (
	"context"
	"net"
	"time"

	"relay/transport"
)

var (
	_ transport.Conn       = (*Stream)(nil)
	_ transport.ReadWaiter = (*Stream)(nil)
)

// Stream is a request and its answer: Write sends the request's body and Read
// returns the answer's. Its addresses are the connection's.
type Stream struct{ c *Conn }

// Response waits for the head of the answer. Interim answers (1xx) are skipped.
func (s *Stream) Response(ctx context.Context) (status int, fields []Field, err error) {
	return 0, nil, nil
}

// Read implements net.Conn. After a reset it returns what came before, then a
// *[ResetError]. It does not wait for Response to be called.
func (s *Stream) Read(b []byte) (int, error) { return 0, nil }

// WaitRead implements [transport.ReadWaiter].
func (s *Stream) WaitRead() error { return nil }

// Write implements net.Conn. It returns when the bytes are written or will be with
// the next write of the connection.
func (s *Stream) Write(b []byte) (int, error) { return len(b), nil }

// WritePadded is Write with pad zero bytes of padding in each DATA frame; they count
// for the windows. With no bytes it sends the padding alone.
func (s *Stream) WritePadded(b []byte, pad uint8) (int, error) { return len(b), nil }

// CloseWrite ends the request.
func (s *Stream) CloseWrite() error { return nil }

// Close resets the stream (CANCEL) unless both halves have ended.
func (s *Stream) Close() error { return nil }

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return s.c.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return nil }
