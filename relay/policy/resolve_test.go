package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func newTestResolver(t testing.TB, d DNS) *resolver {
	t.Helper()
	r, err := newResolver(&d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResolve(t *testing.T) {
	only := func(four, six zone) func(string, dnsmessage.Type) zone {
		return func(_ string, t dnsmessage.Type) zone {
			if t == dnsmessage.TypeA {
				return four
			}
			return six
		}
	}
	a, aaaa := []string{"1.1.1.1"}, []string{"2606:4700:4700::1111"}
	tests := []struct {
		name   string
		answer func(string, dnsmessage.Type) zone
		want   string
	}{
		{"both", only(zone{addrs: a, ttl: 60}, zone{addrs: aaaa, ttl: 30}), "[1.1.1.1 2606:4700:4700::1111] 30s <nil>"},
		{"IPv4 only", only(zone{addrs: a, ttl: 60}, zone{exists: true}), "[1.1.1.1] 1m0s <nil>"},
		{"IPv6 only", only(zone{exists: true}, zone{addrs: aaaa, ttl: 60}), "[2606:4700:4700::1111] 1m0s <nil>"},
		{"alias", only(zone{addrs: a, ttl: 60, alias: "b.example", aliasTTL: 7}, zone{exists: true}), "[1.1.1.1] 7s <nil>"},
		{"over TCP", only(zone{addrs: a, ttl: 60, truncated: true}, zone{exists: true}), "[1.1.1.1] 1m0s <nil>"},
		{"no name", only(zone{}, zone{}), "[] 0s name has no address"},
		{"no data", only(zone{exists: true}, zone{exists: true}), "[] 0s name has no address"},
		{"failing", only(zone{fail: true}, zone{fail: true}), "[] 0s name servers failed"},
		{"half failing, no address", only(zone{exists: true}, zone{fail: true}), "[] 0s name servers failed"},
		{"half failing", only(zone{addrs: a, ttl: 60}, zone{fail: true}), "[1.1.1.1] 5s <nil>"},
		{"IPv6 unanswered", only(zone{addrs: a, ttl: 60}, zone{silent: true}), "[1.1.1.1] 5s <nil>"},
		{"unanswered", only(zone{silent: true}, zone{silent: true}), "[] 0s timed out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newNameServer(t, tt.answer)
			r := newTestResolver(t, DNS{Servers: []string{s.addr}, Timeout: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), r.timeout)
			defer cancel()
			addrs, ttl, err := r.lookup(ctx, "www.example.com")
			slices.SortFunc(addrs, netip.Addr.Compare)
			if got := fmt.Sprint(addrs, ttl, err); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			for _, name := range s.questions() {
				if name != "www.example.com." {
					t.Errorf("question: got %q, want the full name only", name)
				}
			}
		})
	}
}

func TestServersInTurn(t *testing.T) {
	good := newNameServer(t, func(string, dnsmessage.Type) zone { return zone{addrs: []string{"1.1.1.1"}, exists: true, ttl: 9} })
	silent := func() string {
		return newNameServer(t, func(string, dnsmessage.Type) zone { return zone{silent: true} }).addr
	}
	bad := newNameServer(t, func(string, dnsmessage.Type) zone { return zone{fail: true} })
	r := newTestResolver(t, DNS{Servers: []string{silent(), silent(), bad.addr, good.addr}, Timeout: 1600 * time.Millisecond})
	addrs, ttl, err := r.lookup(t.Context(), "www.example.com")
	if err != nil || len(addrs) != 1 || ttl != 9*time.Second {
		t.Errorf("got %v, %s, %v, want the answer of the fourth server", addrs, ttl, err)
	}
}

func TestLookupKeepsFewAddresses(t *testing.T) {
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("1.1.1.%d", i))
	}
	s := newNameServer(t, func(string, dnsmessage.Type) zone { return zone{addrs: many, ttl: 1, exists: true} })
	r := newTestResolver(t, DNS{Servers: []string{s.addr}})
	addrs, _, err := r.lookup(t.Context(), "www.example.com")
	if err != nil || len(addrs) != maxAnswers {
		t.Errorf("got %d addresses, %v, want %d", len(addrs), err, maxAnswers)
	}
}

