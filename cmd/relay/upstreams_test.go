package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/relay/config"
	"relay/relay/policy"
	"relay/transport"
)

// entryLink is a link to a port where nothing listens.
const entryLink = "vless://b831381d-6324-4d53-ad4f-8cda48b30811@127.0.0.1:9?type=xhttp&security=tls&sni=www.example.org&path=%2Fsecret"

const entryListen = "[[listen]]\naddress = \"127.0.0.1:0\"\ninbounds = [\"socks5\"]\nanonymous = true\n"

// reconfigure applies another configuration to a relay that runs.
func reconfigure(t *testing.T, in *instance, toml string) error {
	t.Helper()
	tabs := tables()
	cfg, faults := config.Parse("relay.toml", []byte(fmt.Sprintf("state = %q\n", in.config().State)+toml), inboundNames(), tabs)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return in.apply(cfg, tabs)
}

// judges reports what the upstreams in force say of a target, as far as that needs no
// connection.
func judges(t *testing.T, in *instance, to string) error {
	t.Helper()
	target, err := transport.ParseTarget(to)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = in.upstreams.set.DialStream(ctx, target, nil)
	return err
}

// TestUpstreamsReload is which upstreams go on after a reload.
func TestUpstreamsReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "link")
	writeLink := func(link string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(link+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeLink(entryLink)
	one := fmt.Sprintf("[[upstream]]\nlink_file = %q\n", file)
	in := startFor(t, entryListen+one)
	first := in.upstreams
	for _, tt := range []struct {
		name   string
		change func()
		toml   string
		same   bool
	}{
		{"nothing has changed", func() {}, entryListen + one, true},
		{"another rule", func() {}, entryListen + one + "[egress]\ndeny = [\"www.example.com\"]\n", true},
		{"another name", func() {}, entryListen + one + "name = \"x\"\n", false},
		{"another name server", func() {}, entryListen + one + "name = \"x\"\n[dns]\nservers = [\"192.0.2.53\"]\n", false},
		{"another link in the file", func() { writeLink(entryLink + "&mode=packet-up") }, entryListen + one + "name = \"x\"\n[dns]\nservers = [\"192.0.2.53\"]\n", false},
		{"two", func() {}, entryListen + one + one, false},
		{"none", func() {}, entryListen, false},
	} {
		before := in.upstreams
		tt.change()
		if err := reconfigure(t, in, tt.toml); err != nil {
			t.Fatalf("%s: got %v, want it applied", tt.name, err)
		}
		if (in.upstreams == before) != tt.same {
			t.Errorf("%s: got the same upstreams %v, want %v", tt.name, in.upstreams == before, tt.same)
		}
		if tt.name == "another rule" {
			if err := judges(t, in, "www.example.com:443"); !errors.Is(err, policy.ErrDenied) {
				t.Errorf("%s: got %v for a target that it denies, want policy.ErrDenied", tt.name, err)
			}
		}
	}
	if n := len(in.retired); n != 5 {
		t.Errorf("upstreams with old streams: got %d, want 5", n)
	}
	// They end with the relay, at the latest.
	in.release()
	if err := first.set.Warm(t.Context()); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("the first upstreams: got %v, want them closed", err)
	}
}

// TestUpstreamsRetire is that what is no longer in force ends after the drain's time.
func TestUpstreamsRetire(t *testing.T) {
	one := fmt.Sprintf("[[upstream]]\nlink = %q\n", entryLink)
	in := startFor(t, entryListen+one)
	first := in.upstreams
	if err := reconfigure(t, in, entryListen+one+"name = \"x\"\n[limits]\ndrain_timeout = \"1ms\"\n"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		in.mu.Lock()
		left := len(in.retired)
		in.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("upstreams with old streams: got %d after 10 s, want 0", left)
		}
	}
	if err := first.set.Warm(t.Context()); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("the first upstreams: got %v, want them closed", err)
	}
}

