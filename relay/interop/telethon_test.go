package interop

import (
	"encoding/hex"
	"path/filepath"
	"testing"
	"time"
)

// systemPython is the Python that Debian's packages are for.
const systemPython = "/usr/bin/python3"

// TestTelethon is a second client: Telethon, which shares no code with gotd,
// with every framing that it has. It asks and is answered.
func TestTelethon(t *testing.T) {
	integration(t)
	t.Parallel()
	dc, state := startDC(t, true), t.TempDir()
	r := publicPort(t, dc, state)
	alice := userCommand(t, "add", "alice", state)
	via := r.proxy("mtproto")
	for _, c := range []struct{ framing, kind string }{
		{"padded", "dd"}, {"intermediate", "simple"}, {"abridged", "simple"},
	} {
		t.Run(c.framing, func(t *testing.T) {
			res := runProgram(t, 90*time.Second, nil, systemPython, filepath.Join("testdata", "mtproxy.py"),
				via.Hostname(), via.Port(), hex.EncodeToString(secretOf(t, alice, c.kind)), c.framing)
			if res.code != 0 || res.stdout != "ok\n" {
				t.Errorf("got exit %d, %q, want exit 0, ok\n%s", res.code, res.stdout, res.stderr)
			}
		})
	}
}
