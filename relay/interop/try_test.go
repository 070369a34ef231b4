package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// tryResult is a line of relay try --json.
type tryResult struct {
	Link     int
	Works    bool
	Stage    string
	Cause    string
	Bytes    int64
	TargetMS int64 `json:"target_ms"`
}

// TestTry tries links to Xray's own server and to a relay, and what is wrong with some.
func TestTry(t *testing.T) {
	integration(t)
	greeter, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer greeter.Close()
	go func() {
		for {
			c, err := greeter.Accept()
			if err != nil {
				return
			}
			time.Sleep(3 * time.Millisecond) // so that it takes some
			fmt.Fprintln(c, "hello")
			_ = c.Close()
		}
	}()
	for _, server := range vlessServers {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			xhttp, ws := s.links["xhttp"], s.links["ws"]
			links := []shareLink{
				xhttp.with(map[string]string{"mode": "stream-one"}), xhttp.with(map[string]string{"mode": "stream-up"}),
				xhttp.with(map[string]string{"mode": "packet-up"}), ws.with(map[string]string{"ed": "2048"}),
			}
			works := len(links)
			other := xhttp.with(nil)
			other.id = "00000000-21cf-4a68-9d0b-5b0a2d0e7c11"
			links = append(links, other, xhttp.with(map[string]string{"path": "/nobody/"}), xhttp.with(map[string]string{"pcs": strings.Repeat("00", 32)}))
			wrong := []string{"data user", "request path", "hello certificate"}
			var lines strings.Builder
			for _, l := range links {
				fmt.Fprintln(&lines, l.text())
			}
			out := runProgram(t, 60*time.Second, strings.NewReader(lines.String()), relayBin, "try", "-", "--json", "--target", greeter.Addr().String())
			if out.code != 0 || out.stderr != "" {
				t.Errorf("relay try: got exit code %d and %q, want 0", out.code, out.stderr)
			}
			got := 0
			for in := bufio.NewScanner(strings.NewReader(out.stdout)); in.Scan(); got++ {
				var r tryResult
				if err := json.Unmarshal(in.Bytes(), &r); err != nil || r.Link < 1 || r.Link > len(links) {
					t.Fatalf("got %q, want a line of JSON: %v", in.Text(), err)
				}
				if r.Link <= works {
					if !r.Works || r.Bytes < 64<<10 || r.TargetMS == 0 {
						t.Errorf("link %d: got %s, want that it works", r.Link, in.Text())
					}
				} else if want := wrong[r.Link-works-1]; r.Works || r.Stage+" "+r.Cause != want {
					t.Errorf("link %d: got %s, want %s", r.Link, in.Text(), want)
				}
			}
			if got != len(links) {
				t.Errorf("got %d lines, want %d\n%s", got, len(links), out.stdout)
			}
		})
	}
}

// TestTryCensored tries the link to a relay behind censors, who leave the words for it.
func TestTryCensored(t *testing.T) {
	integration(t)
	t.Parallel()
	e := newExit(t)
	for _, tt := range []struct {
		name  string
		rules censorRules
		code  int
		want  string
	}{
		{"nothing", censorRules{}, 0, "link 1: works: "},
		{"hello", censorRules{ResetHello: true}, 1, "link 1: blocked after the hello (reset)"},
		{"name", censorRules{Names: []string{"www.example.net"}}, 1, "link 1: blocked after the hello (no answer)"},
		{"name with resets", censorRules{Names: []string{"www.example.net"}, Resets: true}, 1, "link 1: blocked after the hello (reset)"},
		{"16 kB", censorRules{Freeze: 16 << 10}, 0, "link 1: frozen after 16 kB: "},
	} {
		for _, kind := range []string{"xhttp", "ws"} {
			t.Run(tt.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				link := e.link(t, kind, newCensor(t, e.addr, tt.rules).addr)
				out := runProgram(t, 60*time.Second, strings.NewReader(link), relayBin, "try", "-", "--lang", "en")
				if out.code != tt.code || !strings.HasPrefix(out.stdout, tt.want) {
					t.Errorf("got exit code %d, %q and %q, want %d and %q", out.code, out.stdout, out.stderr, tt.code, tt.want)
				}
			})
		}
	}
}
