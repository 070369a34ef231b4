//go:build soak

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Longer than a server waits: nginx 60 s for a window and then 75 for another
// request, Caddy 5 minutes for that after a probe's 20 s.
const (
	nginxWaits = 140 * time.Second
	caddyWaits = 330 * time.Second
)

// TestSlowForward waits with nginx, and with a relay in front of it, until they
// end what a stranger leaves open.
func TestSlowForward(t *testing.T) {
	integration(t)
	t.Parallel() // they wait most of the time
	c := newCover(t)
	c.enlarge(t)
	reference := c.nginx(t)
	addr, key := covered(t, fmt.Sprintf("forward = %q", reference))
	sameInTime(t, addr, reference, used(t, addr, key), nginxWaits)
}

// TestSlowSite does so with Caddy and the site in the relay.
func TestSlowSite(t *testing.T) {
	integration(t)
	t.Parallel()
	c := newCover(t)
	c.enlarge(t)
	addr, key := covered(t, fmt.Sprintf("site = %q\ncertificate = { cert = %q, key = %q }", c.dir, c.cert, c.key))
	sameInTime(t, addr, c.caddy(t), used(t, addr, key), caddyWaits)
}

// sameInTime runs the slow probes, all at once, and again those that are unclear.
func sameInTime(t *testing.T, target, reference, hello string, deadline time.Duration) {
	t.Helper()
	const starts = 30 * time.Second // of all connections, and the ends of the last
	r := doctor(t, 2*(deadline+starts), target, reference,
		"--only", "time", "--runs", "5", "--deadline", deadline.String(), "--recorded", hello)
	if r.Probes < 55 {
		t.Errorf("probes: got %d, want at least 55", r.Probes)
	}
	for _, res := range r.Results {
		t.Logf("%s: the end after %.0f ms, of the relay after %.0f ms (-1: none)", res.Probe, res.Reference.End, res.Target.End)
		if res.Verdict == "differs" {
			t.Errorf("%s: got a difference, want none: %s", res.Probe, res.Why)
		}
	}
}

// enlarge makes the page larger than what a client that does not read leaves in
// kernels, asked for often enough.
func (c cover) enlarge(t *testing.T) {
	t.Helper()
	page := "<!doctype html><title>Example</title><p>" + strings.Repeat("Hello. ", 2300) + "\n"
	if err := os.WriteFile(filepath.Join(c.dir, "index.html"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}
