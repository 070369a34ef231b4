package mtproto

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptionsDefaults(t *testing.T) {
	for name, o := range map[string]*Options{"NewOptions": NewOptions(), "zero": {}} {
		if got := faults(t, *o); len(got) > 0 {
			t.Errorf("%s: got faults %q, want none", name, got)
		}
		if got := o.Kinds(); !slices.Equal(got, []Kind{KindFakeTLS}) || len(o.Plain()) > 0 || o.MaxSkew() != 2*time.Minute {
			t.Errorf("%s: got %q, %q, %v, want ee, nothing on the wire, 2m", name, got, o.Plain(), o.MaxSkew())
		}
		if _, at, ok := o.Table(nil).find(77); !ok || at.String() != one {
			t.Errorf("%s, unknown data centre: got %s, %t, want %s", name, at, ok, one)
		}
	}
}

func TestOptionsTable(t *testing.T) {
	o := Options{
		Secrets: []string{"simple", "ee", "dd"}, Prefer: "ipv6", UnknownDC: "refuse", Skew: time.Minute,
		DCs: map[string][]string{"2": {"127.0.0.1:5000"}, "10009": {"192.0.2.1:443", "[2001:db8::1]:443"}, "x": {"192.0.2.9:443"}, "4": {"not one"},
			"3": {"wss://front.example.org:8443/ws?dc=3"}},
	}
	if got := o.Plain(); !slices.Equal(got, []Kind{KindSimple, KindPadded}) || o.MaxSkew() != time.Minute {
		t.Errorf("got %q on the wire, skew %v, want simple and dd, 1m", got, o.MaxSkew())
	}
	table := o.Table(nil)
	for id, want := range map[int16]string{2: "127.0.0.1:5000", 10009: "[2001:db8::1]:443", 1: "[2001:b28:f23d:f001::a]:443", 4: "[2001:67c:4e8:f004::a]:443", 3: "wss://front.example.org:8443/ws?dc=3", -3: "wss://front.example.org:8443/ws?dc=3", 9: ""} {
		_, at, ok := table.find(id)
		if got := at.String(); ok != (want != "") || ok && got != want {
			t.Errorf("data centre %d: got %s, %t, want %q", id, got, ok, want)
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	dc := func(key string, addrs ...string) Options { return Options{DCs: map[string][]string{key: addrs}} }
	for _, tt := range []struct {
		o    Options
		want []string
	}{
		{Options{Secrets: []string{"ee", "dd", "simple"}, Names: []string{"cdn.example.net"}, Skew: time.Second, Prefer: "ipv6", UnknownDC: "refuse", Records: "full"}, nil},
		{Options{Records: "large"}, []string{`records: "large" is not one of its words`}},
		{Options{Secrets: []string{}}, []string{"secrets: empty"}},
		{Options{Secrets: []string{"EE", "dd", "dd"}}, []string{"secrets[0]: not a kind of secret", `secrets[2]: "dd" is there twice`}},
		{Options{Secrets: []string{"dd000102030405060708090a0b0c0d0e0f"}}, []string{"secrets[0]: not a kind of secret"}},
		{Options{Names: []string{"a.example", "b_c.example", "203.0.113.5", "a.example", "A.example", "a.example:443", "", "abc"}}, []string{
			`names[2]: "203.0.113.5" is not a host name`, `names[3]: "a.example" is there twice`, `names[4]: "A.example" is not in its usual form`,
			`names[5]: "a.example:443" is not a host name`, `names[6]: "" is not a host name`, `names[7]: "abc" has 3 bytes`,
		}},
		{Options{Names: []string{strings.Repeat("a.", 90) + "bc"}}, nil},
		{Options{Names: []string{strings.Repeat("a.", 90) + "bcd"}}, []string{`names[0]: "` + strings.Repeat("a.", 90) + `bcd" has 183 bytes`}},
		{dc("2", "149.154.167.51:443", "[2001:db8::1]:5222"), nil},
		{dc("203", "127.0.0.1:443"), nil},
		{dc("10002", "127.0.0.1:443"), nil},
		{dc("2"), []string{`dcs."2": has no address`}},
		{dc("-2", "127.0.0.1:1"), []string{`dcs."-2": "-2" is not the number of a data centre`}},
		{dc("0", "127.0.0.1:1"), []string{`dcs."0": "0" is not the number of a data centre`}},
		{dc("02", "127.0.0.1:1"), []string{`dcs."02": "02" is not the number of a data centre`}},
		{dc("10000", "127.0.0.1:1"), []string{`dcs."10000": "10000" is not the number of a data centre`}},
		{dc("20000", "127.0.0.1:1"), []string{`dcs."20000": "20000" is not the number of a data centre`}},
		{dc("two", "nowhere"), []string{`dcs."two": "two" is not the number of a data centre`, `dcs."two"[0]: "nowhere" has no port`}},
		{dc("2", "149.154.167.51", "149.154.167.51:", "149.154.167.51:0", "149.154.167.51:https", "www.example.org:443", "[fe80::1%eth0]:443", "127.1:443", "192.0.2.1:1", "192.0.2.1:1"), []string{
			`dcs."2"[0]: "149.154.167.51" has no port`, `dcs."2"[1]: "149.154.167.51:" has no port`, `dcs."2"[2]: "0" is not a port`,
			`dcs."2"[3]: "https" is not a port`, `dcs."2"[4]: "www.example.org" is not an address`, `dcs."2"[5]: "fe80::1%eth0" is not an address`,
			`dcs."2"[6]: "127.1" is not an address`, `dcs."2"[8]: "192.0.2.1:1" is there twice`,
		}},
		{dc("2", "149.154.167.51:443", "wss://kws2.web.telegram.org/apiws", "wss://127.0.0.1:8443/", "wss://[::1]/"), nil},
		{dc("2", "wss://", "ws://a.example/", "wss://u:p@a.example/", "wss://a.example:0/", "wss://a.example:99999/", "wss://a.example/#f", "wss://127.1/", "wss://a.example/x", "wss://a.example/x"), []string{
			`dcs."2"[0]: "wss://" is not a wss:// URL with a host`, `dcs."2"[1]: "ws://a.example/" is not a wss:// URL with a host`, `dcs."2"[2]: "wss://u:p@a.example/" is not a wss:// URL with a host`,
			`dcs."2"[3]: "wss://a.example:0/" is not a wss:// URL with a host`, `dcs."2"[4]: "wss://a.example:99999/" is not a wss:// URL with a host`,
			`dcs."2"[5]: "wss://a.example/#f" is not a wss:// URL with a host`, `dcs."2"[6]: "wss://127.1/" is not a wss:// URL with a host`,
			`dcs."2"[8]: "wss://a.example/x" is there twice`,
		}},
		{Options{WebSocket: "never", DCs: map[string][]string{"2": {"192.0.2.1:1", "wss://a.example/"}}}, []string{`dcs."2": has a wss:// URL, and websocket = "never"`}},
		{Options{WebSocket: "always", DCs: map[string][]string{"2": {"192.0.2.1:1"}, "4": {"wss://a.example/"}}}, []string{`dcs."2": has no wss:// URL, and websocket = "always"`}},
		{Options{WebSocket: "sometimes"}, []string{`websocket: "sometimes" is not one of its words`}},
		{Options{Probe: -1}, []string{"probe: -1ns is out of range"}},
		{Options{Probe: 999 * time.Millisecond}, []string{"probe: 999ms is out of range"}},
		{Options{Probe: 25 * time.Hour}, []string{"probe: 25h0m0s is out of range"}},
		{Options{Probe: time.Second, WebSocket: "fallback"}, nil},
		{Options{Skew: -1}, []string{"skew: -1ns is out of range"}},
		{Options{Skew: 25 * time.Hour}, []string{"skew: 25h0m0s is out of range"}},
		{Options{Prefer: "IPv4", UnknownDC: "2"}, []string{`prefer: "IPv4" is not one of its words`, `unknown_dc: "2" is not one of its words`}},
	} {
		if got := faults(t, tt.o); !slices.Equal(got, tt.want) {
			t.Errorf("Check of %+v:\ngot  %q\nwant %q", tt.o, got, tt.want)
		}
	}
}

// faults are the keys and problems; each must have a hint.
func faults(t *testing.T, o Options) (all []string) {
	t.Helper()
	o.Check(func(key, problem, hint string) {
		all = append(all, fmt.Sprintf("%s: %s", key, problem))
		if hint == "" {
			t.Errorf("fault %s: got no hint, want one", key)
		}
	})
	return all
}
