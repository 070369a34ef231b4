package relay_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay"
	"relay/transport"
)

// A stranger whom the site has may be sent a file, which is a descriptor more.
func TestDescriptorsOfTheSite(t *testing.T) {
	coverRig(t, func(r *rig, c *relay.Cover) {
		r.set.Limits.Descriptors = 3
		c.Site = func(c transport.Conn, _ time.Time, g transport.Guest) {
			go func() {
				_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				_ = c.Close()
				g.Closed(0, 0)
			}()
		}
	}, func(r *rig, _ net.Listener) {
		first := r.dial()
		r.say(first, "junk", "junk")
		second := r.dial()
		synctest.Wait()
		r.say(first, "more", "more") // there is room for who has said nothing
		r.say(second, "junk", "junk")
		r.wantEnd(first, syscall.ECONNRESET)
		_ = second.Close()
		r.wantEnds(map[transport.Status]int64{transport.NotOurs: 2})
	})
}

// A visitor of the site who has many answers at once takes the room of other
// strangers, and not of those who are served.
func TestDescriptorsBorrowed(t *testing.T) {
	guests := make(chan transport.Guest, 1)
	coverRig(t, func(r *rig, c *relay.Cover) {
		r.set.Limits.Descriptors = 6
		c.Site = func(c transport.Conn, _ time.Time, g transport.Guest) {
			guests <- g
			go func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
				g.Closed(0, 0)
			}()
		}
	}, func(r *rig, _ net.Listener) {
		client := r.dial()
		r.say(client, record(helloSecret)+"go - "+targetAddr+"\n", "ok\n")
		server, err := r.target.Accept()
		if err != nil {
			t.Fatal(err)
		}
		many, silent := r.dial(), r.dial()
		if _, err := io.WriteString(many, "junk"); err != nil {
			t.Fatal(err)
		}
		g := <-guests
		if !g.Borrow() {
			t.Error("with room: got none, want a descriptor")
		}
		if !g.Borrow() {
			t.Error("with somebody who says nothing: got none, want his descriptor")
		}
		r.wantEnd(silent, syscall.ECONNRESET)
		synctest.Wait()
		if g.Borrow() {
			t.Error("beside a flow: got a descriptor, want none")
		}
		g.Return()
		if !g.Borrow() {
			t.Error("after giving back: got none, want a descriptor")
		}
		g.Return()
		g.Return()
		r.say(client, "ping", "")
		r.wantBytes(server, "ping")
		for _, c := range []transport.Conn{client, many} {
			_ = c.Close()
		}
		_ = server.Close()
		synctest.Wait()
		r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1, transport.OverLimit: 1, transport.OK: 1})
	})
}
