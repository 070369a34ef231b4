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

// silentSite tells of its visitors, and says nothing to them.
func silentSite(guests chan<- transport.Guest) func(transport.Conn, time.Time, transport.Guest) {
	return func(c transport.Conn, _ time.Time, g transport.Guest) {
		guests <- g
		go func() {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
			g.Closed(0, 0)
		}()
	}
}

// A visitor of the site who has many answers at once takes the room of other
// strangers, and not of those who are served.
func TestDescriptorsBorrowed(t *testing.T) {
	guests := make(chan transport.Guest, 1)
	coverRig(t, func(r *rig, c *relay.Cover) {
		r.set.Limits.Descriptors = 6
		c.Site = silentSite(guests)
	}, func(r *rig, _ net.Listener) {
		client := r.dial()
		r.say(client, record(helloSecret)+"go - "+targetAddr+"\n", "ok\n")
		server, err := r.target.Accept()
		if err != nil {
			t.Fatal(err)
		}
		many, silent := r.dial(), r.dial()
		synctest.Wait()
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

// Who has borrowed makes room first, and nobody else has to while what he had is on its
// way back.
func TestDescriptorsOfBorrowers(t *testing.T) {
	guests := make(chan transport.Guest, 2)
	coverRig(t, func(r *rig, c *relay.Cover) {
		r.set.Limits.Descriptors = 7
		c.Site = silentSite(guests)
	}, func(r *rig, _ net.Listener) {
		come := func() (transport.Conn, transport.Guest) {
			c := r.dial()
			if _, err := io.WriteString(c, "junk"); err != nil {
				t.Fatal(err)
			}
			return c, <-guests
		}
		borrow := func(g transport.Guest, n int, want bool) {
			t.Helper()
			for range n {
				if got := g.Borrow(); got != want {
					t.Errorf("borrow: got %v, want %v", got, want)
				}
			}
		}
		silent := r.dial()
		synctest.Wait()
		first, one := come()
		borrow(one, 2, true)
		second, two := come()
		borrow(two, 2, true)
		r.wantEnd(first, syscall.ECONNRESET)
		synctest.Wait()
		borrow(one, 1, false)
		one.Return()
		one.Return()
		borrow(two, 2, true)
		synctest.Wait()
		if got := r.srv.Snapshot(); got.Live != 2 {
			t.Errorf("snapshot: got %d live, want 2: who has said nothing is not in the way", got.Live)
		}
		borrow(two, 1, true)
		r.wantEnd(silent, syscall.ECONNRESET)
		synctest.Wait()
		borrow(two, 1, false)
		_ = second.Close()
		for range 5 {
			two.Return()
		}
		synctest.Wait()
		// Whatever was counted is not any more.
		for range 7 {
			defer r.dial().Close()
		}
		synctest.Wait()
		if got := r.srv.Snapshot(); got.Live != 7 {
			t.Errorf("snapshot: got %d live, want 7", got.Live)
		}
	})
}
