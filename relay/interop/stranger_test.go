package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// covered runs a relay whose MTProto port shows a cover to strangers.
func covered(t *testing.T, cover string) *relay {
	t.Helper()
	state := t.TempDir()
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := fmt.Sprintf(`state = %q
[[listen]]
address = "127.0.0.1:0"
inbounds = ["mtproto"]
[cover]
name = %q
%s
[mtproto]
dcs = { "2" = ["127.0.0.1:9"] }
[limits]
per_source = 20000
`, state, coverName, cover)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, []string{"mtproto"}, "serve", "--config", file)
	userCommand(t, "add", "alice", state) // so that there is a secret to be wrong about
	return r
}

// TestProbeForward finds no difference between nginx and a relay in front of it.
func TestProbeForward(t *testing.T) {
	integration(t)
	c := newCover(t)
	reference := c.nginx(t)
	r := covered(t, fmt.Sprintf("forward = %q", reference))
	sameToStrangers(t, r.proxy("mtproto").Host, reference)
}

// TestProbeSite finds no difference between Caddy and the site in the relay.
func TestProbeSite(t *testing.T) {
	integration(t)
	c := newCover(t)
	r := covered(t, fmt.Sprintf("site = %q\ncertificate = { cert = %q, key = %q }", c.dir, c.cert, c.key))
	sameToStrangers(t, r.proxy("mtproto").Host, c.caddy(t))
}

// sameToStrangers runs the battery. What differs has to differ again, in more
// runs: some probes race with the server, and three runs of each are few.
func sameToStrangers(t *testing.T, target, reference string) {
	t.Helper()
	r := battery(t, target, reference, "3")
	if r.Probes < 150 {
		t.Errorf("probes: got %d, want at least 150", r.Probes)
	}
	if r.Differing > 10 {
		t.Fatalf("probes that differ: got %d of %d, want none", r.Differing, r.Probes)
	}
	for _, res := range r.Results {
		if res.Verdict != "differs" {
			continue
		}
		again := battery(t, target, reference, "15", "--only", res.Probe)
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
