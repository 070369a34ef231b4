package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"relay/transport"
)

// The bounds of one client's datagrams. A call has a dozen targets, a resolver
// has three; a scan has thousands.
const (
	maxPacketTargets    = 64
	newTargetsPerSecond = 20 // and as many at once
	// targetQuiet is how long a target has been silent, both ways, that gives its
	// place to a new one. RFC 4787, REQ-5: no sooner than after two minutes.
	targetQuiet = 2 * time.Minute
	// maxPacketLookups are the names that are being looked up, and the next two
	// what waits for them.
	maxPacketLookups = 8
	maxWaiting       = 4 // datagrams, for each name
	maxWaitingBytes  = 16 << 10
)

// ErrTooManyTargets drops a datagram: its client has too many targets, or too
// many new ones within a second.
var ErrTooManyTargets = errors.New("too many targets")

// packetTarget is where datagrams go: a target as the client wrote it, with one
// address for as long as it has a place.
type packetTarget struct {
	to   transport.Target
	addr netip.AddrPort // invalid: not known yet, or err
	last time.Time      // when anything went there or came from there

	err     error              // why the name has no address
	until   time.Time          // and until when that holds
	cancel  context.CancelFunc // not nil: it is being looked up
	waiting [][]byte
}

// WritePacket implements transport.PacketConn. A datagram for a name that is being
// looked up waits, and may be dropped without a word.
func (p *packets) WritePacket(b []byte, to transport.Target) error {
	addr, err := p.address(b, to)
	if err != nil || !addr.IsValid() {
		return err
	}
	return p.send(b, addr)
}

func (p *packets) send(b []byte, to netip.AddrPort) error {
	s, err := p.socket(to.Addr().Is4())
	if err == nil {
		_, err = s.WriteToUDPAddrPort(b, to)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	return failure("send", err)
}

// address is where a datagram goes; invalid if it has been queued.
func (p *packets) address(b []byte, to transport.Target) (netip.AddrPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return netip.AddrPort{}, net.ErrClosed
	case p.late:
		return netip.AddrPort{}, os.ErrDeadlineExceeded
	}
	now := time.Now()
	t, err := p.target(to, now)
	if err != nil {
		return netip.AddrPort{}, err
	}
	t.last = now
	if t.addr.IsValid() {
		return t.addr, nil
	}
	if t.err != nil && now.Before(t.until) {
		return netip.AddrPort{}, t.err
	}
	if t.cancel == nil {
		if err := p.startLookup(t, now); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPort{}, p.queue(t, b)
}

// target finds a target, or judges it and makes a place for it; under mu.
func (p *packets) target(to transport.Target, now time.Time) (*packetTarget, error) {
	for _, t := range p.targets {
		if t.to == to {
			return t, nil
		}
	}
	// First: who is refused takes no place, and is told so.
	if err := p.e.Check(to); err != nil {
		return nil, err
	}
	place := p.place(now)
	if place < 0 || !p.fresh.AllowN(now, 1) {
		return nil, ErrTooManyTargets
	}
	t := &packetTarget{to: to}
	if !to.IsName() {
		t.addr = netip.AddrPortFrom(to.Addr(), to.Port())
	}
	if place == len(p.targets) {
		p.targets = append(p.targets, t)
	} else {
		p.targets[place] = t
	}
	return t, nil
}

// place is the index for a new target; -1: there is none.
func (p *packets) place(now time.Time) int {
	if len(p.targets) < maxPacketTargets {
		return len(p.targets)
	}
	oldest := -1
	for i, t := range p.targets {
		quiet := t.cancel == nil && now.Sub(t.last) >= targetQuiet
		if quiet && (oldest < 0 || t.last.Before(p.targets[oldest].last)) {
			oldest = i
		}
	}
	return oldest
}

// knows reports whether an answer may come from there; under mu.
func (p *packets) knows(from netip.AddrPort) bool {
	for _, t := range p.targets {
		if t.addr == from {
			t.last = time.Now()
			return true
		}
	}
	return false
}

// queue keeps a datagram until its name has been looked up; under mu.
func (p *packets) queue(t *packetTarget, b []byte) error {
	if len(t.waiting) >= maxWaiting || p.waiting+len(b) > maxWaitingBytes {
		return errPacketQueue
	}
	t.waiting = append(t.waiting, slices.Clone(b))
	p.waiting += len(b)
	return nil
}

// startLookup looks a name up; under mu. A name that failed counts as new.
func (p *packets) startLookup(t *packetTarget, now time.Time) error {
	if t.err != nil && !p.fresh.AllowN(now, 1) {
		return ErrTooManyTargets
	}
	if p.lookups >= maxPacketLookups {
		return errPacketQueue
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.e.timeout)
	p.lookups++
	t.err, t.cancel = nil, cancel
	p.wg.Go(func() {
		defer cancel()
		p.lookUp(ctx, t)
	})
	return nil
}

// lookUp finds the address of a target and sends what has waited for it.
func (p *packets) lookUp(ctx context.Context, t *packetTarget) {
	list, err := p.e.addresses(ctx, t.to)
	p.mu.Lock()
	waiting := t.waiting
	for _, b := range waiting {
		p.waiting -= len(b)
	}
	p.lookups--
	t.waiting, t.cancel = nil, nil
	if err != nil {
		t.err, t.until = err, time.Now().Add(negativeTTL)
	} else {
		t.addr = list[0]
	}
	p.mu.Unlock()
	if err != nil || len(waiting) == 0 {
		return
	}
	for err = p.send(waiting[0], list[0]); errors.Is(err, ErrNetUnreachable) && len(list) > 1; err = p.send(waiting[0], list[0]) {
		list = list[1:]
		p.mu.Lock()
		t.addr = list[0]
		p.mu.Unlock()
	}
	for _, b := range waiting[1:] {
		_ = p.send(b, list[0])
	}
}

// addresses are those of a name that may be reached, IPv4 first: a datagram has no
// handshake that would show which family works, and nearly everywhere IPv4 does.
func (e *Egress) addresses(ctx context.Context, to transport.Target) ([]netip.AddrPort, error) {
	addrs, err := e.resolve(ctx, to.Name())
	if err != nil {
		return nil, failure("resolve", err)
	}
	list, err := e.admit(addrs, to.Port())
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return list, nil
}
