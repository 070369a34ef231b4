package relay_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// TestCarriers: a user's connections to the site do not count among strangers, up to a
// number.
func TestCarriers(t *testing.T) {
	const most, more = 128, 3
	coverRig(t, func(_ *rig, c *relay.Cover) {
		c.Site = func(c transport.Conn, _ time.Time, g transport.Guest) {
			go func() {
				g.Claimed(auth.User{ID: 7})
				_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
				_ = c.Close()
				g.Closed(1, 2)
			}()
		}
	}, func(r *rig, _ net.Listener) {
		for range 2 {
			var clients []transport.Conn
			for range most + more {
				c := r.dial()
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n") // nobody's
				clients = append(clients, c)
			}
			synctest.Wait()
			if s := r.srv.Snapshot(); s.Strangers != more || s.Live != most+more {
				t.Errorf("got %d strangers of %d, want %d", s.Strangers, s.Live, more)
			}
			for _, c := range clients {
				_ = c.Close()
			}
			synctest.Wait()
			if s := r.srv.Snapshot(); s.Strangers != 0 || s.Live != 0 {
				t.Errorf("after their ends: got %d strangers and %d connections", s.Strangers, s.Live)
			}
		}
		r.wantEnds(map[transport.Status]int64{transport.OK: 2 * most, transport.NotOurs: 2 * more})
	})
}
