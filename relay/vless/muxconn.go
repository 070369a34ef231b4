package vless

import (
	"fmt"
	"net"

	"relay/transport"
)

// muxConn is a session of TCP.
type muxConn struct{ *session }

var (
	_ transport.Conn       = muxConn{}
	_ transport.ReadWaiter = muxConn{}
)

// Read implements net.Conn.
func (c muxConn) Read(b []byte) (int, error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	if err := c.readable(); err != nil {
		return 0, err
	}
	return c.unqueue(b), nil
}

// Write implements net.Conn.
func (c muxConn) Write(b []byte) (n int, err error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for n < len(b) {
		piece := b[n:min(len(b), n+pieceSize)]
		if err := c.writable(len(piece)); err != nil {
			return n, err
		}
		c.m.add(c.next(), piece)
		c.shape(len(piece))
		n += len(piece)
	}
	return n, nil
}

// Begun reports whether the target has said something: what was said to it is not to be
// said to it again.
func (c muxConn) Begun() bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.heard || c.ended
}

// CloseWrite implements transport.Conn: an end, as far as a client makes something
// of one direction's.
func (c muxConn) CloseWrite() error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.said:
		return nil
	case c.lost != nil:
		return c.lost
	case c.m.err != nil:
		return fmt.Errorf("vless: mux: %w", c.m.err)
	}
	if c.unasked {
		c.tell(c.next())
	}
	c.said = true
	c.tell(frame{id: c.id, status: statusEnd})
	return nil
}

// LocalAddr implements net.Conn.
func (c muxConn) LocalAddr() net.Addr { return c.m.c.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c muxConn) RemoteAddr() net.Addr { return c.m.c.RemoteAddr() }

// maxAnswer is the longest datagram that an Xray client takes out of a mux: a longer
// one ends its whole stream (common/mux/reader.go, common/buf/buffer.go).
const maxAnswer = 8 << 10

// muxPacketConn is a session of UDP.
type muxPacketConn struct{ *session }

var (
	_ transport.PacketConn = muxPacketConn{}
	_ transport.ReadWaiter = muxPacketConn{}
)

// ReadPacket implements transport.PacketConn.
func (c muxPacketConn) ReadPacket(b []byte) (n int, peer transport.Target, err error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for {
		if err := c.readable(); err != nil {
			return 0, transport.Target{}, err
		}
		next := c.heads[c.first]
		c.first++
		if next.size <= len(b) {
			return c.unqueue(b[:next.size]), next.peer, nil
		}
		c.drop(next.size)
	}
}

// WritePacket implements transport.PacketConn. The client is told who answers.
func (c muxPacketConn) WritePacket(b []byte, peer transport.Target) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	switch {
	case len(b) == 0:
		return nil
	case len(b) > maxAnswer:
		return errTooLarge
	}
	if err := c.writable(len(b)); err != nil {
		if c.lost != nil || c.m.err != nil {
			err = fmt.Errorf("%w: %w", net.ErrClosed, err)
		}
		return err
	}
	c.m.add(frame{id: c.id, status: statusKeep, network: networkUDP, peer: peer}, b)
	return nil
}
