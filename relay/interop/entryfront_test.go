package interop

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// entryFronts are what an entry does behind each cdnFront: by which mode a stream gets
// through, where the first front asks for another than the second, packet-up.
var entryFronts = []struct {
	front, mode string
	falls       bool // to the second
}{
	{"buffered", "packet-up", false},
	{"buffered", "stream-up", true},
	{"buffered", "stream-one", true},
	{"unbuffered", "stream-one", false},
	{"unbuffered", "stream-up", false},
	{"unbuffered", "websocket", false},
	{"unbuffered, closing", "packet-up", false},
}

// collectedLeast is less than what an entry takes to know that uploads are collected.
const collectedLeast = 2 * time.Second

// frontScenarios are those that go through a front whatever it does with uploads.
var frontScenarios = []vlessScenario{{"download", download}, {"upload", upload}, {"https", secureInside}}

// TestEntryFront has nginx in a CDN's place before the exit's origin: the link is the
// relay's own, which nobody listens at, and the fronts say all that differs. Where uploads
// are collected a streamed mode is given up, and the next front used.
func TestEntryFront(t *testing.T) {
	integration(t)
	s := webRelay(t, true)
	s.down, s.up = 32<<20, 16<<20
	dead := s.links["xhttp"]
	dead.host, dead.port, _ = net.SplitHostPort(closedPort(t))
	for _, f := range cdnFronts {
		through := f.start(t, s.links["xhttp"])
		for _, c := range entryFronts {
			if c.front != f.name {
				continue
			}
			t.Run(c.front+" "+c.mode, func(t *testing.T) {
				r := entry(t, upstream(dead.with(map[string]string{"sni": "", "pcs": strings.Repeat("0", 64)}).text())+
					frontOf(through, c.mode)+frontOf(through, "packet-up"), "[limits]\nfin_timeout = \"3s\"\n")
				u := &vlessUse{server: s, way: vlessWay{brief: true}, via: r.proxy("socks5")}
				began := time.Now()
				if err := roundTrip(dialVia(t, u.via, listen(t, echo)), "hello", shortLimit); err != nil {
					t.Fatalf("first stream: %v", err)
				}
				took := time.Since(began).Round(time.Millisecond)
				t.Logf("first stream: %v", took)
				if c.falls && took < collectedLeast {
					t.Errorf("first stream: got it after %v, want it given up first: take it off the list", took)
				}
				for _, scenario := range frontScenarios {
					if err := scenario.run(t, u); err != nil {
						t.Errorf("%s: %v", scenario.name, err)
					}
				}
			})
		}
	}
}

// frontOf is a front that leads where l does, and takes nothing from it but that.
func frontOf(l shareLink, mode string) string {
	return fmt.Sprintf("[[upstream.front]]\nconnect = [%q]\nsni = %q\nhost = %q\npins = [%q]\nmode = %q\n",
		net.JoinHostPort(l.host, l.port), l.query["sni"], l.query["host"], l.query["pcs"], mode)
}
