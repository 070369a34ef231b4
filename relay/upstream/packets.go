package upstream

import (
	"context"
	"errors"
	"fmt"

	"relay/transport"
)

// DialPacket implements transport.PacketDialer.
func (s *Set) DialPacket(ctx context.Context) (transport.PacketConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTime, errNoAnswer)
	defer cancel()
	w, err := s.choose(ctx, nil)
	if err != nil {
		if d, ok := s.rules.Load().direct.(transport.PacketDialer); ok && s.ctx.Err() == nil && ctx.Err() == nil {
			return d.DialPacket(ctx)
		}
		return nil, err
	}
	for range mostMoves {
		p, err := w.Dialer.DialPacket(ctx)
		if err == nil {
			return &packets{PacketConn: p, set: s, way: w}, nil
		}
		if !errors.Is(err, transport.ErrCarrier) {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		s.lost(w, err)
		if w, err = s.choose(ctx, w); err != nil {
			return nil, err
		}
	}
	return nil, s.failure()
}

// packets judges the targets of datagrams. It ends with its connection, as any
// program that sends datagrams must expect.
type packets struct {
	transport.PacketConn
	set *Set
	way *way
}

// WritePacket implements transport.PacketConn.
func (p *packets) WritePacket(b []byte, to transport.Target) error {
	if err := p.set.rules.Load().check(to); err != nil {
		return err
	}
	err := p.PacketConn.WritePacket(b, to)
	p.noticed(err)
	return err
}

// ReadPacket implements transport.PacketConn.
func (p *packets) ReadPacket(b []byte) (n int, from transport.Target, err error) {
	n, from, err = p.PacketConn.ReadPacket(b)
	p.noticed(err)
	return n, from, err
}

// WaitRead implements transport.ReadWaiter.
func (p *packets) WaitRead() error {
	w, ok := p.PacketConn.(transport.ReadWaiter)
	if !ok {
		return nil // the ReadPacket that follows waits
	}
	err := w.WaitRead()
	p.noticed(err)
	return err
}

func (p *packets) noticed(err error) {
	if errors.Is(err, transport.ErrCarrier) {
		p.set.lost(p.way, err)
	}
}
