package mtproto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

// world is a network of which a watcher sees some addresses.
type world struct {
	mu     sync.Mutex
	down   map[string]error
	probed []string
	times  []time.Time
}

// DialStream implements transport.Dialer.
func (w *world) DialStream(_ context.Context, to transport.Target, _ []byte) (transport.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probed, w.times = append(w.probed, to.String()), append(w.times, time.Now())
	switch err := w.down[to.String()]; err {
	case nil:
	case errTaken:
		c, peer := relaytest.Pipe()
		_ = peer.Close()
		return c, nil
	default:
		return nil, err
	}
	return answering(), nil
}

// answering is a connection to a data centre that says something when it is asked.
func answering() transport.Conn {
	c, peer := relaytest.Pipe()
	go func() {
		_, _ = peer.Read(make([]byte, 1))
		_, _ = peer.Write([]byte{1})
		_, _ = io.Copy(io.Discard, peer)
		_ = peer.Close()
	}()
	return c
}

func (w *world) set(addr string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[addr] = err
}

// seen is what was probed since it was asked last, sorted.
func (w *world) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := slices.Sorted(slices.Values(w.probed))
	w.probed, w.times = nil, nil
	return s
}

const every = 10 * time.Minute

// watched runs f beside a watcher of a table. said are the changes.
func watched(t *testing.T, o TableOptions, f func(table *Table, net *world, said func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var lines []string
		o.Health = NewHealth(func(c Change) {
			mu.Lock()
			defer mu.Unlock()
			line := fmt.Sprintf("%d up %v", c.DC, c.Way)
			if c.Down {
				line = fmt.Sprintf("%d down %v, now %v", c.DC, c.Way, c.Instead)
			}
			lines = append(lines, line)
		})
		table, net := NewTable(o), &world{down: make(map[string]error)}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { table.Watch(ctx, net, every) })
		defer all.Wait()
		defer cancel()
		f(table, net, func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			s := lines
			lines = nil
			return s
		})
	})
}

