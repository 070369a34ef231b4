package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"relay/transport"
)

// fakeConn is a connection that only knows whether it is closed.
type fakeConn struct {
	transport.Conn
	to     netip.AddrPort
	closed bool
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

// road is how the way to one address behaves.
type road struct {
	after time.Duration
	err   error
	stuck bool // answers even though the attempt was cancelled
}

// racing returns an Egress on roads, and a log of its attempts with their
// start times.
func racing(t *testing.T, roads map[string]road) (e *Egress, begun func() []string, conns func() []*fakeConn) {
	e = newTest(t, Options{})
	var mu sync.Mutex
	var log []string
	var made []*fakeConn
	start := time.Now()
	e.connect = func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
		host := to.Addr().String()
		mu.Lock()
		log = append(log, fmt.Sprintf("%s@%s", host, time.Since(start)))
		mu.Unlock()
		r := roads[host]
		if r.stuck {
			time.Sleep(r.after)
		} else {
			select {
			case <-time.After(r.after):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if r.err != nil {
			return nil, r.err
		}
		c := &fakeConn{to: to}
		mu.Lock()
		made = append(made, c)
		mu.Unlock()
		return c, nil
	}
	return e, func() []string { return log }, func() []*fakeConn { return made }
}

const a4, b4, a6, b6 = "1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"

var (
	forever = road{after: time.Hour}
	down    = road{err: ErrNetUnreachable}
)

var eyeballsTests = []struct {
	name  string
	addrs []string
	roads map[string]road
	begun string
	won   string
	err   error
	took  time.Duration
}{
	{"IPv6 first", []string{a4, a6}, map[string]road{a6: {after: 10 * time.Millisecond}}, a6 + "@0s", a6, nil, 10 * time.Millisecond},
	{
		"IPv4 after a delay",
		[]string{a4, a6},
		map[string]road{a6: forever, a4: {after: 10 * time.Millisecond}},
		a6 + "@0s " + a4 + "@250ms", a4, nil, 260 * time.Millisecond,
	},
	{
		"IPv4 at once after a failure",
		[]string{a4, a6},
		map[string]road{a6: down, a4: {after: 10 * time.Millisecond}},
		a6 + "@0s " + a4 + "@0s", a4, nil, 10 * time.Millisecond,
	},
	{
		"by turns",
		[]string{a4, b4, a6, b6},
		map[string]road{a6: forever, b6: forever, a4: forever, b4: {}},
		a6 + "@0s " + a4 + "@250ms " + b6 + "@500ms " + b4 + "@750ms", b4, nil, 750 * time.Millisecond,
	},
	{
		"a failure restarts the delay",
		[]string{a4, b4, a6},
		map[string]road{a6: {after: 100 * time.Millisecond, err: ErrRefused}, a4: forever, b4: {}},
		a6 + "@0s " + a4 + "@100ms " + b4 + "@350ms", b4, nil, 350 * time.Millisecond,
	},
	{
		"the first may still win",
		[]string{a4, a6},
		map[string]road{a6: {after: 300 * time.Millisecond}, a4: forever},
		a6 + "@0s " + a4 + "@250ms", a6, nil, 300 * time.Millisecond,
	},
	{
		"a late loser is closed",
		[]string{a4, a6},
		map[string]road{a6: {after: 270 * time.Millisecond, stuck: true}, a4: {after: 10 * time.Millisecond}},
		a6 + "@0s " + a4 + "@250ms", a4, nil, 270 * time.Millisecond,
	},
	{
		"all fail: the telling error",
		[]string{a4, a6},
		map[string]road{a6: down, a4: {err: ErrRefused}},
		a6 + "@0s " + a4 + "@0s", "", ErrRefused, 0,
	},
	{
		"out of time",
		[]string{a4, a6},
		map[string]road{a6: forever, a4: forever},
		a6 + "@0s " + a4 + "@250ms", "", ErrTimeout, DefaultDialTimeout,
	},
}

func TestHappyEyeballs(t *testing.T) {
	for _, tt := range eyeballsTests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, begun, conns := racing(t, tt.roads)
				var addrs []netip.Addr
				for _, a := range tt.addrs {
					addrs = append(addrs, netip.MustParseAddr(a))
				}
				e.names.ask = func(context.Context, string) ([]netip.Addr, time.Duration, error) { return addrs, 0, nil }
				start := time.Now()
				c, err := e.DialStream(t.Context(), target(t, "www.example.com:443"), nil)
				if d := time.Since(start); d != tt.took {
					t.Errorf("took %s, want %s", d, tt.took)
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
				if got := strings.Join(begun(), " "); got != tt.begun {
					t.Errorf("attempts: got %s, want %s", got, tt.begun)
				}
				for _, made := range conns() {
					if won := made.to.Addr().String() == tt.won; made.closed == won {
						t.Errorf("connection to %s: closed is %v, want %v", made.to, made.closed, !won)
					}
				}
				if tt.won != "" && (c == nil || c.(*fakeConn).to.Addr().String() != tt.won) {
					t.Errorf("won: got %v, want %s", c, tt.won)
				}
			})
		})
	}
}

func TestRaceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, begun, _ := racing(t, map[string]road{"1.1.1.1": {after: time.Hour}, "1.0.0.1": {after: time.Hour}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		list, err := e.admit([]netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("1.0.0.1")}, 443)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.race(ctx, list); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if got := len(begun()); got != 1 {
			t.Errorf("attempts: got %d, want 1", got)
		}
	})
}

func TestAdmitBound(t *testing.T) {
	e := newTest(t, Options{})
	var addrs []netip.Addr
	for i := range 100 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), netip.AddrFrom4([4]byte{10, 1, 1, byte(i)}))
	}
	list, err := e.admit(addrs, 443)
	if err != nil || len(list) != maxAddrs {
		t.Fatalf("got %d addresses, %v, want %d", len(list), err, maxAddrs)
	}
	if i := slices.IndexFunc(list, func(ap netip.AddrPort) bool { return ap.Addr().IsPrivate() }); i >= 0 {
		t.Errorf("got %s among them, want it dropped", list[i])
	}
}

// Names that end in every possible way, with real sockets, leave no goroutine.
func TestNoGoroutineLeft(t *testing.T) {
	s := newNameServer(t, func(name string, ty dnsmessage.Type) zone {
		switch {
		case name == "silent.example":
			return zone{silent: true}
		case name == "half.example" && ty == dnsmessage.TypeAAAA:
			return zone{silent: true}
		case ty == dnsmessage.TypeA:
			return zone{addrs: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}}
		}
		return zone{exists: true}
	})
	before := runtime.NumGoroutine()
	e := newTest(t, Options{Config: Config{Allow: []string{"127.0.0.0/8"}}, DNS: DNS{Servers: []string{s.addr}}})
	port := closedPort(t)
	for _, name := range []string{"silent.example", "half.example", "fine.example"} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := e.DialStream(ctx, target(t, fmt.Sprintf("%s:%d", name, port)), nil)
		cancel()
		want := ErrRefused
		if name == "silent.example" {
			want = ErrTimeout
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	// The net package ends its own goroutines shortly after it returns, so
	// this one wait is for the real clock; it ends as soon as they are gone.
	deadline := time.Now().Add(time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if got := runtime.NumGoroutine(); got > before {
		b := make([]byte, 1<<16)
		t.Errorf("goroutines: got %d, want %d\n%s", got, before, b[:runtime.Stack(b, true)])
	}
}
