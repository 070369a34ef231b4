package socks5

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"relay/relay"
	"relay/transport"
)

const (
	// maxIgnored bounds what a client says on a connection that only has to stay
	// open.
	maxIgnored = 4 << 10
	// mostFailures is how many reads may fail one after the other: some systems
	// report with them what became of datagrams to the client.
	mostFailures = 64
)

var (
	errTalks    = errors.New("socks5: bytes on the connection of an association")
	errNoClient = errors.New("socks5: the client has not sent a datagram")
)

// associate is an opened UDP ASSOCIATE (RFC 1928, Sections 4 and 7).
type associate struct {
	request
	udp  *UDP
	port uint16 // of the client's datagrams; 0: of the first one
}

// clientPort is the port from which the client says that its datagrams will come.
// It counts only beside the address that the connection has come from: behind a
// translation the client knows neither.
func clientPort(b []byte, source netip.Addr) uint16 {
	if b[3] == atypName {
		return 0
	}
	addr, _ := netip.AddrFromSlice(b[4 : len(b)-2])
	if addr.Unmap() != source {
		return 0
	}
	return uint16(b[len(b)-2])<<8 | uint16(b[len(b)-1])
}

// Accept implements transport.Request, where nobody asks for it.
func (*associate) Accept(context.Context, transport.Conn) (near, newFar transport.Conn, err error) {
	return nil, nil, transport.ErrNoPacket
}

// AcceptPackets implements transport.PacketRequest: it opens a socket at the
// address where the connection has arrived, for the client's address alone.
func (r *associate) AcceptPackets(context.Context) (transport.PacketConn, error) {
	a := &association{tcp: r.c, client: transport.Source(r.c), over: make(chan struct{})}
	a.port.Store(uint32(r.port))
	local, ok := r.c.LocalAddr().(*net.TCPAddr)
	if !ok || !a.client.IsValid() {
		_ = writeReply(r.c, replyFailure)
		return nil, fmt.Errorf("socks5: associate: %w", transport.ErrNoPacket)
	}
	at := local.AddrPort().Addr().Unmap()
	c, err := r.udp.listen(at)
	if err == nil {
		a.udp, err = transport.NewUDP(c)
	}
	if err != nil {
		_ = writeReply(r.c, replyFailure)
		return nil, fmt.Errorf("socks5: associate: no UDP socket: %w: %w", err, relay.ErrFull)
	}
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	err = writeBound(r.c, replySuccess, netip.AddrPortFrom(r.udp.tell(at, a.client), port))
	if err == nil {
		err = r.c.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = a.udp.Close()
		return nil, fmt.Errorf("socks5: associate: %w", err)
	}
	go a.watch()
	return a, nil
}

// association is a client's end of its datagrams. It ends with the TCP connection
// that asked for it. Nothing is ever sent to anybody but the client: not before it
// has sent the first datagram, and then only to the port of that.
type association struct {
	tcp    *transport.Peeked
	udp    *transport.UDP
	client netip.Addr
	port   atomic.Uint32 // 0: not known yet

	over chan struct{} // closed by watch
	why  error         // the connection has ended; once over is closed

	// Only for the reader: a datagram that counts, read while waiting.
	held    *[]byte
	payload []byte // in held
	target  transport.Target
	failed  int // reads in a row
}

// watch waits for the end of the connection, and ends the socket with it.
func (a *association) watch() {
	defer close(a.over)
	b := make([]byte, 64)
	for left := maxIgnored; a.why == nil; {
		n, err := a.tcp.Read(b)
		if left -= n; err == nil && left < 0 {
			err = errTalks
		}
		a.why = err
	}
	_ = a.udp.Close()
}

// WaitRead implements transport.ReadWaiter: it returns when a datagram of the
// client is there, and holds no buffer while there is none.
func (a *association) WaitRead() error {
	for a.held == nil {
		if err := a.udp.WaitRead(); err != nil {
			return a.reason(err)
		}
		b := transport.PacketBuffer()
		n, from, ok, err := a.udp.TryRead(*b)
		if err == nil {
			a.failed = 0
		}
		if ok && a.takes((*b)[:n], from) {
			a.held = b
			return nil
		}
		transport.FreePacketBuffer(b)
		if err = a.reason(err); err != nil {
			return err
		}
	}
	return nil
}

// reason is what an error of the socket means; nil if it means nothing.
func (a *association) reason(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, net.ErrClosed):
		<-a.over
		return a.why
	case !errors.Is(err, os.ErrDeadlineExceeded) && a.failed < mostFailures:
		a.failed++
		return nil
	}
	return err
}

// takes reports whether a datagram is one to pass on: from the client, whole, and
// with a target. The first one fixes the client's port.
func (a *association) takes(b []byte, from netip.AddrPort) bool {
	port := uint16(a.port.Load())
	if from.Addr() != a.client || port != 0 && port != from.Port() {
		return false
	}
	target, payload, ok := parseDatagram(b)
	if !ok {
		return false
	}
	a.port.Store(uint32(from.Port()))
	a.target, a.payload = target, payload
	return true
}

// parseDatagram reads the header of a datagram (RFC 1928, Section 7). Fragments are
// not put together, as hardly anybody sends any: they do not count.
func parseDatagram(b []byte) (target transport.Target, payload []byte, ok bool) {
	if len(b) < 5 || b[2] != 0 {
		return transport.Target{}, nil, false
	}
	n, err := targetEnd(b)
	if err != nil || n > len(b) {
		return transport.Target{}, nil, false
	}
	target, err = parseTarget(b[:n])
	return target, b[n:], err == nil
}

// ReadPacket implements transport.PacketConn.
func (a *association) ReadPacket(b []byte) (n int, peer transport.Target, err error) {
	for {
		if err := a.WaitRead(); err != nil {
			return 0, transport.Target{}, err
		}
		fits, n := len(a.payload) <= len(b), copy(b, a.payload)
		transport.FreePacketBuffer(a.held)
		a.held, a.payload = nil, nil
		if fits {
			return n, a.target, nil
		}
	}
}

// WritePacket implements transport.PacketConn.
func (a *association) WritePacket(b []byte, peer transport.Target) error {
	port := uint16(a.port.Load())
	if port == 0 {
		return errNoClient
	}
	buffer := transport.PacketBuffer()
	defer transport.FreePacketBuffer(buffer)
	_, err := a.udp.WriteToUDPAddrPort(append(appendHeader((*buffer)[:0], peer), b...), netip.AddrPortFrom(a.client, port))
	return err
}

// appendHeader appends the header of a datagram (RFC 1928, Section 7).
func appendHeader(b []byte, peer transport.Target) []byte {
	b = append(b, 0, 0, 0) // reserved, not a fragment
	if !peer.IsName() {
		return appendAddr(b, netip.AddrPortFrom(peer.Addr(), peer.Port()))
	}
	b = append(b, atypName, byte(len(peer.Name())))
	b = append(b, peer.Name()...)
	return append(b, byte(peer.Port()>>8), byte(peer.Port()))
}

// SetDeadline implements transport.PacketConn.
func (a *association) SetDeadline(t time.Time) error { return a.udp.SetDeadline(t) }

// Close implements transport.PacketConn.
func (a *association) Close() error {
	err := a.tcp.Close()
	_ = a.udp.Close()
	<-a.over
	return err
}

var _ transport.PacketRequest = (*associate)(nil)
