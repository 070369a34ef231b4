package interop

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPythonBytewise sends every byte of the handshake in a segment of its own,
// 10 ms after the one before.
func TestPythonBytewise(t *testing.T) {
	integration(t)
	t.Parallel()
	echoPort := strings.TrimPrefix(listen(t, echo), "127.0.0.1:")
	open := serve(t, t.TempDir(), true, startDNS(t), "")
	closed := quickstart(t, "--egress-allow", "127.0.0.0/8")
	for _, c := range []struct {
		name   string
		relay  *relay
		target string
	}{
		{"anonymous, address", open, "127.0.0.1"},
		{"anonymous, name", open, knownName},
		{"password, address", closed, "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			via := c.relay.proxy("socks5")
			password, _ := via.User.Password()
			res := runProgram(t, time.Minute, nil, "python3", filepath.Join("testdata", "bytewise.py"),
				via.Hostname(), via.Port(), via.User.Username(), password, c.target, echoPort)
			if res.code != 0 || res.stdout != "ok\n" {
				t.Errorf("got exit %d, %q, want exit 0, ok\n%s", res.code, res.stdout, res.stderr)
			}
		})
	}
}
