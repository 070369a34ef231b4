package interop

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	rt "relay/transport"
	"relay/transport/faketls"
)

// covered runs a relay whose port, MTProto's and more, shows a cover to strangers,
// and returns its address and the key of its user.
func covered(t *testing.T, cover string, more ...string) (addr string, key [16]byte) {
	t.Helper()
	state := t.TempDir()
	file := filepath.Join(t.TempDir(), "relay.toml")
	inbounds := append([]string{"mtproto"}, more...)
	text := fmt.Sprintf(`state = %q
[[listen]]
address = "127.0.0.1:0"
inbounds = %s
[cover]
name = %q
%s
[mtproto]
dcs = { "2" = ["127.0.0.1:9"] }
[limits]
per_source = 20000
`, state, `["`+strings.Join(inbounds, `", "`)+`"]`, coverName, cover)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, inbounds, "serve", "--config", file)
	alice := userCommand(t, "add", "alice", state) // so that there is a secret to be wrong about
	link, err := url.Parse(alice.Links["mtproto-ee"][0])
	if err == nil {
		_, err = hex.Decode(key[:], []byte(link.Query().Get("secret")[2:34]))
	}
	if err != nil {
		t.Fatalf("link: got %q, want one with a secret: %v", alice.Links, err)
	}
	return r.proxy("mtproto").Host, key
}

// used is a file with a hello of the user, whom the relay has let in with it.
func used(t *testing.T, addr string, key [16]byte) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	tap := &tapped{Conn: c.(rt.Conn)}
	if _, err := faketls.Client(tap, coverName, key, faketls.ClientOptions{}); err != nil {
		t.Fatalf("the user: got %v, want an answer that proves the key", err)
	}
	return recorded(t, tap.sent)
}

// tapped keeps what is written.
type tapped struct {
	rt.Conn
	sent []byte
}

func (t *tapped) Write(b []byte) (int, error) {
	t.sent = append(t.sent, b...)
	return t.Conn.Write(b)
}

// recorded is a file with a hello.
func recorded(t *testing.T, hello []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(file, hello, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestProbeForward finds no difference between nginx and a relay in front of it.
func TestProbeForward(t *testing.T) {
	integration(t)
	c := newCover(t)
	reference := c.nginx(t)
	addr, key := covered(t, fmt.Sprintf("forward = %q", reference))
	sameToStrangers(t, addr, reference, used(t, addr, key), unlikeForward)
}

// TestProbeSite finds no difference between Caddy and the site in the relay, which
// carries VLESS besides.
func TestProbeSite(t *testing.T) {
	integration(t)
	c := newCover(t)
	addr, key := covered(t, fmt.Sprintf("site = %q\ncertificate = { cert = %q, key = %q }", c.dir, c.cert, c.key), "web")
	sameToStrangers(t, addr, c.caddy(t), used(t, addr, key), unlikeSite)
}

// unlikeSite are probes that tell golang.org/x/net v0.62.0, of the relay, from
// Caddy's v0.53.0: it gives back the window of an upload that nobody has read before
// the answer, not behind it, and refuses requests that name two hosts or no path.
var unlikeSite = []string{"secret-h2-16kb", "h2-host-beside", "h2-path-absolute"}

// unlikeForward are probes that tell a forwarded cover: an urgent byte is not
// passed on, and what was around it arrives as one.
var unlikeForward = []string{"tcp-urgent-fin", "tcp-urgent-plain"}

// sameToStrangers runs the battery, with the hello of a user in it.
func sameToStrangers(t *testing.T, target, reference, hello string, known []string) {
	t.Helper()
	unlike(t, battery(t, target, reference, "3", "--recorded", hello), target, reference, hello, known)
}

// unlike fails the test for probes that differ and are not known to. What differs
// has to differ again, in more runs: some probes race with the server, and a few
// runs of each tell little.
func unlike(t *testing.T, r probeReport, target, reference, hello string, known []string) {
	t.Helper()
	if r.Probes < 150 {
		t.Errorf("probes: got %d, want at least 150", r.Probes)
	}
	if r.Differing > 10+len(known) {
		t.Fatalf("probes that differ: got %d of %d, want none", r.Differing, r.Probes)
	}
	for _, res := range r.Results {
		if res.Verdict != "differs" || slices.Contains(known, res.Probe) {
			continue
		}
		t.Logf("%s: again, as it differs: %s", res.Probe, res.Why)
		more := []string{"--only", res.Probe}
		if hello != "" {
			more = append(more, "--recorded", hello)
		}
		again := battery(t, target, reference, "15", more...)
		for _, a := range again.Results {
			if a.Probe == res.Probe && a.Verdict == "differs" {
				t.Errorf("%s: got a difference twice, want none: %s", a.Probe, a.Why)
			}
		}
	}
}

// caddy serves the cover with the Caddy that the module beside this one builds.
func (c cover) caddy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "caddy")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin, ".")
	build.Dir = filepath.Join("caddy", "testdata", "caddy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as beside, so that it is built once
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build Caddy: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	ln.Close() // Caddy would not say which it chose
	config := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https disable_redirects
	servers {
		protocols h1 h2
	}
}
https://%s:%d {
	bind 127.0.0.1
	tls %s %s
	root * %s
	file_server
}
`, coverName, addr.Port, c.cert, c.key, c.dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = cleanEnv(dir)
	if err := cmd.Start(); err != nil {
		t.Fatalf("caddy: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr.String()); err == nil {
			conn.Close()
			return addr.String()
		} else if time.Now().After(limit) {
			t.Fatal("caddy: got no listener in 10s, want one")
		}
	}
}