func equal(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

// Nothing is probed but what clients ask for: neither at the start nor later, and
// not for ever.
func TestWatchOnlyWhatIsUsed(t *testing.T) {
	watched(t, TableOptions{WebSocket: FallbackWeb}, func(table *Table, net *world, _ func() []string) {
		time.Sleep(48 * time.Hour)
		equal(t, "nobody has asked", net.seen())
		table.find(4)
		table.find(77) // number 2 serves
		time.Sleep(every)
		got := slices.Compact(net.seen())
		equal(t, "4 and 77", got, "149.154.167.51:443", "149.154.167.91:443", "95.161.76.100:443", "[2001:67c:4e8:f002::a]:443", "[2001:67c:4e8:f004::a]:443")
		time.Sleep(25 * time.Hour)
		net.seen()
		time.Sleep(every * 2)
		equal(t, "a day later", net.seen())
	})
}

// Each address is probed about once in every, at a time of its own.
func TestWatchSpread(t *testing.T) {
	watched(t, TableOptions{}, func(table *Table, net *world, _ func() []string) {
		for dc := range int16(5) {
			table.find(dc + 1)
		}
		const rounds = 20
		time.Sleep(rounds * every)
		net.mu.Lock()
		defer net.mu.Unlock()
		if got, want := len(net.probed), 11*rounds; got < want*3/4 || got > want*5/4 {
			t.Errorf("probes of 11 addresses: got %d, want about %d", got, want)
		}
		crowded := 0
		for i := range net.times[1:] {
			if net.times[i+1].Sub(net.times[i]) < time.Second {
				crowded++
			}
		}
		if crowded > len(net.times)/10 {
			t.Errorf("within a second of another: got %d of %d probes, want few", crowded, len(net.times))
		}
	})
}

// An address goes down and comes back, and nobody's connection was needed to see.
func TestWatchDownAndUp(t *testing.T) {
	watched(t, TableOptions{}, func(table *Table, net *world, said func() []string) {
		wants := func(when, want string) {
			t.Helper()
			if _, got, _ := table.find(2); got.String() != want {
				t.Errorf("%s: got %s, want %s", when, got, want)
			}
		}
		wants("at first", one)
		net.set(one, policy.ErrRefused)
		time.Sleep(2 * every)
		equal(t, "one is down", said(), fmt.Sprintf("2 down %s, now %s", one, two))
		wants("one is down", two)
		net.set(one, nil)
		time.Sleep(downMost)
		equal(t, "one is back", said(), "2 up "+one)
		wants("one is back", one)
		net.seen()

		// A client found it: looked at soon again, and no client is sent to see.
		fails(table, one)
		equal(t, "a client's connection failed", said(), fmt.Sprintf("2 down %s, now %s", one, two))
		net.set(one, policy.ErrTimeout)
		for range 600 {
			time.Sleep(time.Second)
			wants("while it is down", two)
		}
		n := 0
		for _, a := range net.seen() {
			if a == one {
				n++
			}
		}
		if n < 3 || n > 5 {
			t.Errorf("probes in the ten minutes after: got %d, want them after 30 s, one minute, two and four", n)
		}
		equal(t, "still down", said())
	})
}

// errTaken is of an address that takes connections and ends them.
var errTaken = errors.New("taken")

// Who was told nothing has the way looked at, soon and not more often for it: it may be
// the client's doing.
func TestWatchDoubt(t *testing.T) {
	watched(t, TableOptions{}, func(table *Table, net *world, said func() []string) {
		id, first, _ := table.find(2)
		health := table.health
		learns := (&request{table: table, id: id, way: first}).Learns()
		time.Sleep(2 * every)
		net.seen()
		for range 100 {
			learns(64, 0)
			synctest.Wait()
		}
		time.Sleep(retryTime + time.Second)
		got := slices.DeleteFunc(net.seen(), func(a string) bool { return a != one })
		equal(t, "a hundred clients were told nothing", got, one, one)
		equal(t, "the address answers", said())
		learns(0, 0)
		learns(64, 1)
		if len(health.doubted) > 0 {
			t.Errorf("who says nothing, and who is answered: got %v in doubt, want nothing", health.doubted)
		}
		net.set(one, errTaken)
		learns(64, 0)
		time.Sleep(retryTime)
		equal(t, "it takes connections and ends them", said(), fmt.Sprintf("2 down %s, now %s", one, two))
		if _, got, _ := table.find(2); got.String() != two {
			t.Errorf("the next client: got %s, want %s", got, two)
		}
		time.Sleep(downMost)
		equal(t, "it still does", said())
		net.set(one, nil)
		time.Sleep(2 * downMost)
		equal(t, "it is back", said(), "2 up "+one)
	})
}

// A mark outlives clients who were on their way when it was made, and a doubt those who
// have it beside a probe. What a client hears brings the next probe forward.
func TestWatchMarkStays(t *testing.T) {
	watched(t, TableOptions{}, func(table *Table, net *world, said func() []string) {
		id, first, _ := table.find(2)
		health := table.health
		r := &request{table: table, id: id, way: first}
		learns := r.Learns()
		time.Sleep(2 * every)
		net.set(one, errTaken)
		learns(64, 0)
		equal(t, "the address is dead", said(), fmt.Sprintf("2 down %s, now %s", one, two))
		health.connected(id, first)
		learns(64, 0)
		if _, got, _ := table.find(2); got.String() != two {
			t.Errorf("the next client: got %s, want %s", got, two)
		}
		equal(t, "it still is", said())
		if len(health.doubted) > 0 {
			t.Errorf("in doubt: got %v, want nothing of what is down", health.doubted)
		}
		net.set(one, nil)
		net.seen()
		learns(64, 64)
		time.Sleep(retryTime + time.Second)
		equal(t, "a client has heard something", said(), "2 up "+one)
		net.set(one, errTaken)
		began := time.Now()
		for time.Since(began) < every && len(said()) == 0 {
			learns(64, 0)
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > retryTime+2*time.Second {
			t.Errorf("in doubt each second: got the mark after %v, want it within %v", took, retryTime)
		}
	})
}

// This machine without a network of that kind is nobody's news.
func TestWatchNoNetwork(t *testing.T) {
	watched(t, TableOptions{}, func(table *Table, net *world, said func() []string) {
		net.set(three, policy.ErrNetUnreachable)
		table.find(2)
		time.Sleep(2 * every)
		equal(t, "no IPv6", said())
		net.set(three, nil)
		time.Sleep(2 * every)
		equal(t, "IPv6", said())
		net.set(one, fmt.Errorf("%w: not in presets", policy.ErrDenied))
		time.Sleep(2 * every)
		equal(t, "denied", said())
	})
}

// The way over WebSocket is used when all addresses are down, left alone before,
// and looked at when it is down too.
func TestWatchWebSocket(t *testing.T) {
	const kws = "wss://kws2.web.telegram.org/apiws"
	watched(t, TableOptions{WebSocket: FallbackWeb}, func(table *Table, net *world, said func() []string) {
		table.find(2)
		for _, a := range []string{one, two, three} {
			net.set(a, policy.ErrTimeout)
		}
		time.Sleep(2 * every)
		if got := said(); len(got) != 3 || got[2][len(got[2])-len(kws):] != kws {
			t.Errorf("all addresses down: got %q, want three lines, the last with %s", got, kws)
		}
		if slices.Contains(net.seen(), "kws2.web.telegram.org:443") {
			t.Error("a way that is only for the case was probed")
		}
		if _, got, _ := table.find(2); got.String() != kws {
			t.Errorf("all addresses down: got %s, want %s", got, kws)
		}
		if _, got, _ := table.find(-2); got.String() != "wss://kws2-1.web.telegram.org/apiws" {
			t.Errorf("all addresses down, media: got %s, want kws2-1", got)
		}
		net.set("kws2.web.telegram.org:443", policy.ErrNotFound)
		w, err := ParseWay(kws)
		if err != nil {
			t.Fatal(err)
		}
		table.health.failed(2, table.ways(2), w, policy.ErrNotFound)
		time.Sleep(every)
		if !slices.Contains(net.seen(), "kws2.web.telegram.org:443") {
			t.Error("a way that is down was not probed")
		}
		if got := said(); len(got) != 1 {
			t.Errorf("nothing is left: got %q, want one line", got)
		}
		net.set(two, nil)
		time.Sleep(downMost)
		equal(t, "an address is back", said(), "2 up "+two)
		if _, got, _ := table.find(-2); got.String() != two {
			t.Errorf("an address is back: got %s, want %s", got, two)
		}
	})
}

func TestWebSocketOrder(t *testing.T) {
	own := map[int][]Way{6: {plain("192.0.2.6:8443")}} // whatever it is, it is the last
	addrs := map[int][]netip.AddrPort{6: {ap("192.0.2.6:443")}, 5: {ap("192.0.2.5:443")}}
	for _, tt := range []struct {
		when WebSocket
		id   int16
		want string
	}{
		{NeverWeb, 1, "[149.154.175.50:443 [2001:b28:f23d:f001::a]:443]"},
		{FallbackWeb, 1, "[149.154.175.50:443 [2001:b28:f23d:f001::a]:443 wss://kws1.web.telegram.org/apiws]"},
		{FallbackWeb, -1, "[149.154.175.50:443 [2001:b28:f23d:f001::a]:443 wss://kws1-1.web.telegram.org/apiws]"},
		{FallbackWeb, 5, "[192.0.2.5:443]"}, // whoever says where it is says all of it
		{FallbackWeb, 6, "[192.0.2.6:443 192.0.2.6:8443]"},
		{FallbackWeb, 203, "[91.105.192.100:443 [2a0a:f280:203:a:5000::100]:443]"},
		{AlwaysWeb, 4, "[wss://kws4.web.telegram.org/apiws]"},
		{AlwaysWeb, -10002, "[wss://kws2-1.web.telegram.org/apiws_test]"},
		{AlwaysWeb, -6, "[192.0.2.6:8443]"},
		{AlwaysWeb, 203, "[91.105.192.100:443 [2a0a:f280:203:a:5000::100]:443]"},
	} {
		if got := fmt.Sprint(NewTable(TableOptions{WebSocket: tt.when, Addrs: addrs, Web: own}).ways(tt.id)); got != tt.want {
			t.Errorf("%d, id %d: got %s, want %s", tt.when, tt.id, got, tt.want)
		}
	}
}
