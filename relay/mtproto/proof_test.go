package mtproto

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

// TestFlowReroute is that a client whose data centre has an address that refuses him
// gets another one with the same connection, and that he is told when there is none.
func TestFlowReroute(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, closedAddr(t), closedAddr(t), ln.Addr().String())
	for seed := range byte(2) {
		opening, o := dials(31+seed, r.keys.key("alice"), tagPadded, 2)
		client := r.dial(append(opening, xored(o.forth, "hello")...))
		dc := exchange{t: t, tag: tagPadded, as: 2}.dc(r.accept(ln))
		reads(t, dc, "hello", "at the data centre")
		_ = client.CloseWrite()
		_ = dc.Conn.Close()
	}
	r.ended(map[transport.Status]int64{transport.OK: 2})

	r = startRelay(t, closedAddr(t), closedAddr(t))
	opening, _ := dials(33, r.keys.key("alice"), tagPadded, 2)
	if n, err := r.dial(opening).Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no address works: got %d bytes, %v, want ECONNRESET", n, err)
	}
	r.ended(map[transport.Status]int64{transport.DialFailed: 1})
}

// TestFlowLeft is that who leaves is gone soon, though his data centre says nothing.
func TestFlowLeft(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, ln.Addr().String())
	opening, o := dials(35, r.keys.key("alice"), tagPadded, 2)
	client := r.dial(append(opening, xored(o.forth, "hello")...))
	dc := exchange{t: t, tag: tagPadded, as: 2}.dc(r.accept(ln))
	defer dc.Conn.Close()
	reads(t, dc, "hello", "at the data centre")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ended := func() (n int64) {
		for _, m := range r.srv.Snapshot().Ends {
			n += m
		}
		return n
	}
	for began := time.Now(); ended() == 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > limit*3/4 { // the rig's Fin is limit
			t.Fatalf("a client who has left: still there after %v", time.Since(began))
		}
	}
}

// TestReroute is how many addresses a connection tries, and how long.
func TestReroute(t *testing.T) {
	table := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"), WebSocket: NeverWeb})
	id, first, _ := table.find(4)
	r := &request{table: table, id: id, way: first}
	for i, want := range []struct {
		limit time.Duration
		again bool
	}{{patience, true}, {patience, true}, {patience + time.Second, false}} {
		if got := r.Patience(); got != want.limit {
			t.Errorf("address %d: got %v to reach it, want %v", i, got, want.limit)
		}
		if got := r.Reroute(policy.ErrTimeout); got != want.again {
			t.Errorf("address %d: got another %t, want %t", i, got, want.again)
		}
	}
	r = &request{table: table, id: id, way: first}
	if r.Reroute(context.Canceled) || r.Reroute(errors.New("user is over quota")) {
		t.Error("not the address's fault: got another, want none")
	}
	table = NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1", "192.0.2.2:1"), WebSocket: NeverWeb})
	r = &request{table: table, id: id, way: first}
	if !r.Reroute(policy.ErrDenied) || r.way.String() != "192.0.2.2:1" || len(table.health.down) > 0 {
		t.Errorf("denied: got %v and %d marks, want the other address and none", r.way, len(table.health.down))
	}
	denied := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"), WebSocket: NeverWeb})
	r = &request{table: denied, id: id, way: first}
	for i := range 3 {
		if !r.Reroute(policy.ErrDenied) {
			t.Errorf("%d of 4 are denied: got no other, want one", i+1)
		}
	}
	if r.way.String() != "192.0.2.4:1" || r.Patience() != 0 || r.Reroute(policy.ErrDenied) {
		t.Errorf("behind three that are denied: got %v, want the last one, for as long as it takes", r.way)
	}
	// Both are known to be down, and one of them may be back.
	for range 2 {
		_, way, _ := table.find(4)
		table.health.failed(id, table.ways(id), way, policy.ErrRefused)
	}
	_, first, _ = table.find(4)
	r = &request{table: table, id: id, way: first}
	if !r.Reroute(policy.ErrRefused) || r.way == first || r.Reroute(policy.ErrRefused) {
		t.Errorf("all are down: got %v behind %v, want the other one, once", r.way, first)
	}
	two := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1", "192.0.2.2:1"), WebSocket: NeverWeb})
	id, first, _ = two.find(4)
	r = &request{table: two, id: id, way: first}
	if got := []bool{r.Patience() > 0, r.Reroute(policy.ErrRefused), r.Patience() > patience, r.Reroute(policy.ErrRefused)}; !got[0] || !got[1] || !got[2] || got[3] {
		t.Errorf("two addresses: got %t, want a limit and another one, once", got)
	}
	one := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1"), WebSocket: NeverWeb})
	id, first, _ = one.find(4)
	r = &request{table: one, id: id, way: first}
	if got := r.Patience(); got != 0 {
		t.Errorf("one address: got a limit of %v, want none", got)
	}
}

