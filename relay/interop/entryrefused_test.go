package interop

import (
	"strings"
	"testing"
	"time"
)

// TestConnectRefused has links that a server does not take: streams end at once, and
// what relay connect prints says why. An unknown user looks as a target that cannot be
// reached does, until some streams in a row have ended so.
func TestConnectRefused(t *testing.T) {
	integration(t)
	servers := map[string]*vlessServer{"relay": webRelay(t, false), "xray": xrayServer(t, true)}
	for _, tt := range []struct{ server, what, want string }{
		{"relay", "path", "does not know the link's path"},
		{"relay", "user", "does not know the user of this link"},
		{"xray", "path", "does not know the link's path"},
		{"xray", "user", "does not know the user of this link"},
	} {
		for _, kind := range []string{"xhttp", "ws"} {
			t.Run(tt.server+" "+kind+" "+tt.what, func(t *testing.T) {
				l := servers[tt.server].links[kind]
				if tt.what == "path" {
					l = l.with(map[string]string{"path": "/nothing/here"})
				} else {
					l.id = "00000000-0000-4000-8000-000000000001"
				}
				r := connect(t, l.text())
				tries := 1
				if tt.what == "user" {
					tries = 3
				}
				for range tries {
					if err := refusedAt(r.proxy("http"), knownName+":80"); err != nil {
						t.Error(err)
					}
				}
				for end := time.Now().Add(5 * time.Second); !strings.Contains(r.stdout.String(), tt.want); pause(t, 100*time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("got %q, want %q in it", r.stdout, tt.want)
					}
				}
			})
		}
	}
}
