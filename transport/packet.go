package transport

import (
	"context"
	"errors"
	"time"
)

// MaxPacket is the most payload that a UDP datagram over IPv4 has (RFC 768, RFC 791).
const MaxPacket = 65535 - 20 - 8

// PacketConn carries datagrams of one client, each with its peer: where it is to
// go, or where it came from. One goroutine may read while another writes. A
// PacketConn that is a [ReadWaiter] can wait without a buffer.
type PacketConn interface {
	// ReadPacket waits for the next datagram, puts it into b and returns its
	// length. One that is longer than b is dropped: b has room for MaxPacket.
	ReadPacket(b []byte) (n int, peer Target, err error)
	// WritePacket sends a datagram. Errors are about this one alone, unless
	// they are net.ErrClosed or a time-out: others may go where this may not.
	WritePacket(b []byte, peer Target) error
	// SetDeadline is that of a net.Conn.
	SetDeadline(t time.Time) error
	Close() error
}

// PacketDialer is a Dialer that also opens ways out for datagrams.
type PacketDialer interface {
	Dialer
	// DialPacket opens a way out for the datagrams of one client. Which targets
	// they may go to is decided for each. The caller closes it.
	DialPacket(ctx context.Context) (PacketConn, error)
}

// ErrNoPacket says that datagrams are not carried on this way.
var ErrNoPacket = errors.New("datagrams are not carried here")

// PacketRequest is a Request for datagrams. Its Target is where the client says
// that the first one will go, and may be the zero Target.
type PacketRequest interface {
	Request
	// AcceptPackets takes the place of Accept: it tells the client that its
	// datagrams will go out, and returns its end of them, which the caller
	// closes, in place of the connection that the inbound opened.
	AcceptPackets(ctx context.Context) (near PacketConn, err error)
}

// Multiplexed is a Request that stands for many, inside one stream. Its Target is
// the zero Target.
type Multiplexed interface {
	Request
	// Each takes the place of Accept: it calls open for each request, in a
	// goroutine of the request's own, and returns when the stream has ended and
	// every open has returned. open returns when its request is over, or has
	// been accepted and is served elsewhere from then on. Each closes the connection that the
	// inbound opened.
	Each(ctx context.Context, open func(Request)) error
}
