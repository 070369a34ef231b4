package vless

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

// Carrier opens streams to an exit: it is the disguise that VLESS needs.
type Carrier interface {
	// Open opens a stream. first, up to 17 KiB, rides with what opens it, where the
	// carrier can, and is written first where it cannot; it is not kept. It does
	// not wait for the exit to answer. The caller closes the Conn.
	Open(ctx context.Context, first []byte) (transport.Conn, error)
}

// Dialer is the client half: it reaches targets through an exit. The fields are set
// before the first call.
type Dialer struct {
	// UUID is what the exit knows the user by.
	UUID    [16]byte
	Carrier Carrier
	// Mux is how many streams share one of the carrier's, for carriers where each
	// is a connection; 0: none do. Datagrams have one of their own in any case.
	Mux int
	// Alone reports whether each stream is to have one of the carrier's for now, whatever
	// Mux says; nil: never.
	Alone func() bool
	// Shape pads the beginnings of streams that share one: in a connection of few
	// streams that of a handshake inside of them would be seen.
	Shape bool
	// Asks has streams that share one ask the exit whether it lives, for carriers that
	// have no other way: see [transport.Asked].
	Asks bool
	// Wait is how long an opening waits for the payload that it is to go with, once
	// somebody waits for an answer: a target may speak first. By itself it is a
	// packet of a length that gives it away, and one more on the way. 0 is 10 ms,
	// for clients on this machine; those a network away take a round trip.
	Wait time.Duration
	// Pad draws the bytes of padding of one opening, up to MaxPad; nil: none.
	Pad func() int

	mu     sync.Mutex
	muxes  []*mux // those that may still take streams
	runs   sync.WaitGroup
	closed bool
	ahead  atomic.Int64 // what waits in the queues of sessions
}

var _ transport.PacketDialer = (*Dialer)(nil)

// MaxPad is the most padding that an opening has room for: the addons are 255 bytes
// with a tag and two bytes of length.
const MaxPad = 255 - 3

// errNoTarget is what dialling the zero Target returns.
var errNoTarget = errors.New("vless: no target")

// DialStream implements transport.Dialer. Without early payload nothing goes out
// before the first Write, and it is that which fails if the exit cannot be reached:
// the Conn opens its stream with it, or soon after somebody waits for the target to
// speak first. Streams that share one fail there in any case. That the target was
// refused or cannot be reached is for Read to tell, as an error before its first byte.
func (d *Dialer) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	if !to.IsValid() {
		return nil, errNoTarget
	}
	if d.Mux > 0 {
		return d.share(ctx, to, early)
	}
	c := newDialed(d.Carrier, appendAddress(d.opening(commandTCP), to), d.firstWait())
	if len(early) > 0 {
		if err := c.openNow(ctx, early); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// DialPacket implements transport.PacketDialer. The datagrams share one stream of the
// carrier, which the first of them opens. Names go as they are: the exit looks them up.
func (d *Dialer) DialPacket(context.Context) (transport.PacketConn, error) {
	return newXUDP(newDialed(d.Carrier, d.opening(commandMux), 0)), nil
}

func (d *Dialer) firstWait() time.Duration {
	if d.Wait > 0 {
		return d.Wait
	}
	return firstWait
}

// opening is an opening up to the address.
func (d *Dialer) opening(command byte) []byte {
	b := append(make([]byte, 0, addonsAt+64), version)
	b = d.appendAddons(append(b, d.UUID[:]...))
	return append(b, command)
}

// appendAddons appends the length of the addons and, as padding, a seed. Xray and
// sing-box know that field and make nothing of it without a flow
// (proxy/vless/encoding/addons.proto; sing-vmess, vless/protocol.go); our own server
// skips it.
func (d *Dialer) appendAddons(b []byte) []byte {
	n := 0
	if d.Pad != nil {
		n = min(d.Pad(), MaxPad)
	}
	if n <= 0 {
		return append(b, 0)
	}
	seed := make([]byte, n)
	_, _ = rand.Read(seed)
	at := len(b)
	b = append(b, 0, fieldSeed<<3|wireBytes)
	b = append(binary.AppendUvarint(b, uint64(n)), seed...)
	b[at] = byte(len(b) - at - 1)
	return b
}

// share begins a stream among others, in a carrier's stream that has room.
func (d *Dialer) share(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	s, err := d.session(to)
	if err != nil {
		return nil, err
	}
	c := muxConn{s}
	if len(early) > 0 {
		if err := within(ctx, c, func() error { _, err := c.Write(early); return err }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (d *Dialer) session(to transport.Target) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, net.ErrClosed
	}
	alone := d.Alone != nil && d.Alone()
	if !alone {
		if s := d.among(to); s != nil {
			return s, nil
		}
	}
	m := newClientMux(newDialed(d.Carrier, d.opening(commandMux), 0), d.firstWait(), &d.ahead)
	m.asks = d.Asks
	if m.pads = d.Shape; alone {
		m.life = 1
	}
	d.muxes = append(d.muxes, m)
	s := m.ask(to, d.Mux)
	d.runs.Go(func() {
		_ = m.run(context.Background()) // each session has been told
		d.mu.Lock()
		defer d.mu.Unlock()
		d.muxes = slices.DeleteFunc(d.muxes, func(o *mux) bool { return o == m })
	})
	return s, nil
}

// among begins a session in a stream that has room, or returns nil; under mu.
func (d *Dialer) among(to transport.Target) *session {
	for _, busy := range []bool{false, true} {
		if busy && len(d.muxes) < mostSpread {
			return nil
		}
		// The first that has room: the others come to rest.
		for _, m := range d.muxes {
			if !busy && m.busy() {
				continue
			}
			if s := m.ask(to, d.Mux); s != nil {
				return s
			}
		}
	}
	return nil
}

// Close ends the streams that others share, and waits for what serves them. Streams
// and datagrams of their own go on.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	muxes := slices.Clone(d.muxes)
	d.mu.Unlock()
	for _, m := range muxes {
		m.fail(fmt.Errorf("dialer: %w", net.ErrClosed))
	}
	d.runs.Wait()
	return nil
}
