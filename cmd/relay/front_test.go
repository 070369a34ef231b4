package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"relay/relay/config"
	"relay/relay/vless"
	"relay/transport/web"
)

// fronted is an upstream as far as its fronts go.
type fronted struct {
	Link  web.Secret  `toml:"link"`
	Front []web.Front `toml:"front"`
}

func (u *fronted) Check(fault func(key, problem, hint string)) {
	for i := range u.Front {
		u.Front[i].Check(func(key, problem, hint string) {
			fault(strings.TrimSuffix(fmt.Sprintf("front[%d].%s", i, key), "."), problem, hint)
		})
	}
}

const fronts = `
[[upstream]]
link = "vless://hunter2"

[[upstream.front]]
connect = ["203.0.113.5", "front.example:443"]
resolver = "https://dns.example/dns-query#192.0.2.1"
sni = "front.example"
certificate_name = "cdn.example"
host = "hidden.example"
path = "/hunter2/"
version = "h2"
mode = "packet-up"
ech = "dns"
post_bytes = "500000-1000000"
post_interval = "30ms"

[[upstream.front]]
sni = ""
pins = ["000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"]
resolver = [{ "relay.example" = ["192.0.2.1", "2001:db8::1"] }, "system"]
private = true
`

func TestFrontsInFile(t *testing.T) {
	var ups []fronted
	tabs := []config.Table{{Name: "upstream", Options: &ups}}
	c, faults := config.Parse("r", []byte(fronts), nil, tabs)
	if faults != nil {
		t.Fatal(faults)
	}
	if len(ups) != 1 || len(ups[0].Front) != 2 {
		t.Fatalf("got %d upstreams, want one with two fronts", len(ups))
	}
	link := web.Link{Host: "relay.example", Port: 443, Path: "/p/"}
	want := []string{
		"[{203.0.113.5 443} {front.example 443}] front.example cdn.example 0 hidden.example h2 packet-up 2 {500000 1000000} {30ms 30ms}",
		"[{relay.example 443}]   1 relay.example h2 packet-up 0 {1000000 1000000} {30ms 30ms}",
	}
	for i := range want {
		w, err := ups[0].Front[i].Way(link)
		got := fmt.Sprint(w.Connect, " ", w.SNI, " ", w.CertificateName, " ", len(w.Pins), " ", w.Authority, " ", w.Version, " ", w.Mode, " ", int(w.ECH.Mode), " ", w.PostBytes, " ", w.PostInterval)
		if err != nil || got != want[i] {
			t.Errorf("front %d: got  %s, %v\nwant %s", i, got, err, want[i])
		}
	}
	var b bytes.Buffer
	if err := c.Write(&b, tabs); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("got a secret in:\n%s", b.String())
	}
	var back []fronted
	text := strings.Replace(b.String(), `path = "[secret]"`, `path = "/hunter2/"`, 1)
	if _, faults := config.Parse("r", []byte(text), nil, []config.Table{{Name: "upstream", Options: &back}}); faults != nil {
		t.Fatalf("%v in what was written:\n%s", faults, text)
	}
	for i := range want {
		if got, was := fmt.Sprintf("%+v", mustWay(t, &back[0].Front[i], link)), fmt.Sprintf("%+v", mustWay(t, &ups[0].Front[i], link)); got != was {
			t.Errorf("front %d, written and read: got  %s\nwant %s", i, got, was)
		}
	}
}

func mustWay(t *testing.T, f *web.Front, l web.Link) web.Way {
	t.Helper()
	w, err := f.Way(l)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestFrontFaultsInFile(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`path = "/hunter2/"`, `path = "hunter2"`, "r:11: upstream[0].front[0].path: does not begin with a slash"},
		{`"front.example:443"]`, "\n\"front.example:0\"]", "r:7: upstream[0].front[0].connect[1]: "},
		{`"system"]`, `"https://dns.example/hunter2"]`, "r:21: upstream[0].front[1].resolver: dns.example is a name, which somebody would have to be asked about"},
		{`pins = ["0001`, `pins = ["0`, "r:20: upstream[0].front[1].pins[0]: want the SHA-256 of a certificate"},
		{`post_interval = "30ms"`, `post_interval = 30`, "r:16: upstream[0].front[0].post_interval: want a duration"},
		{`version = "h2"`, `version = "h3"`, "r:12: upstream[0].front[0].version: unknown version"},
		{`connect = ["203.0.113.5", "front.example:443"]`, `connect = []`, "r:6: upstream[0].front[0].connect: names no place to connect to (write addresses"},
		{`host = "hidden.example"`, `host = ""`, "r:10: upstream[0].front[0].host: \"\" is not a host (write the name"},
		{`sni = ""`, `sni = 0`, "r:19: upstream[0].front[1].sni: want a string, got an integer"},
	} {
		src := strings.Replace(fronts, tt.old, tt.new, 1)
		if src == fronts {
			t.Fatalf("%q is not in the file", tt.old)
		}
		_, faults := config.Parse("r", []byte(src), nil, []config.Table{{Name: "upstream", Options: &[]fronted{}}})
		got := faults.Error()
		if !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") || strings.ContainsAny(got, "\n") || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %q, want one fault %s", tt.new, got, tt.want)
		}
	}
}

func TestOfRelay(t *testing.T) {
	const own = "/bmppzrbc543exiamf2wvhqc7/"
	for _, tt := range []struct {
		name string
		link vless.Link
		want bool
	}{
		{"a relay's", vless.Link{Type: vless.TypeWS, Path: own, Early: 2048}, true},
		{"XHTTP", vless.Link{Type: vless.TypeXHTTP, Path: "/in"}, true},
		{"without early payload", vless.Link{Type: vless.TypeWS, Path: own}, false},
		{"short", vless.Link{Type: vless.TypeWS, Path: "/in/", Early: 2048}, false},
		{"without the last slash", vless.Link{Type: vless.TypeWS, Path: own[:len(own)-1], Early: 2048}, false},
		{"other letters", vless.Link{Type: vless.TypeWS, Path: "/bmppzrbc543exiamf2wvhqc1/", Early: 2048}, false},
	} {
		if got := ofRelay(&tt.link); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}