// TestUpstreamsRefused is that a reload which fails changes nothing, rules included.
func TestUpstreamsRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := fmt.Sprintf("[[listen]]\naddress = %q\ninbounds = [\"http\"]\nanonymous = true\n", ln.Addr())
	one := fmt.Sprintf("[[upstream]]\nlink = %q\n", entryLink)
	in := startFor(t, entryListen+one)
	before := in.upstreams
	for name, toml := range map[string]string{
		"the same upstreams": entryListen + taken + one + "[egress]\ndeny = [\"www.example.com\"]\n",
		"others":             entryListen + taken + one + one,
		"no such profile":    entryListen + one + "profile = \"netscape-4\"\n",
		"no such file":       entryListen + "[[upstream]]\nlink = \"" + entryLink + "\"\nprofile = \"missing.json\"\n",
	} {
		if err := reconfigure(t, in, toml); err == nil {
			t.Fatalf("%s: got it applied, want an error", name)
		}
		if in.upstreams != before || len(in.retired) != 0 {
			t.Errorf("%s: got other upstreams, want those before", name)
		}
		if err := judges(t, in, "www.example.com:443"); errors.Is(err, policy.ErrDenied) {
			t.Errorf("%s: got %v, want the rules before", name, err)
		}
	}
}

// TestUpstreamOwn is that a relay does not dial itself, which would never end.
func TestUpstreamOwn(t *testing.T) {
	in := startFor(t, "[[listen]]\naddress = \"0.0.0.0:0\"\ninbounds = [\"socks5\"]\n")
	port := in.server.Addrs()[0].(*net.TCPAddr).Port
	link := strings.Replace(entryLink, ":9?", fmt.Sprintf(":%d?", port), 1)
	if err := reconfigure(t, in, fmt.Sprintf("[[listen]]\naddress = \"0.0.0.0:0\"\ninbounds = [\"socks5\"]\n[[upstream]]\nlink = %q\n", link)); err != nil {
		t.Fatal(err)
	}
	if err := in.upstreams.set.Warm(t.Context()); err == nil || !strings.Contains(err.Error(), "this relay itself") {
		t.Errorf("an upstream that is the relay: got %v, want it refused", err)
	}
}

// TestLinkFile is what is taken for a file with a link.
func TestLinkFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "link")
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		open       bool
		want       string // in the error
	}{
		{"a link", "\n" + entryLink + "\n", 0o600, false, ""},
		{"for all to read", entryLink, 0o644, true, ""},
		{"empty", "", 0o600, false, "want vless://"},
		{"too long", entryLink + strings.Repeat("\n", mostLinkFile), 0o600, false, "at most"},
	} {
		if err := errors.Join(os.WriteFile(file, []byte(tt.text), 0o600), os.Chmod(file, tt.mode)); err != nil {
			t.Fatal(err)
		}
		u := upstreamOptions{LinkFile: file}
		_, open, err := u.text()
		if err == nil {
			_, err = u.link()
		}
		if open != tt.open || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got open %v, %v, want %v, %q", tt.name, open, err, tt.open, tt.want)
		}
	}
	if _, err := (&upstreamOptions{LinkFile: dir}).link(); err == nil {
		t.Error("a folder: got no error, want one")
	}
}

// TestConnectEgress is which targets relay connect passes on: private ones only where it is
// told to.
func TestConnectEgress(t *testing.T) {
	for _, tt := range []struct {
		allow  []string
		target string
		denied bool
	}{
		{nil, "10.1.2.3:80", true},
		{nil, "192.0.43.10:80", false},
		{[]string{"10.0.0.0/8"}, "10.1.2.3:80", false},
		{[]string{"10.0.0.0/8"}, "192.168.1.1:80", true},
		{[]string{"10.0.0.0/8", "192.168.1.1"}, "192.168.1.1:80", false},
	} {
		c := connectCmd{Links: []string{entryLink}, Listen: "127.0.0.1:1080", State: t.TempDir(), Resolver: "system", EgressAllow: tt.allow}
		cfg, _, err := c.config(strings.NewReader(""), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		egress, err := policy.New(policy.Options{Config: cfg.Egress})
		if err != nil {
			t.Fatal(err)
		}
		to, err := transport.ParseTarget(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		if err := egress.Check(to); errors.Is(err, policy.ErrDenied) != tt.denied {
			t.Errorf("--egress-allow %q, %s: got %v, want it denied %v", tt.allow, tt.target, err, tt.denied)
		}
	}
}
