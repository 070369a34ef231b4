package forward

import (
	"fmt"
	"slices"
	"testing"
)

func TestFor(t *testing.T) {
	both := Options{Target: "Example.org:443", Targets: map[string]string{"127.0.0.1:2001": "[2001:db8::5]:5222"}}
	for _, tt := range []struct {
		name    string
		o       Options
		address string
		want    string
		ok      bool
	}{
		{"common target", both, "127.0.0.1:2000", "example.org:443", true},
		{"own target", both, "127.0.0.1:2001", "[2001:db8::5]:5222", true},
		{"the address is as written", both, "[::ffff:127.0.0.1]:2001", "example.org:443", true},
		{"own target alone", Options{Targets: both.Targets}, "127.0.0.1:2001", "[2001:db8::5]:5222", true},
		{"none for this one", Options{Targets: both.Targets}, "127.0.0.1:2000", "", false},
		{"none at all", Options{}, "127.0.0.1:2000", "", false},
		{"at fault", Options{Target: "example.org"}, "127.0.0.1:2000", "", true},
	} {
		to, ok := tt.o.For(tt.address)
		got := ""
		if to.IsValid() {
			got = to.String()
		}
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %q, %t, want %q, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ target, want string }{
		{"example.org:443", ""},
		{"203.0.113.5:65535", ""},
		{"[2001:db8::5]:1", ""},
		{"localhost:80", ""}, // the policy's business
		{"example.org", `"example.org" has no port`},
		{"example.org:", `"example.org:" has no port`},
		{"203.0.113.5", `"203.0.113.5" has no port`},
		{"2001:db8::5", `"2001:db8::5" has no port`},
		{"[2001:db8::5]", `"[2001:db8::5]" has no port`},
		{"example.org:0", `"0" is not a port`},
		{"example.org:65536", `"65536" is not a port`},
		{"example.org:https", `"https" is not a port`},
		{"example.org:-1", `"-1" is not a port`},
		{":443", `"" is neither a host name nor an address`},
		{"exa mple.org:443", `"exa mple.org" is neither a host name nor an address`},
		{"127.1:443", `"127.1" is neither a host name nor an address`},
		{"fe80::1%eth0:443", `"fe80::1%eth0:443" has no port`},
		{"[fe80::1%eth0]:443", `"fe80::1%eth0" is neither a host name nor an address`},
		{"https://example.org:443", `"https://example.org:443" is more than a host and a port`},
		{"203.0.113.0/24:443", `"203.0.113.0/24:443" is more than a host and a port`},
	} {
		for key, o := range map[string]Options{
			"target":                   {Target: tt.target},
			`targets."127.0.0.1:2001"`: {Targets: map[string]string{"127.0.0.1:2001": tt.target}},
		} {
			want := []string{key + ": " + tt.want}
			if tt.want == "" {
				want = nil
			}
			if got := faults(t, o); !slices.Equal(got, want) {
				t.Errorf("Check of %s %q: got %q, want %q", key, tt.target, got, want)
			}
		}
	}
	o := Options{Target: "a", Targets: map[string]string{"y": "", "x": "b"}}
	want := []string{`target: "a" has no port`, `targets."x": "b" has no port`, `targets."y": empty`}
	if got := faults(t, o); !slices.Equal(got, want) {
		t.Errorf("Check of three: got %q, want all of them, in order: %q", got, want)
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
