package resolve

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseServer(t *testing.T) {
	for _, tt := range []struct{ text, want, problem string }{
		{"https://1.1.1.1/dns-query", "{1.1.1.1 [1.1.1.1:443] 1.1.1.1 /dns-query false}", ""},
		{"https://[2606:4700:4700::1111]:8443/q", "{2606:4700:4700::1111 [[2606:4700:4700::1111]:8443] [2606:4700:4700::1111]:8443 /q false}", ""},
		{"https://DNS.example/dns-query#192.0.2.1, 2001:db8::1", "{dns.example [192.0.2.1:443 [2001:db8::1]:443] dns.example /dns-query false}", ""},
		{"https://dns.example:443#192.0.2.1", "{dns.example [192.0.2.1:443] dns.example / false}", ""},
		{"https://dns.example:444/dns-query{?dns}#192.0.2.1", "{dns.example [192.0.2.1:444] dns.example:444 /dns-query true}", ""},
		{"https://1.1.1.1/dns-query#1.0.0.1", "{1.1.1.1 [1.0.0.1:443] 1.1.1.1 /dns-query false}", ""},
		{"https://dns.example/dns-query", "", "is a name, which somebody would have to be asked about"},
		{"https://dns.example/dns-query#", "", "behind # are the addresses"},
		{"https://dns.example/dns-query#other.example", "", "behind # are the addresses"},
		{"https://dns.example/#0.0.0.0", "", "behind # are the addresses"},
		{"https://dns.example/#" + strings.Repeat("192.0.2.1,", 16) + "192.0.2.1", "", "behind # are the addresses"},
		{"http://1.1.1.1/dns-query", "", "not the URL of a DoH server"},
		{"https://u:p@1.1.1.1/dns-query", "", "not the URL of a DoH server"},
		{"https://1.1.1.1/dns-query?x=1", "", "not the URL of a DoH server"},
		{"https://1.1.1.1/{x}/dns-query", "", "not the URL of a DoH server"},
		{"https://1.1.1.1/" + strings.Repeat("x", maxURL), "", "not the URL of a DoH server"},
		{"https://1.1.1.1:0/", "", `port "0" is out of range`},
		{"https://1.1.1.1:70000/", "", `port "70000" is out of range`},
		{"https://a b/#1.1.1.1", "", "not the URL of a DoH server"},
		{"https://a!b/#1.1.1.1", "", "is no host"},
		{"1.1.1.1", "", "not the URL of a DoH server"},
	} {
		s, err := ParseServer(tt.text)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%.60s: got %v, want %s", tt.text, err, tt.problem)
			}
			continue
		}
		if got := fmt.Sprintf("{%s %v %s %s %t}", s.Host, s.Addrs, s.Authority, s.Path, s.Get); err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.text, got, err, tt.want)
		}
		if back, err := ParseServer(s.String()); err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s: got %v, %v from %s, want the same", tt.text, back, err, s)
		}
	}
}

func TestConfig(t *testing.T) {
	table := func(v any) map[string]any { return map[string]any{"a.example": v} }
	for _, tt := range []struct {
		name    string
		v       any
		want    string // the kinds of resolvers
		problem string
	}{
		{"system", "system", "*resolve.System", ""},
		{"DoH", "https://1.1.1.1/dns-query", "*resolve.DoH", ""},
		{"a table", table([]any{"192.0.2.1"}), "resolve.Static", ""},
		{"several", []any{table([]any{"192.0.2.1", "::1"}), "https://1.1.1.1/dns-query", "system"}, "resolve.Static *resolve.DoH *resolve.System", ""},
		{"a word", "dns", "", "not the URL of a DoH server"},
		{"a number", int64(5), "", "want \"system\""},
		{"an empty array", []any{}, "", "want \"system\""},
		{"an array in an array", []any{[]any{"system"}}, "", "want \"system\""},
		{"too many", []any{"system", "system", "system", "system", "system", "system", "system", "system", "system"}, "", "9 resolvers"},
		{"an empty table", map[string]any{}, "", "a table of 0 names"},
		{"a table of addresses", map[string]any{"1.1.1.1": []any{"1.1.1.1"}}, "", `"1.1.1.1" is not a host name`},
		{"no list", table("192.0.2.1"), "", "a.example: want its addresses"},
		{"an empty list", table([]any{}), "", "a.example: want its addresses"},
		{"a name as address", table([]any{"b.example"}), "", `a.example: "b.example" is not an address`},
		{"a number as address", table([]any{int64(1)}), "", `a.example: "" is not an address`},
		{"a name twice", map[string]any{"a.example": []any{"::1"}, "A.example": []any{"::1"}}, "", "a.example is there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Config
			err := c.UnmarshalTOML(tt.v)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("got %v, want %s", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, r := range c.Resolvers(Options{Exchange: func(Server) Exchange { return nil }}) {
				kinds = append(kinds, fmt.Sprintf("%T", r))
			}
			if got := strings.Join(kinds, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	var zero Config
	if got := zero.Resolvers(Options{}); len(got) != 1 || fmt.Sprintf("%T", got[0]) != "*resolve.System" || zero.MarshalTOML() != nil {
		t.Errorf("nothing written: got %T, %v, want System alone", got, zero.MarshalTOML())
	}
}
