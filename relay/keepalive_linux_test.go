package relay_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/relay"
	"relay/transport"
)

// keepAliveOf is how long it is until a socket of this machine with these ports sends a
// keep-alive; 0: it has no such timer.
func keepAliveOf(t *testing.T, local, remote int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	ends := func(field string, port int) bool { return strings.HasSuffix(field, fmt.Sprintf(":%04X", port)) }
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 6 || !ends(f[1], local) || !ends(f[2], remote) {
			continue
		}
		kind, when, _ := strings.Cut(f[5], ":")
		ticks, err := strconv.ParseInt(when, 16, 64)
		if kind != "02" || err != nil {
			return 0
		}
		return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
	}
	t.Fatalf("no socket with the ports %d and %d", local, remote)
	return 0
}

// TestKeepAliveOfTheSite: who connects and waits in front of a site sees the keep-alives
// of its server, whether the site has him already or not; a user does not, and in front
// of another server nobody does.
func TestKeepAliveOfTheSite(t *testing.T) {
	for _, tt := range []struct {
		name string
		site bool
		want [2]time.Duration // of a silent one, and of a user
	}{{"site", true, [2]time.Duration{15 * time.Second, 4 * time.Minute}}, {"forward", false, [2]time.Duration{4 * time.Minute, 4 * time.Minute}}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStreet(t, func(l *relay.Listener) {
				if tt.site {
					l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) { visited{c, g, time.Now()}.leave() }
				}
			})
			check := func(c net.Conn, who string, want time.Duration) {
				t.Helper()
				a := c.RemoteAddr().(*net.TCPAddr)
				got := keepAliveOf(t, a.Port, c.LocalAddr().(*net.TCPAddr).Port)
				if got > want || got < want-want/5 {
					t.Errorf("%s: got %v until a keep-alive, want %v", who, got, want)
				}
			}
			silent := mustDial(t, "127.0.0.1", s.addr)
			defer func() { _ = transport.Abort(silent) }()
			until(t, "him to be there", func() bool { return s.srv.Snapshot().Live == 1 })
			check(silent, "who says nothing", tt.want[0])
			target, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			user := mustDial(t, "127.0.0.1", s.addr)
			defer func() { _ = transport.Abort(user) }()
			_, _ = io.WriteString(user, record(helloSecret)+"go - "+target.Addr().String()+"\n")
			if b, err := io.ReadAll(io.LimitReader(user, 3)); string(b) != "ok\n" {
				t.Fatalf("opening: got %q, %v, want ok", b, err)
			}
			check(user, "a user", tt.want[1])
		})
	}
}
