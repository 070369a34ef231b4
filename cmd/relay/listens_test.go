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
