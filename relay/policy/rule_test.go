package policy

import (
	"slices"
	"strings"
	"testing"
)

var parseRuleTests = []struct {
	in   string
	want string // canonical; empty: refused
}{
	{"10.0.0.0/8", "10.0.0.0/8"},
	{"10.0.0.0/8:443", "10.0.0.0/8:443"},
	{"192.0.2.1", "192.0.2.1"},
	{"192.0.2.1/32", "192.0.2.1"},
	{"192.0.2.1:80-90", "192.0.2.1:80-90"},
	{"2001:db8::/32", "2001:db8::/32"},
	{"2001:db8::1", "2001:db8::1"},
	{"[2001:db8::/32]", "2001:db8::/32"},
	{"[2001:db8::/32]:443", "[2001:db8::/32]:443"},
	{"[2001:db8::1]:443-444", "[2001:db8::1]:443-444"},
	{"::ffff:10.0.0.0/104", "10.0.0.0/8"},
	{"::ffff:10.0.0.1", "10.0.0.1"},
	{"Example.COM", "example.com"},
	{"example.com.", "example.com"},
	{"example.com:443", "example.com:443"},
	{"*.example.com", "*.example.com"},
	{".example.com:1-65535", ".example.com:1-65535"},
	{"*", "*"},
	{"*:25", "*:25"},
	{":25", "*:25"},
	{":25-26", "*:25-26"},
	{"localhost", "localhost"},

	{"", ""},
	{":", ""},
	{":0", ""},
	{":65536", ""},
	{":+25", ""},
	{":26-25", ""},
	{":25-", ""},
	{"10.1.2.3/8", ""},
	{"10.0.0.0/33", ""},
	{"::ffff:0:0/90", ""},
	{"fe80::1%eth0", ""},
	{"[10.0.0.1]:443", ""},
	{"[example.com]:443", ""},
	{"[2001:db8::1", ""},
	{"[2001:db8::1]443", ""},
	{"2001:db8::/32:443", ""},
	{"*.", ""},
	{".", ""},
	{"*.*.example.com", ""},
	{"ex*mple.com", ""},
	{"127.1", ""},
	{"*.10.0.0.1", ""},
	{"0x7f000001", ""},
	{"exa mple.com", ""},
}

func TestParseRule(t *testing.T) {
	for _, tt := range parseRuleTests {
		r, err := parseRule(tt.in)
		switch {
		case err != nil && tt.want != "":
			t.Errorf("parseRule(%q): got error %v, want %q", tt.in, err, tt.want)
		case err == nil && r.String() != tt.want:
			t.Errorf("parseRule(%q): got %q, want %q", tt.in, r, tt.want)
		}
	}
}

func FuzzRule(f *testing.F) {
	for _, s := range []string{
		"10.0.0.0/8", "[2001:db8::/32]:443", "::1", "*.example.com:80-90", ".example.com", "*", ":25",
		"::ffff:10.0.0.0/104", "[::]:", "a.b.:1", "127.1", "[", "]", "%", "*.:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRule(s)
		if err != nil {
			return
		}
		again, err := parseRule(r.String())
		if err != nil {
			t.Fatalf("parseRule(%q) of %q: got error %v, want none", r.String(), s, err)
		}
		if again != r {
			t.Fatalf("parseRule(%q) of %q: got %+v, want %+v", r.String(), s, again, r)
		}
	})
}

func TestPortsMerge(t *testing.T) {
	tests := []struct {
		name string
		add  []portRange
		want []portRange
	}{
		{"apart", []portRange{{80, 80}, {443, 443}}, []portRange{{80, 80}, {443, 443}}},
		{"unsorted", []portRange{{443, 443}, {80, 80}}, []portRange{{80, 80}, {443, 443}}},
		{"adjacent", []portRange{{80, 80}, {81, 90}}, []portRange{{80, 90}}},
		{"inside", []portRange{{1, 65535}, {80, 80}}, []portRange{{1, 65535}}},
		{"joins two", []portRange{{1, 10}, {20, 30}, {5, 25}}, []portRange{{1, 30}}},
		{"end of range", []portRange{{65535, 65535}, {65535, 65535}}, []portRange{{65535, 65535}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p ports
			for _, r := range tt.add {
				p.add(r)
			}
			if !slices.Equal(p.ranges, tt.want) {
				t.Errorf("got %v, want %v", p.ranges, tt.want)
			}
			for port := 1; port <= 65535; port++ {
				want := slices.ContainsFunc(tt.add, func(r portRange) bool {
					return int(r.from) <= port && port <= int(r.to)
				})
				if got := p.match(uint16(port)).named; got != want {
					t.Fatalf("port %d: got %v, want %v", port, got, want)
				}
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	c := Config{
		Presets:     []string{"telegram", "icq"},
		Allow:       []string{"10.0.0.0/8", "10.1.2.3/8"},
		Deny:        []string{":0"},
		Source:      []string{"192.0.2.1", "192.0.2.2", "0.0.0.0", "2001:db8::1"},
		DialTimeout: -1,
	}
	var got []string
	fault := func(key, problem, hint string) {
		if problem == "" || hint == "" {
			t.Errorf("%s: got problem %q and hint %q, want both", key, problem, hint)
		}
		got = append(got, key)
	}
	c.Check(fault)
	d := DNS{Servers: []string{"9.9.9.9", "9.9.9.9:5353", "2620:fe::fe", "[2620:fe::fe]:53", "dns.example", "0.0.0.0"}, Timeout: maxTimeout + 1}
	d.Check(fault)
	want := []string{"presets[1]", "allow[1]", "deny[0]", "source[1]", "source[2]", "dial_timeout", "servers[4]", "servers[5]", "timeout"}
	if !slices.Equal(got, want) {
		t.Errorf("faults: got %v, want %v", got, want)
	}
	if _, err := New(Options{Config: c}); err == nil || !strings.Contains(err.Error(), "egress.presets[1]") {
		t.Errorf("New: got %v, want the first fault", err)
	}
	(&Config{}).Check(func(key, problem, _ string) { t.Errorf("zero Config: got %s: %s, want no fault", key, problem) })
	(&DNS{}).Check(func(key, problem, _ string) { t.Errorf("zero DNS: got %s: %s, want no fault", key, problem) })
}
