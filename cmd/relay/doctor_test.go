package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Doctor tries every address that serve needs: of the listeners, of the cover's plain
// port and of the metrics.
func TestDoctorListens(t *testing.T) {
	for _, taken := range []string{"listen", "http", "metrics"} {
		t.Run(taken, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			at := map[string]string{"listen": "127.0.0.1:0", "http": "127.0.0.2:0", "metrics": "127.0.0.3:0"}
			at[taken] = ln.Addr().String()
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil { // as a state folder has to be
				t.Fatal(err)
			}
			file := filepath.Join(dir, "relay.toml")
			src := fmt.Sprintf("state = %q\n[[listen]]\naddress = %q\ninbounds = ['mtproto']\n[cover]\nname = 'www.example.org'\nsite = %q\ncertificate = 'self-signed'\nhttp = %q\n[admin]\nmetrics = %q\n",
				dir, at["listen"], dir, at["http"], at["metrics"])
			if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err = (&doctorCmd{place: place{Config: file}}).Run(streams{out: &out})
			want := "WRONG listen on " + ln.Addr().String() + ": "
			if err == nil || !strings.Contains(out.String(), want) || strings.Count(out.String(), "WRONG") != 1 || strings.Count(out.String(), "can listen on ") != 2 || strings.Count(out.String(), ln.Addr().String()) != 1 {
				t.Errorf("got %v after %q, want %q, once, and two addresses that are free", err, out.String(), want)
			}
		})
	}
}
