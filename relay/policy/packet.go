package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"relay/transport"
)

// errPacketQueue drops one datagram.
var errPacketQueue = errors.New("policy: the name is being looked up, and enough is waiting for it")

// packets is the way out for the datagrams of one client. Targets are judged
// when they are new, as DialStream judges them; what comes from anybody else than
// a target is dropped.
type packets struct {
	e *Egress

	mu       sync.Mutex
	closed   bool
	late     bool        // the deadline has come
	deadline *time.Timer // nil: none
	until    time.Time   // the deadline
	some     sync.Cond   // for the reader: a socket is ready, or closed or late
	sockets  [2]*packetSocket
	targets  []*packetTarget // at most maxPacketTargets
	fresh    *rate.Limiter   // of new targets
	waiting  int             // bytes, for names that are being looked up
	lookups  int
	wg       sync.WaitGroup // of watch and lookUp

	// Only for the reader: a datagram that counts, read while waiting.
	held    *[]byte
	heldLen int
	from    netip.AddrPort
	failed  int // reads in a row
}

// packetSocket is the socket of a family.
type packetSocket struct {
	*transport.UDP
	ready bool      // as far as is known; under packets.mu
	empty sync.Cond // for watch: it is not ready any more, or closed
}

// mostFailures is how many reads may fail one after the other. Linux tells a
// socket without a peer of no ICMP errors; other systems do, one for each read.
const mostFailures = 64

// DialPacket implements transport.PacketDialer. Sockets are opened when there is
// a first datagram for their family.
func (e *Egress) DialPacket(context.Context) (transport.PacketConn, error) {
	p := &packets{e: e, fresh: rate.NewLimiter(newTargetsPerSecond, newTargetsPerSecond)}
	p.some.L = &p.mu
	return p, nil
}

var _ transport.PacketDialer = (*Egress)(nil)

// WaitRead implements transport.ReadWaiter: it returns when an answer of a target
// is there, and holds no buffer while there is none.
func (p *packets) WaitRead() error {
	for p.held == nil {
		s, err := p.readable()
		if err != nil {
			return err
		}
		if err := p.receive(s); err != nil {
			return err
		}
	}
	return nil
}

// ReadPacket implements transport.PacketConn.
func (p *packets) ReadPacket(b []byte) (n int, peer transport.Target, err error) {
	for {
		if err := p.WaitRead(); err != nil {
			return 0, transport.Target{}, err
		}
		fits := p.heldLen <= len(b)
		n := copy(b, (*p.held)[:p.heldLen])
		transport.FreePacketBuffer(p.held)
		p.held = nil
		if !fits {
			continue
		}
		peer, err := transport.AddrTarget(p.from)
		return n, peer, err
	}
}

// readable waits until a socket may have a datagram.
func (p *packets) readable() (*packetSocket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closed:
			return nil, net.ErrClosed
		case p.late:
			return nil, os.ErrDeadlineExceeded
		}
		for _, s := range p.sockets {
			if s != nil && s.ready {
				return s, nil
			}
		}
		p.some.Wait()
	}
}

// receive reads from a socket that may have a datagram, and keeps one that counts.
func (p *packets) receive(s *packetSocket) error {
	b := transport.PacketBuffer()
	n, from, ok, err := s.TryRead(*b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.failed = 0
	}
	switch {
	case ok && p.knows(from):
		p.held, p.heldLen, p.from = b, n, from
		return nil
	case p.closed:
		err = net.ErrClosed
	case err != nil && p.failed < mostFailures:
		p.failed++
		err = nil
	case err == nil && !ok:
		s.ready = false
		s.empty.Signal()
	}
	transport.FreePacketBuffer(b)
	return err
}

// socket returns the socket of a family, which it opens if need be.
func (p *packets) socket(four bool) (*packetSocket, error) {
	i, network, source := 1, "udp6", p.e.source6
	if four {
		i, network, source = 0, "udp4", p.e.source4
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if s := p.sockets[i]; s != nil {
		return s, nil
	}
	var local *net.UDPAddr
	if source.IsValid() {
		local = net.UDPAddrFromAddrPort(source)
	}
	c, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	u, err := transport.NewUDP(c)
	if err != nil {
		return nil, err
	}
	_ = u.SetWriteDeadline(p.until)
	s := &packetSocket{UDP: u}
	s.empty.L = &p.mu
	p.sockets[i] = s
	p.wg.Go(func() { p.watch(s) })
	return s, nil
}

// watch tells the reader when a socket has something to read: one goroutine cannot
// wait for two sockets.
func (p *packets) watch(s *packetSocket) {
	for s.WaitRead() == nil {
		p.mu.Lock()
		s.ready = true
		p.some.Signal()
		for s.ready && !p.closed {
			s.empty.Wait()
		}
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return
		}
	}
}

// SetDeadline implements transport.PacketConn.
func (p *packets) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	if p.deadline != nil {
		p.deadline.Stop()
		p.deadline = nil
	}
	p.late, p.until = false, t
	for _, s := range p.sockets {
		if s != nil {
			_ = s.SetWriteDeadline(t) // watch goes on reading
		}
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		p.late = true
		p.some.Signal()
	default:
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.deadline == timer { // not if it has been changed meanwhile
				p.late = true
				p.some.Signal()
			}
		})
		p.deadline = timer
	}
	return nil
}

// Close implements transport.PacketConn.
func (p *packets) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.closed = true
	if p.deadline != nil {
		p.deadline.Stop()
	}
	for _, t := range p.targets {
		if t.cancel != nil {
			t.cancel()
		}
	}
	for _, s := range p.sockets {
		if s != nil {
			_ = s.UDP.Close()
			s.empty.Signal()
		}
	}
	p.some.Signal()
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}
