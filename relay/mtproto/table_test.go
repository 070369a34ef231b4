package mtproto

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestFind(t *testing.T) {
	changed := TableOptions{Addrs: map[int][]netip.AddrPort{
		2: {ap("[2001:db8::2]:5222"), ap("192.0.2.2:80"), ap("192.0.2.1:443")}, 6: {ap("[::ffff:192.0.2.6]:443")}, 10004: {ap("192.0.2.44:443")}, 5: nil,
	}}
	v6, strict := changed, changed
	v6.PreferIPv6, strict.RefuseUnknown = true, true
	for _, tt := range []struct {
		name string
		o    TableOptions
		id   int16
		as   int16
		want string // "": none
	}{
		{"1", TableOptions{}, 1, 1, "149.154.175.50:443"},
		{"2", TableOptions{}, 2, 2, "149.154.167.51:443"},
		{"2 media", TableOptions{}, -2, -2, "149.154.167.51:443"},
		{"5", TableOptions{}, 5, 5, "149.154.171.5:443"},
		{"CDN", TableOptions{}, 203, 203, "91.105.192.100:443"},
		{"CDN media", TableOptions{}, -203, -203, "91.105.192.100:443"},
		{"test 1", TableOptions{}, 10001, 10001, "149.154.175.10:443"},
		{"test 2 media", TableOptions{}, -10002, -10002, "149.154.167.40:443"},
		{"0 is 2", TableOptions{}, 0, 2, "149.154.167.51:443"},
		{"test 0 is test 2", TableOptions{}, 10000, 10002, "149.154.167.40:443"},
		{"unknown", TableOptions{}, 6, 2, "149.154.167.51:443"},
		{"unknown media", TableOptions{}, -6, -2, "149.154.167.51:443"},
		{"unknown test", TableOptions{}, 10004, 10002, "149.154.167.40:443"},
		{"largest", TableOptions{}, 32767, 10002, "149.154.167.40:443"},
		{"smallest", TableOptions{}, -32768, -10002, "149.154.167.40:443"},
		{"IPv6", TableOptions{PreferIPv6: true}, 2, 2, "[2001:67c:4e8:f002::a]:443"},
		{"IPv6 CDN", TableOptions{PreferIPv6: true}, 203, 203, "[2a0a:f280:203:a:5000::100]:443"},
		{"unknown refused", TableOptions{RefuseUnknown: true}, 6, 0, ""},
		{"0 is not unknown", TableOptions{RefuseUnknown: true}, 0, 2, "149.154.167.51:443"},
		{"changed", changed, 2, 2, "192.0.2.2:80"},
		{"changed, IPv6", v6, 2, 2, "[2001:db8::2]:5222"},
		{"added", strict, -6, -6, "192.0.2.6:443"},
		{"added test", strict, 10004, 10004, "192.0.2.44:443"},
		{"unknown goes to the changed one", changed, 7, 2, "192.0.2.2:80"},
		{"taken away", changed, 5, 2, "192.0.2.2:80"},
		{"taken away, refused", strict, 5, 0, ""},
		{"others stay", changed, 4, 4, "149.154.167.91:443"},
	} {
		as, at, ok := NewTable(tt.o).find(tt.id)
		got := ""
		if ok {
			got = at.String()
		}
		if got != tt.want || as != tt.as {
			t.Errorf("%s: got %d at %q, want %d at %q", tt.name, as, got, tt.as, tt.want)
		}
	}
}

// A relay that is limited to Telegram reaches all of it.
func TestBuiltinInPreset(t *testing.T) {
	egress, err := policy.New(policy.Options{Config: policy.Config{Presets: []string{"telegram"}}})
	if err != nil {
		t.Fatal(err)
	}
	table, n := NewTable(TableOptions{WebSocket: FallbackWeb}), 0
	for _, c := range table.dcs {
		for _, w := range append(c.ways, c.media...) {
			n++
			if err := egress.Check(w.Target); err != nil {
				t.Errorf("%s: got %v, want it in the preset", w, err)
			}
		}
	}
	if want := 2 * (19 + 8); n != want {
		t.Errorf("ways: got %d, want %d", n, want)
	}
}

const (
	one   = "149.154.167.51:443"
	two   = "95.161.76.100:443"
	three = "[2001:67c:4e8:f002::a]:443"
)

// plain is the way to an address.
func plain(s string) Way {
	to, err := transport.AddrTarget(ap(s))
	if err != nil {
		panic(err)
	}
	return Way{Target: to}
}

