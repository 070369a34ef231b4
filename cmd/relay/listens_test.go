package main

import (
	"runtime"
	"strings"
	"testing"

	"relay/relay/config"
)

// parsed reads a configuration without faults.
func parsed(t *testing.T, src string) (*config.Config, []config.Table) {
	t.Helper()
	tabs := tables()
	cfg, faults := config.Parse("r", []byte(src), inboundNames(), tabs)
	if faults != nil {
		t.Fatalf("got %v, want no fault", faults)
	}
	return cfg, tabs
}

// wantFindings wants as many as there are texts, and each with its text.
func wantFindings(t *testing.T, got []finding, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i, w := range want {
		if !strings.Contains(string(got[i]), w) {
			t.Errorf("got %q, want %q", got[i], w)
		}
	}
}

// A socket at [::] takes IPv4 too, unless the service manager says otherwise.
func TestListenFindings(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("about Linux")
	}
	const meet = "the first one takes IPv4 as well"
	for _, tt := range []struct {
		name, a, b string
		want       []string
	}{
		{"both families", "[::]:1080", "0.0.0.0:1080", []string{"[::]:1080 and 0.0.0.0:1080: " + meet}},
		{"an address", "127.0.0.1:1080", ":1080", []string{":1080 and 127.0.0.1:1080: " + meet}},
		{"another port", "[::]:1080", "0.0.0.0:1081", nil},
		{"one address of each", "[::1]:1080", "127.0.0.1:1080", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := parsed(t, "[[listen]]\naddress = '"+tt.a+"'\ninbounds = ['socks5']\n[[listen]]\naddress = '"+tt.b+"'\ninbounds = ['http']\n")
			wantFindings(t, listenFindings(cfg), tt.want...)
		})
	}
}

// Who may send PROXY protocol headers is believed.
func TestProxyProtocolFindings(t *testing.T) {
	for _, tt := range []struct {
		name, address, proxied, want string
	}{
		{"everybody", "192.0.2.1:443", "0.0.0.0/0", "192.0.2.1:443: proxy_protocol = [\"0.0.0.0/0\"] lets anybody say that he is somebody else"},
		{"everybody with IPv6", ":443", "::/0", ":443: proxy_protocol = [\"::/0\"] lets anybody"},
		{"half of everybody", ":443", "128.0.0.0/1", ":443: proxy_protocol = [\"128.0.0.0/1\"] lets anybody"},
		{"a balancer", ":443", "192.0.2.10", ""},
		{"a private network", ":443", "10.0.0.0/8", ""},
		{"this machine", "127.0.0.1:443", "0.0.0.0/0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := parsed(t, "[[listen]]\naddress = '"+tt.address+"'\ninbounds = ['socks5']\nproxy_protocol = ['"+tt.proxied+"']\n")
			var want []string
			if tt.want != "" {
				want = append(want, tt.want)
			}
			wantFindings(t, listenFindings(cfg), want...)
		})
	}
}

// Names of ee secrets are server names, which addresses are not.
func TestAddressAsName(t *testing.T) {
	const problem = `is an address, and ee secrets carry it as a server name`
	for _, tt := range []struct {
		name, cover, more, want string
	}{
		{"the cover's name", "name = '127.0.0.1'", "", `cover.name: "127.0.0.1" ` + problem},
		{"the first of its names", "names = ['127.0.0.1', 'www.example.org']", "", `cover.names[0]: "127.0.0.1" ` + problem},
		{"another one", "names = ['www.example.org', '127.0.0.1']", "", ""},
		{"names of its own", "name = '127.0.0.1'", "[mtproto]\nnames = ['cdn.example.org']\n", ""},
		{"no ee secrets", "name = '127.0.0.1'", "[mtproto]\nsecrets = ['dd']\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "[[listen]]\naddress = '127.0.0.1:443'\ninbounds = ['mtproto']\n[cover]\nforward = '127.0.0.1:8443'\n" + tt.cover + "\n" + tt.more
			_, faults := config.Parse("r", []byte(src), inboundNames(), tables())
			if len(faults) > 1 || (faults != nil) != (tt.want != "") || !strings.Contains(faults.Error(), tt.want) {
				t.Errorf("got %v, want %q", faults, tt.want)
			}
		})
	}
}
