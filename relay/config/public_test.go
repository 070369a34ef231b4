package config

import (
	"strings"
	"testing"
)

// Links name what every client takes for the same host.
func TestPublic(t *testing.T) {
	for _, tt := range []struct{ host, want string }{
		{"203.0.113.5", ""},
		{"2001:db8::5", ""},
		{"www.example.org", ""},
		{"xn--e1afmkfd.xn--p1ai", ""},
		{"1.example", ""},
		{"a.0b", ""},
		{"::ffff:1.2.3.4", `is an IPv4 address written as an IPv6 one, which not every client takes (write "1.2.3.4")`},
		{"fe80::1%eth0", "is an address of one interface here"},
		{"1.2.3", "is not a host"},
		{"16909060", "is not a host"},
		{"256.1.1.1", "is not a host"},
		{"01.2.3.4", "is not a host"},
		{"0x7f.1", "is not a host"},
		{"1.0X7F", "is not a host"},
	} {
		got := strings.Join(faultsOf(t, "[[listen]]\naddress=':1'\ninbounds=['web']\npublic=['"+tt.host+"']"), "\n")
		want := `r:4: listen[0].public[0]: "` + tt.host + `" ` + tt.want
		if tt.want == "" && got != "" || tt.want != "" && !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", tt.host, got, tt.want)
		}
	}
}