// A name server that answers with a public address when asked for the check
// and with loopback when asked for the connection.
func TestRebinding(t *testing.T) {
	var asked atomic.Int32
	s := newNameServer(t, func(_ string, ty dnsmessage.Type) zone {
		switch {
		case ty != dnsmessage.TypeA:
			return zone{exists: true}
		case asked.Add(1) == 1:
			return zone{addrs: []string{"1.1.1.1"}}
		}
		return zone{addrs: []string{"127.0.0.1"}}
	})
	for _, config := range []Config{{}, {Allow: []string{"rebind.example"}}, {Presets: []string{"signal"}, Allow: []string{"rebind.example"}}} {
		asked.Store(0)
		e := newTest(t, Options{Config: config, DNS: DNS{Servers: []string{s.addr}}})
		e.names.ask = func(ask lookupFunc) lookupFunc {
			return func(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
				_, _, _ = ask(ctx, name) // what a careless check would have seen
				return ask(ctx, name)
			}
		}(e.names.ask)
		c, err := e.DialStream(t.Context(), target(t, "rebind.example:443"), nil)
		if c != nil || reason(err) != "loopback address" {
			t.Errorf("%+v: got %v, %v, want a refusal", config, c, err)
		}
		if asked.Load() != 2 {
			t.Errorf("questions: got %d, want 2", asked.Load())
		}
	}
}

func TestRefusedNamesAreNotResolved(t *testing.T) {
	s := newNameServer(t, func(string, dnsmessage.Type) zone { return zone{addrs: []string{"1.1.1.1"}} })
	e := newTest(t, Options{
		Config: Config{Presets: []string{"signal"}, Allow: []string{"127.0.0.1"}, Deny: []string{"cdn.signal.org"}},
		DNS:    DNS{Servers: []string{s.addr}},
	})
	for _, name := range []string{"example.com:443", "cdn.signal.org:443", "chat.signal.org:25", "printer.local:443", "intra:443"} {
		if _, err := e.DialStream(t.Context(), target(t, name), nil); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: got %v, want ErrDenied", name, err)
		}
	}
	// Not even localhost is sent out, though it is allowed (RFC 6761).
	if _, err := e.DialStream(t.Context(), target(t, "localhost:1"), nil); !errors.Is(err, ErrRefused) {
		t.Errorf("localhost: got %v, want ErrRefused", err)
	}
	if asked := s.questions(); len(asked) != 0 {
		t.Errorf("questions: got %q, want none", asked)
	}
}

func TestDialName(t *testing.T) {
	l := newSink(t)
	s := newNameServer(t, func(name string, ty dnsmessage.Type) zone {
		switch {
		case name == "gone.example":
			return zone{}
		case ty == dnsmessage.TypeA && name == "mixed.example":
			return zone{addrs: []string{"10.0.0.1", "127.0.0.1", "192.168.0.1"}}
		case ty == dnsmessage.TypeA:
			return zone{addrs: []string{"127.0.0.1"}}
		}
		return zone{exists: true}
	})
	e := newTest(t, Options{Config: Config{Allow: []string{"127.0.0.1"}}, DNS: DNS{Servers: []string{s.addr}}})
	for _, name := range []string{"one.example", "mixed.example"} {
		to := target(t, fmt.Sprintf("%s:%d", name, l.port))
		c, err := e.DialStream(t.Context(), to, []byte("early"))
		if err != nil {
			t.Fatalf("%s: got %v, want a connection", name, err)
		}
		if got := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String(); got != "127.0.0.1" {
			t.Errorf("%s: connected to %s, want the allowed address", name, got)
		}
		_ = c.Close()
		if got := <-l.got; got != "early" {
			t.Errorf("%s: far side got %q, want %q", name, got, "early")
		}
	}
	_, err := e.DialStream(t.Context(), target(t, "gone.example:443"), nil)
	if !errors.Is(err, ErrNotFound) || strings.Contains(err.Error(), "gone") {
		t.Errorf("gone.example: got %v, want ErrNotFound without the name", err)
	}
}
