package interop

import (
	"fmt"
	"testing"
)

// shortStreams is how many streams follow one another, on connections that are used again.
const shortStreams = 20

// TestEntryHTTP1 has nginx that speaks HTTP/1.1 only, and collects what passes, between
// an entry and an exit: XHTTP goes in pieces there, whatever the link's mode.
func TestEntryHTTP1(t *testing.T) {
	integration(t)
	through := cdnFront{name: "HTTP/1.1", connection: "kept", http1: true}
	for _, server := range []struct {
		name  string
		start func(*testing.T) *vlessServer
	}{
		{"relay", func(t *testing.T) *vlessServer { return webRelay(t, true) }},
		{"xray", func(t *testing.T) *vlessServer { return xrayServer(t, false) }},
	} {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			s.down, s.up = 8<<20, 8<<20
			l := through.start(t, s.links["xhttp"]).with(map[string]string{"mode": "stream-one"})
			r := entry(t, upstream(l.text())+"[[upstream.front]]\nversion = \"http/1.1\"\n", "[limits]\nfin_timeout = \"3s\"\n")
			u := &vlessUse{server: s, way: vlessWay{brief: true}, via: r.proxy("socks5")}
			target := listen(t, echo)
			for i := range shortStreams {
				c := dialVia(t, u.via, target)
				if err := roundTrip(c, fmt.Sprint("hello ", i), shortLimit); err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
				_ = c.Close()
			}
			for _, scenario := range frontScenarios {
				if err := scenario.run(t, u); err != nil {
					t.Errorf("%s: %v", scenario.name, err)
				}
			}
		})
	}
}