// fails is a connection for data centre 2 that could not be made.
func fails(t *Table, addr string) { t.health.failed(2, t.ways(2), plain(addr), policy.ErrRefused) }

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(TableOptions{})
		wants := func(when string, want ...string) {
			t.Helper()
			for _, w := range want {
				if _, got, _ := table.find(2); got.String() != w {
					t.Errorf("%s: got %s, want %s", when, got, w)
				}
			}
		}
		wants("at first", one, one)
		fails(table, one)
		fails(table, one) // was on its way
		wants("one failed", two, two)
		fails(table, two)
		wants("two failed", three, three)
		fails(table, three)
		wants("all failed at once", one, one)
		time.Sleep(downFirst - 1)
		wants("just before the time is over", one)
		time.Sleep(time.Nanosecond)
		// Each gets one connection that tries.
		wants("time is over", one, two, three, one)
		table.health.reached(2, plain(two))
		wants("two is back", two, two)
		fails(table, one)
		wants("one failed again", two)
		time.Sleep(2*downFirst - 1)
		wants("twice as long", two)
		time.Sleep(time.Nanosecond)
		wants("twice as long is over", one, two)
		time.Sleep(retryTime)
		wants("nothing heard of the one that tried", one, two)
		table.health.reached(2, plain(one))
		wants("one is back", one, one)
		fails(table, one)
		wants("a new outage", two)
		time.Sleep(downFirst)
		wants("a new outage is short again", one, two)
	})
}

func TestOutageIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(TableOptions{})
		for range 20 {
			fails(table, one)
			time.Sleep(downMost)
			if _, got, _ := table.find(2); got != plain(one) {
				t.Fatalf("after %v: got %s, want another try", downMost, got)
			}
		}
	})
}

// The only address of a data centre is tried however often it has failed.
func TestOnlyAddress(t *testing.T) {
	table := NewTable(TableOptions{Addrs: map[int][]netip.AddrPort{2: {ap("192.0.2.1:443")}}})
	fails(table, "192.0.2.1:443")
	if _, got, ok := table.find(2); !ok || got != plain("192.0.2.1:443") {
		t.Errorf("got %s, %t, want it", got, ok)
	}
}

// dialFunc is a Dialer.
type dialFunc func(ctx context.Context, to transport.Target) (transport.Conn, error)

func (f dialFunc) DialStream(ctx context.Context, to transport.Target, _ []byte) (transport.Conn, error) {
	return f(ctx, to)
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(TableOptions{})
		fails(table, two)
		var at, most atomic.Int32
		began := time.Now()
		results := table.Probe(t.Context(), dialFunc(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
			if n := at.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer at.Add(-1)
			switch {
			case to.String() == one: // says nothing
				<-ctx.Done()
				return nil, ctx.Err()
			case to.Addr().Is6():
				return nil, policy.ErrNetUnreachable
			case to.String() == "149.154.171.5:443":
				return nil, policy.ErrDenied
			}
			time.Sleep(time.Second)
			return answering(), nil
		}))
		if reached, all := count(results), len(results); reached != 5 || all != 13 {
			t.Errorf("Probe: got %d of %d reached, want 5 of 13", reached, all)
		}
		if got := most.Load(); got > probesOnce {
			t.Errorf("at once: got %d, want at most %d", got, probesOnce)
		}
		if took := time.Since(began); took > 2*probeTime {
			t.Errorf("Probe: got back after %v, want it within %v", took, 2*probeTime)
		}
		var down []string
		for w := range table.health.down {
			if w.Target.Addr().Is4() {
				down = append(down, w.String())
			}
		}
		if !slices.Equal(down, []string{one}) {
			t.Errorf("down: got %q, want what did not answer, and not what policy refuses", down)
		}
		if _, got, _ := table.find(2); got != plain(two) {
			t.Errorf("data centre 2: got %s, want %s", got, two)
		}
	})
}

// count is how many ways could be reached.
func count(results []Result) (reached int) {
	for _, r := range results {
		if r.Err == nil {
			reached++
		}
	}
	return reached
}

// A probe that is called off knows nothing.
func TestProbeCancelled(t *testing.T) {
	table := NewTable(TableOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results := table.Probe(ctx, dialFunc(func(ctx context.Context, _ transport.Target) (transport.Conn, error) { return nil, ctx.Err() }))
	if reached := count(results); reached != 0 || len(table.health.down) > 0 {
		t.Errorf("got %d reached, %d down, want none", reached, len(table.health.down))
	}
}

// A real connection, and a port on which nobody listens.
func TestProbeLoopback(t *testing.T) {
	relaytest.LeakCheck(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	none := make(map[int][]netip.AddrPort)
	for dc := range builtin {
		none[dc] = nil
	}
	none[2] = []netip.AddrPort{ap(closed.Addr().String()), ap(ln.Addr().String())}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(c, c, 1)
			_ = c.Close()
		}
	}()
	table := NewTable(TableOptions{Addrs: none})
	direct := dialFunc(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
		if err != nil {
			return nil, errors.Join(policy.ErrRefused, err)
		}
		return c.(*net.TCPConn), nil
	})
	results := table.Probe(t.Context(), direct)
	if reached, all := count(results), len(results); reached != 1 || all != 2 {
		t.Errorf("Probe: got %d of %d, want 1 of 2", reached, all)
	}
	if _, got, _ := table.find(2); got.String() != ln.Addr().String() {
		t.Errorf("data centre 2: got %s, want the one that listens", got)
	}
}
