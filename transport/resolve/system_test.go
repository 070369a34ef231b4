package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newNameServer is a name server on loopback that counts its questions; a nil zone
// never answers.
func newNameServer(t *testing.T, z zone) (netip.AddrPort, *atomic.Int32) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<10)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			asked.Add(1)
			if z != nil {
				_, _ = c.WriteTo(z.answer(t, b[:n]), from)
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return netip.MustParseAddrPort(c.LocalAddr().String()), asked
}

func TestSystem(t *testing.T) {
	server, _ := newNameServer(t, zone{
		"two.test A": {a("1.1.1.1")}, "two.test AAAA": {a("2606:4700:4700::1111")},
		"four.test A":   {a("1.1.1.1")},
		"www.test A":    {a("9.9.9.9")},
		"page.test A":   {a("10.10.34.34")},
		"null.test A":   {a("0.0.0.0")},
		"router.lan A":  {a("192.168.1.1")},
		"none.test TXT": {},
	})
	s := &System{Servers: []netip.AddrPort{server}}
	for _, tt := range []struct{ name, want string }{
		{"two.test", "[2606:4700:4700::1111 1.1.1.1] 1m0s <nil>"},
		{"Four.Test.", "[1.1.1.1] 1m0s <nil>"},
		{"page.test", "[] 0s " + ErrPoisoned.Error()},
		{"null.test", "[] 0s " + ErrPoisoned.Error()},
		{"router.lan", "[192.168.1.1] 1m0s <nil>"},
		{"none.test", "[] 0s the name has no address"},
		{"unknown.test", "[] 0s the name has no address"},
		{"-.test", "[] 0s this is not a host name"},
	} {
		a, err := s.Lookup(t.Context(), tt.name)
		if got := fmt.Sprintf("%v %s %v", a.Addrs, a.TTL, err); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	s.Private = true
	if a, err := s.Lookup(t.Context(), "page.test"); err != nil || len(a.Addrs) != 1 {
		t.Errorf("page.test, private: got %v, %v, want its address", a.Addrs, err)
	}
}

func TestSystemInTurn(t *testing.T) {
	silent, asked := newNameServer(t, nil)
	good, _ := newNameServer(t, zone{"a.test A": {a("1.1.1.1")}})
	s := &System{Servers: []netip.AddrPort{silent, good}}
	start := time.Now()
	if a, err := s.Lookup(t.Context(), "a.test"); err != nil || len(a.Addrs) != 1 {
		t.Errorf("got %v, %v, want the answer of the second", a.Addrs, err)
	}
	// The net package alone would take twice 5 s.
	if took := time.Since(start); took > 4*systemTry {
		t.Errorf("took %s, want the second asked after %s", took, systemTry)
	}
	if asked.Load() == 0 {
		t.Error("the first: got no question, want one")
	}
}

func TestSystemSilent(t *testing.T) {
	silent, _ := newNameServer(t, nil)
	s := &System{Servers: []netip.AddrPort{silent}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Lookup(ctx, "a.test"); !errors.Is(err, ErrTimeout) || strings.Contains(err.Error(), "a.test") {
		t.Errorf("got %v, want ErrTimeout without the name", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s, want it to end with its context", took)
	}
}

// With a table in front, nobody is asked about its names.
func TestStaticAsksNobody(t *testing.T) {
	server, asked := newNameServer(t, zone{"other.test A": {a("1.1.1.1")}})
	var conf Config
	if err := conf.UnmarshalTOML([]any{map[string]any{"Front.Test": []any{"192.0.2.1", "2001:db8::1"}}, "system"}); err != nil {
		t.Fatal(err)
	}
	c := NewCache(0, conf.Resolvers(Options{Servers: []netip.AddrPort{server}})...)
	defer c.Close()
	for range 2 {
		if a, err := c.Lookup(t.Context(), "front.test."); err != nil || fmt.Sprint(a.Addrs) != "[192.0.2.1 2001:db8::1]" {
			t.Errorf("got %v, %v, want what the table says", a.Addrs, err)
		}
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("questions: got %d, want none", got)
	}
	// The server does answer, or the test would prove nothing.
	if _, err := c.Lookup(t.Context(), "other.test"); err != nil || asked.Load() == 0 {
		t.Errorf("other.test: got %v after %d questions, want the server's answer", err, asked.Load())
	}
}
