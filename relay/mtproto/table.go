package mtproto

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"relay/relay/policy"
	"relay/transport"
)

const (
	downFirst  = 30 * time.Second // an address that failed once is left alone for so long,
	downMost   = 10 * time.Minute // twice as long each time, and no longer than this
	retryTime  = 15 * time.Second // then one connection tries, and has so long to succeed
	probeTime  = 5 * time.Second
	probesOnce = 8
)

// Table is where the data centres are, and which addresses have failed. It may
// be used by many at once. Make it with [NewTable] or [Options.Table].
type Table struct {
	dcs    map[int][]netip.AddrPort // in the order in which they are tried
	refuse bool

	mu   sync.Mutex
	down map[netip.AddrPort]*outage
}

// outage is what is known of an address that has failed.
type outage struct {
	until  time.Time
	length time.Duration
	trying bool // a connection was let through to see
}

// TableOptions are the choices of a Table.
type TableOptions struct {
	// Addrs replaces the addresses of data centres, by number, and adds data
	// centres. Those for tests have their number plus 10000.
	Addrs map[int][]netip.AddrPort
	// PreferIPv6 tries IPv6 addresses first; otherwise IPv4 addresses are.
	PreferIPv6 bool
	// RefuseUnknown refuses data centres that are not in the table. Otherwise
	// number 2 serves for them.
	RefuseUnknown bool
}

// NewTable returns a table of the known addresses, as changed by the options.
func NewTable(o TableOptions) *Table {
	t := &Table{dcs: builtinAddrs(), refuse: o.RefuseUnknown, down: make(map[netip.AddrPort]*outage)}
	for dc, addrs := range o.Addrs {
		t.dcs[dc] = nil
		for _, a := range addrs {
			t.dcs[dc] = append(t.dcs[dc], netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	for _, addrs := range t.dcs {
		slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int {
			return cmp.Compare(rank(a, o.PreferIPv6), rank(b, o.PreferIPv6))
		})
	}
	return t
}

func rank(a netip.AddrPort, preferIPv6 bool) int {
	if a.Addr().Is6() == preferIPv6 {
		return 0
	}
	return 1
}

// find returns where the data centre of a frame is, and the id to ask it for;
// false if there is none.
func (t *Table) find(id int16) (as int16, at netip.AddrPort, ok bool) {
	dc, media := number(id)
	addrs := t.dcs[dc]
	if len(addrs) == 0 && !t.refuse {
		dc = stand(dc)
		addrs = t.dcs[dc]
	}
	if len(addrs) == 0 {
		return 0, netip.AddrPort{}, false
	}
	return idOf(dc, media), t.choose(addrs), true
}

// choose returns the first address that is not known to be down. One whose time
// is over goes to a single connection: many clients would wait in vain.
func (t *Table) choose(addrs []netip.AddrPort) netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.down) == 0 || len(addrs) == 1 {
		return addrs[0]
	}
	now := time.Now()
	best := addrs[0] // when all are down: the one to be tried soonest
	for _, a := range addrs {
		o := t.down[a]
		if o == nil {
			return a
		}
		if !now.Before(o.until) {
			o.until, o.trying = now.Add(retryTime), true
			return a
		}
		if o.until.Before(t.down[best].until) {
			best = a
		}
	}
	return best
}

// failed marks an address that could not be reached.
func (t *Table) failed(a netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	o := t.down[a]
	switch {
	case o == nil:
		o = &outage{length: downFirst}
		t.down[a] = o
	case now.Before(o.until) && !o.trying:
		return // of those who were on their way when the first one failed
	default:
		o.length = min(2*o.length, downMost)
	}
	o.until, o.trying = now.Add(o.length), false
}

// reached takes the mark off an address.
func (t *Table) reached(a netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.down, a)
}

// unreachable reports whether a refused request says something about the address
// of its target. What policy or the user's account refuse does not.
func unreachable(reason error) bool {
	return errors.Is(reason, policy.ErrRefused) || errors.Is(reason, policy.ErrTimeout) ||
		errors.Is(reason, policy.ErrNetUnreachable) || errors.Is(reason, policy.ErrHostUnreachable)
}

// Probe connects to every address once, a few at a time and for at most five
// seconds each, closes again, and notes what it finds. It returns how many
// addresses there are and how many could be reached. Nobody calls it but the
// program: a table does not start anything by itself.
func (t *Table) Probe(ctx context.Context, dialer transport.Dialer) (reached, all int) {
	addrs := t.addrs()
	good := make([]bool, len(addrs))
	slots := make(chan struct{}, probesOnce)
	var wg sync.WaitGroup
	for i, a := range addrs {
		slots <- struct{}{}
		wg.Go(func() {
			good[i] = t.probe(ctx, dialer, a)
			<-slots
		})
	}
	wg.Wait()
	for _, g := range good {
		if g {
			reached++
		}
	}
	return reached, len(addrs)
}

func (t *Table) probe(ctx context.Context, dialer transport.Dialer, a netip.AddrPort) bool {
	to, err := transport.AddrTarget(a)
	if err != nil {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := dialer.DialStream(limited, to, nil)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, policy.ErrDenied) {
			t.failed(a)
		}
		return false
	}
	_ = transport.Abort(c) // nothing was said: no reason to keep the port busy
	t.reached(a)
	return true
}

// addrs are all addresses, each once, in a fixed order.
func (t *Table) addrs() []netip.AddrPort {
	var all []netip.AddrPort
	for _, addrs := range t.dcs {
		all = append(all, addrs...)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
}
