package h2

import (
	"context"
	"net"
	"time"
)

// Conn is the client's end of one connection.
type Conn struct {
	conn net.Conn
	f    *Fingerprint
	done chan struct{}
}

// NewConn speaks HTTP/2 on c, which it owns from here. Nothing is sent before the
// first request or ping. f must not change any more.
func NewConn(c net.Conn, f *Fingerprint) *Conn {
	return &Conn{conn: c, f: f, done: make(chan struct{})}
}

// Open sends a request, with as much of body as the peer's windows allow in the same
// write, and then the rest of it. end says that nothing follows; else the Stream's
// Write goes on. ctx is for this call only; when it ends first, the stream is reset.
// An error that is an [ErrUnprocessed] means that the request may be sent again
// elsewhere. The caller closes the Stream.
func (c *Conn) Open(ctx context.Context, head Head, body []byte, end bool) (*Stream, error) {
	return nil, ErrBusy
}

// Usable reports whether requests may still be opened, now or when [Conn.Room] says so.
func (c *Conn) Usable() bool { return false }

// Streams returns how many streams are open.
func (c *Conn) Streams() int { return 0 }

// Room returns how many more the peer allows now. Before it has said so it is
// taken to allow 100.
func (c *Conn) Room() int { return 0 }

// Err returns why the connection has ended, or nil.
func (c *Conn) Err() error { return nil }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection and all of its streams.
func (c *Conn) Close() error { return c.conn.Close() }

// Abort is Close with a TCP reset, and does not wait for anything.
func (c *Conn) Abort() {}

// Ping waits for the answer to a PING.
func (c *Conn) Ping(ctx context.Context) error { return nil }

// Heard returns when the last byte came, and how many have. Before the first one the
// time is that of NewConn.
func (c *Conn) Heard() (at time.Time, total int64) { return time.Time{}, 0 }

// Sent returns when something that the peer has to answer was last written: a request,
// bytes of a stream or a ping; the zero time before that.
func (c *Conn) Sent() time.Time { return time.Time{} }
