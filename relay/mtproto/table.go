package mtproto

import (
	"cmp"
	"context"
	"crypto/x509"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"relay/transport"
)

// probesOnce is how many probes of Probe are under way at a time.
const probesOnce = 8

// Table is where the data centres are. It may be used by many at once. Make it
// with [NewTable] or [Options.Table].
type Table struct {
	dcs    map[int]centre
	refuse bool
	roots  *x509.CertPool
	health *Health
}

// centre are the ways to one data centre, in the order in which they are tried.
type centre struct{ ways, media []Way }

// TableOptions are the choices of a Table.
type TableOptions struct {
	// Addrs replaces the addresses of data centres, by number, and adds data
	// centres. Those for tests have their number plus 10000.
	Addrs map[int][]netip.AddrPort
	// Web are ways over WebSocket to the data centres of Addrs, which have no
	// others: whoever says where a data centre is says all of it.
	Web map[int][]Way
	// PreferIPv6 tries IPv6 addresses first; otherwise IPv4 addresses are.
	PreferIPv6 bool
	// WebSocket says when those ways are used; the zero value is never.
	WebSocket WebSocket
	// RefuseUnknown refuses data centres that are not in the table. Otherwise
	// number 2 serves for them.
	RefuseUnknown bool
	// Roots are the authorities for WebSocket; nil means the system's.
	Roots *x509.CertPool
	// Health is what the table knows and learns; nil means one of its own.
	Health *Health
}

// WebSocket is when ways over WebSocket are used.
type WebSocket int

// The choices: not at all, when no address can be reached, or whenever there is
// such a way.
const (
	NeverWeb WebSocket = iota
	FallbackWeb
	AlwaysWeb
)

// NewTable returns a table of the known addresses, as changed by the options.
func NewTable(o TableOptions) *Table {
	t := &Table{dcs: make(map[int]centre), refuse: o.RefuseUnknown, roots: o.Roots, health: o.Health}
	if t.health == nil {
		t.health = NewHealth(nil)
	}
	addrs := builtinAddrs()
	maps.Copy(addrs, o.Addrs)
	for dc, list := range addrs {
		plain := ways(list, o.PreferIPv6)
		web, media := o.Web[dc], o.Web[dc]
		if _, changed := o.Addrs[dc]; !changed {
			web, media = builtinWeb(dc, false), builtinWeb(dc, true)
		}
		t.dcs[dc] = centre{o.WebSocket.order(plain, web), o.WebSocket.order(plain, media)}
	}
	return t
}

// ways are addresses in the order in which they are tried.
func ways(addrs []netip.AddrPort, preferIPv6 bool) (all []Way) {
	for _, a := range addrs {
		if to, err := transport.AddrTarget(a); err == nil {
			all = append(all, Way{Target: to})
		}
	}
	slices.SortStableFunc(all, func(a, b Way) int { return cmp.Compare(rank(a, preferIPv6), rank(b, preferIPv6)) })
	return all
}

func rank(w Way, preferIPv6 bool) int {
	if w.Target.Addr().Is6() == preferIPv6 {
		return 0
	}
	return 1
}

func (s WebSocket) order(plain, web []Way) []Way {
	switch {
	case s == NeverWeb:
		return plain
	case s == AlwaysWeb && len(web) > 0:
		return web
	}
	return slices.Concat(plain, web)
}

// ways are those to the data centre of an id.
func (t *Table) ways(id int16) []Way {
	dc, media := number(id)
	if media {
		return t.dcs[dc].media
	}
	return t.dcs[dc].ways
}

// find returns the way to the data centre of a frame, and the id to ask it for;
// false if there is none.
func (t *Table) find(id int16) (as int16, w Way, ok bool) {
	dc, media := number(id)
	as = idOf(dc, media)
	ways := t.ways(as)
	if len(ways) == 0 && !t.refuse {
		as = idOf(stand(dc), media)
		ways = t.ways(as)
	}
	if len(ways) == 0 {
		return 0, Way{}, false
	}
	return as, t.health.choose(as, ways), true
}

// Each calls f with every way that Probe tries, by number and in their order.
func (t *Table) Each(f func(dc int, w Way)) {
	for _, d := range t.all() {
		dc, _ := number(d.id)
		f(dc, d.way)
	}
}

// all are the ways to all data centres that are not for tests.
func (t *Table) all() []due {
	var all []due
	for _, dc := range slices.Sorted(maps.Keys(t.dcs)) {
		if dc > testDC {
			continue
		}
		c := t.dcs[dc]
		for _, w := range c.ways {
			all = append(all, due{idOf(dc, false), w})
		}
		for _, w := range c.media {
			if !slices.Contains(c.ways, w) {
				all = append(all, due{idOf(dc, true), w})
			}
		}
	}
	return all
}

// Result is what a probe has found.
type Result struct {
	DC   int
	Way  Way
	Err  error // nil: it could be reached
	Took time.Duration
}

// Probe tries every way to every data centre that is not for tests once, a few
// at a time and for at most five seconds each, notes what it finds and returns
// it, by number and in the order of the ways. Nobody calls it but the program: a
// table does not start anything by itself.
func (t *Table) Probe(ctx context.Context, dialer transport.Dialer) []Result {
	all := t.all()
	results := make([]Result, len(all))
	slots := make(chan struct{}, probesOnce)
	var wg sync.WaitGroup
	for i, d := range all {
		slots <- struct{}{}
		wg.Go(func() {
			began := time.Now()
			dc, _ := number(d.id)
			err := t.probe(ctx, dialer, d)
			results[i] = Result{dc, d.way, err, time.Since(began)}
			<-slots
		})
	}
	wg.Wait()
	return results
}