// TestSilentUnwatched is what becomes of an address that takes connections for nothing, where
// nobody probes.
func TestSilentUnwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1", "192.0.2.2:1"), WebSocket: NeverWeb})
		next := func(user uint64, down int64) string {
			id, way, _ := table.find(4)
			table.health.connected(id, way)
			(&request{table: table, id: id, way: way, user: auth.User{ID: user}}).Learns()(64, down)
			return way.String()
		}
		const one, two = "192.0.2.1:1", "192.0.2.2:1"
		want := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: got %s, want %s", what, got, want)
			}
		}
		for range manySilent {
			want("the only user, before it was silent often enough", next(1, 0), one)
		}
		want("the only user, after it was", next(1, 1), two)
		time.Sleep(downFirst)
		want("the only user, who tries it again", next(1, 1), one)
		for user := range uint64(3) { // nobody hears of two who left early
			want("two of three are told nothing", next(user, 0), one)
			want("two of three are told nothing", next(user+1, 0), one)
			want("two of three are told nothing", next(user+2, 1), one)
		}
		for range manySilent - 3 {
			want("one says nonsense", next(7, 0), one)
		}
		want("a second one", next(8, 0), one)
		want("a third one", next(9, 0), one)
		want("after them", next(1, 1), two)
		if s := table.States(); len(s) != 1 || s[0].Down != 1 || s[0].Last.Why != WhySilent {
			t.Errorf("states: got %+v, want one that is silent", s)
		}
		id, way, _ := table.find(4)
		for user := range uint64(100) { // who was on his way
			table.health.unheard(user, table.ways(id)[0])
		}
		if n := len(table.health.silent[table.ways(id)[0]].users); n > 0 || way.String() != two {
			t.Errorf("of what is down: got %d users kept, want none", n)
		}
		time.Sleep(downFirst)
		want("who tries it again", next(1, 0), one)
		want("it is silent still", next(1, 1), two)
		time.Sleep(downFirst)
		want("it is tried half as often", next(1, 1), two)
		time.Sleep(downFirst)
		want("who tries it then", next(1, 1), one)
		want("it has answered", next(1, 1), one)
	})
}

// unproven is a connection of a dialer that has not reached anything yet.
type unproven struct {
	*relaytest.Conn
	f func(error)
}

func (u *unproven) Prove(f func(error)) { u.f = f }

// TestProve is that a stream through another relay says nothing of an address before an
// answer, or an end in its place.
func TestProve(t *testing.T) {
	table := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1", "192.0.2.2:1"), WebSocket: NeverWeb})
	id, first, _ := table.find(4)
	for _, tt := range []struct {
		err  error
		want string
	}{{nil, "192.0.2.1:1"}, {io.EOF, "192.0.2.2:1"}, {nil, "192.0.2.1:1"}} {
		p, _, _ := said(t, nil)
		far := new(unproven)
		r := &request{c: p, table: table, id: id, way: first}
		if _, _, err := r.Accept(t.Context(), far); err != nil {
			t.Fatal(err)
		}
		before := table.health.choose(id, table.ways(id))
		far.f(tt.err)
		if got := table.health.choose(id, table.ways(id)); got.String() != tt.want {
			t.Errorf("an answer of %v: got %v, and before it %v, want %s", tt.err, got, before, tt.want)
		}
	}
}

