package main

import (
	"slices"
	"strings"
	"testing"
)

// A cover that is the relay itself is said to be so before anybody is reset.
func TestLoopFindings(t *testing.T) {
	const (
		forward = " is a listener of this relay: strangers are reset"
		proxy   = " is a listener of this relay: visitors get an error"
	)
	for _, tt := range []struct {
		name, address, cover, want string
	}{
		{"forward", "127.0.0.1:9020", "forward = '127.0.0.1:9020'", "127.0.0.1:9020" + forward},
		{"another port", "127.0.0.1:9020", "forward = '127.0.0.1:9021'", ""},
		{"another address", "127.0.0.1:9020", "forward = '127.0.0.2:9020'", ""},
		{"every address", "0.0.0.0:9020", "forward = '127.0.0.1:9020'", "127.0.0.1:9020" + forward},
		{"every address of both kinds", ":9020", "forward = '[::1]:9020'", "[::1]:9020" + forward},
		{"every address of both kinds, and localhost", ":9020", "forward = 'localhost:9020'", "localhost:9020" + forward},
		{"localhost may be another address", "127.0.0.1:9020", "forward = 'localhost:9020'", ""},
		{"every address of this machine", ":9020", "forward = '192.0.2.77:9020'", ""},
		{"the public address", ":9020", "forward = '203.0.113.5:9020'", "203.0.113.5:9020" + forward},
		{"a name", ":9020", "forward = 'www.example.org:9020'", ""},
		{"a socket", ":9020", "forward = 'unix:/run/nginx.sock'", ""},
		{"proxy", "127.0.0.1:9030", "proxy = 'http://127.0.0.1:9030'", "http://127.0.0.1:9030" + proxy},
		{"proxy elsewhere", "127.0.0.1:9030", "proxy = 'http://127.0.0.1:9031'", ""},
		{"proxy without a port", "127.0.0.1:9030", "http = '127.0.0.1:80'\nproxy = 'http://127.0.0.1'", "http://127.0.0.1" + proxy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "[[listen]]\naddress = '" + tt.address + "'\npublic = ['203.0.113.5']\ninbounds = ['mtproto']\n[cover]\nname = 'www.example.org'\n" + tt.cover + "\n"
			if strings.Contains(tt.cover, "proxy") {
				src += "certificate = 'acme'\n[cover.acme]\ndns_hook = '/hook'\n"
			}
			cfg, _ := parsed(t, src)
			got := coverFindings(cfg)
			if found := slices.ContainsFunc(got, func(f finding) bool {
				return strings.HasPrefix(string(f), "the ") && strings.Contains(string(f), tt.want)
			}); found != (tt.want != "") || len(got) > 1 {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
