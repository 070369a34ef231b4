package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forwarding runs a relay with one port that leads to target, for what those in
// front of it leave over.
func forwarding(t *testing.T, target, allow string, front ...string) *relay {
	t.Helper()
	inbounds := append(front, "forward")
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := fmt.Sprintf("state = %q\n[[listen]]\naddress = \"127.0.0.1:0\"\ninbounds = [\"%s\"]\nanonymous = true\n"+
		"[forward]\ntarget = %q\n[egress]\nallow = [%s]\n", t.TempDir(), strings.Join(inbounds, `", "`), target, allow)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, inbounds, "serve", "--config", file)
}

func TestCurlForward(t *testing.T) {
	integration(t)
	const loopback = `"127.0.0.0/8"`
	o := startOrigin(t, false)
	direct := func(r *relay) []string {
		return []string{"-q", "-sS", "--noproxy", "*", "http://" + r.proxy("forward").Host + "/hello"}
	}
	t.Run("reached", func(t *testing.T) {
		curl(t, nil, direct(forwarding(t, o.addr, loopback))...).check(t, greeting)
	})
	t.Run("behind socks5", func(t *testing.T) {
		r := forwarding(t, o.addr, loopback, "socks5")
		curl(t, nil, direct(r)...).check(t, greeting)
		curl(t, nil, append(curlSOCKS5h.via(r.proxy("socks5")), o.URL+"/hello")...).check(t, greeting)
	})
	for name, r := range map[string]*relay{
		"closed port": forwarding(t, closedPort(t), loopback),
		"egress":      forwarding(t, o.addr, ""),
	} {
		t.Run(name, func(t *testing.T) {
			res := curl(t, nil, direct(r)...)
			// A reset shows where curl is just then: connecting (7), sending (55)
			// or receiving (56). An empty reply would be 52.
			if !slices.Contains([]int{7, 55, 56}, res.ExitCode) {
				t.Errorf("got exit %d (%s), want 7, 55 or 56 for a reset", res.ExitCode, res.ErrorMsg)
			}
		})
	}
}