// TestProbeEnded is that a reload, which ends a probe, leaves its way in doubt.
func TestProbeEnded(t *testing.T) {
	table := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1"), WebSocket: NeverWeb})
	table.health.watching(+1)
	id, way, _ := table.find(4)
	ctx, cancel := context.WithCancel(t.Context())
	dialer := dialing(func() transport.Conn {
		cancel()
		c, _ := relaytest.Pipe()
		return c
	})
	for _, down := range []bool{false, true} {
		if down {
			table.health.failed(id, table.ways(id), way, policy.ErrRefused)
		} else {
			table.health.doubt(way)
		}
		for range 2 {
			list, _ := table.due(map[Way]time.Time{}, time.Hour)
			if down { // its outage is not over, but a probe of it had begun
				list = []due{{id, way}}
			}
			if len(list) != 1 {
				t.Fatalf("down %t: got %v due, want the way", down, list)
			}
			if err := table.probe(ctx, dialer, list[0]); err == nil {
				t.Fatal("a probe that was ended: got nil, want an error")
			}
		}
	}
	if list, _ := table.due(map[Way]time.Time{way: time.Now().Add(time.Hour)}, time.Hour); len(list) != 1 {
		t.Errorf("down: got %v due, want the way", list)
	}
}

// TestProbeUnproven is that a probe through another relay wants an answer.
func TestProbeUnproven(t *testing.T) {
	for what, want := range map[string]error{"answer": nil, "end": io.EOF, "silence": context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			table := NewTable(TableOptions{Addrs: addrsOf(4, "192.0.2.1:1"), WebSocket: NeverWeb})
			var asked []byte
			dialer := dialing(func() transport.Conn {
				c, peer := relaytest.Pipe()
				go func() {
					asked = make([]byte, frameSize+4+plainLength)
					if _, err := io.ReadFull(peer, asked); err != nil {
						t.Errorf("at the data centre: got %v, want a question", err)
					}
					switch what {
					case "answer":
						_, _ = peer.Write([]byte{1})
					case "end":
						_ = peer.CloseWrite()
					}
					_, _ = io.Copy(io.Discard, peer)
					_ = peer.Close()
				}()
				return &unproven{Conn: c}
			})
			id, way, _ := table.find(4)
			if got := table.probe(t.Context(), dialer, due{id, way}); !errors.Is(got, want) {
				t.Errorf("%s: got %v, want %v", what, got, want)
			}
			synctest.Wait()
			if down := len(table.health.down) > 0; down != (want != nil) {
				t.Errorf("%s: down %t, want %t", what, down, want != nil)
			}
			// What it asks is what a client would: no key, and req_pq_multi.
			f := frame(asked)
			plain := make([]byte, 4+plainLength)
			f.seed().stream(frameSize).XORKeyStream(plain, asked[frameSize:])
			if plain[0] != plainLength || string(plain[4:12]) != "\x00\x00\x00\x00\x00\x00\x00\x00" || string(plain[24:28]) != "\xf1\x8e\x7e\xbe" {
				t.Errorf("%s: got % x asked, want req_pq_multi", what, plain)
			}
		})
	}
}

func addrsOf(dc int, list ...string) map[int][]netip.AddrPort {
	all := make(map[int][]netip.AddrPort)
	for _, a := range list {
		all[dc] = append(all[dc], ap(a))
	}
	return all
}

type dialing func() transport.Conn

func (d dialing) DialStream(context.Context, transport.Target, []byte) (transport.Conn, error) {
	return d(), nil
}
