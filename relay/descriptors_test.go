package relay_test

import (
	"fmt"
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

// visitors come to a site that says nothing.
type visitors struct {
	*rig
	guests chan transport.Guest
}

func (v *visitors) come(from string) (transport.Conn, transport.Guest) {
	c := v.dialFrom(from)
	if _, err := io.WriteString(c, "junk"); err != nil {
		v.t.Fatal(err)
	}
	return c, <-v.guests
}

// borrow wants so many for g, or that there is none.
func (v *visitors) borrow(g transport.Guest, n int, want bool) {
	v.t.Helper()
	for i := range n {
		if got := g.Borrow(); got != want {
			v.t.Errorf("borrow, the %d. time: got %v, want %v", i+1, got, want)
		}
	}
}

func (v *visitors) giveBack(g transport.Guest, n int) {
	for range n {
		g.Return()
	}
}

// wantAlive wants connections that have not ended.
func (v *visitors) wantAlive(conns ...transport.Conn) {
	v.t.Helper()
	for i, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !isTimeoutError(err) {
			v.t.Errorf("connection %d: got %v, want that it goes on", i, err)
		}
	}
}

func isTimeoutError(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func visitorsRig(t *testing.T, change func(*relay.Limits), test func(*visitors)) {
	guests := make(chan transport.Guest, 1000) // those who have said nothing come in the end
	coverRig(t, func(r *rig, c *relay.Cover) {
		change(&r.set.Limits)
		c.Site = silentSite(guests)
	}, func(r *rig, _ net.Listener) { test(&visitors{r, guests}) })
}

const (
	here  = "192.0.2.7"
	there = "198.51.100.7"
	other = "203.0.113.7"
)

// Those who have borrowed much make room first, and nobody else has to while that is on
// its way back. Who has borrowed much himself takes nothing of others.
func TestDescriptorsOfBorrowers(t *testing.T) {
	visitorsRig(t, func(l *relay.Limits) { l.Descriptors = 84 }, func(v *visitors) {
		silent := v.dialFrom(there)
		synctest.Wait()
		many, one := v.come(here)
		v.borrow(one, 81, true)
		v.borrow(one, 1, false)
		few, two := v.come(there)
		v.wantEnd(many, syscall.ECONNRESET)
		synctest.Wait()
		v.borrow(two, 5, true) // of what is on its way back
		v.giveBack(one, 81)
		v.wantAlive(silent, few)
		synctest.Wait()
		v.giveBack(two, 5)
		_ = few.Close()
		synctest.Wait()
		// Whatever was counted is not any more.
		for range 83 {
			defer v.dial().Close()
		}
		synctest.Wait()
		if got := v.srv.Snapshot(); got.Live != 84 {
			t.Errorf("snapshot: got %d live, want 84", got.Live)
		}
	})
}

// A visitor whom the site answers some things at once does not go before those who say
// nothing.
func TestDescriptorsOfFew(t *testing.T) {
	visitorsRig(t, func(l *relay.Limits) { l.Descriptors = 80 }, func(v *visitors) {
		silent := v.dialFrom(there)
		synctest.Wait()
		few, g := v.come(here)
		v.borrow(g, 15, true)
		for range 63 {
			defer v.dialFrom(other).Close()
			synctest.Wait()
		}
		v.wantEnd(silent, syscall.ECONNRESET)
		v.wantAlive(few)
		v.giveBack(g, 15)
	})
}

// Strangers have a bound for what they borrow together, below that of descriptors. Those
// of a neighbourhood that has borrowed most make room for others, however many they are
// and however little each of them has.
func TestBorrowedTogether(t *testing.T) {
	visitorsRig(t, func(l *relay.Limits) { l.Descriptors = 1 << 20 }, func(v *visitors) {
		const each = 4
		var flood []transport.Conn
		var guests []transport.Guest
		for range 2048 / each {
			c, g := v.come(here)
			v.borrow(g, each, true)
			flood, guests = append(flood, c), append(guests, g)
		}
		more, g := v.come(here)
		v.borrow(g, 1, false)
		page, resources := v.come(there)
		v.borrow(resources, 100, true)
		for _, c := range flood[:100/each] {
			v.wantEnd(c, syscall.ECONNRESET)
		}
		v.wantAlive(more, page, flood[100/each])
		v.giveBack(resources, 100)
		for _, g := range guests {
			v.giveBack(g, each)
		}
	})
}

// Where no neighbourhood stands out who has borrowed little gets something all the same.
func TestBorrowedEverywhere(t *testing.T) {
	visitorsRig(t, func(l *relay.Limits) { l.Descriptors = 1 << 20 }, func(v *visitors) {
		const each = 16
		var guests []transport.Guest
		for i := range 2048 / each {
			_, g := v.come(fmt.Sprintf("10.0.%d.7", i))
			v.borrow(g, each, true)
			guests = append(guests, g)
		}
		page, resources := v.come(there)
		v.borrow(resources, 31, true)
		v.wantAlive(page)
		v.giveBack(resources, 31)
		for _, g := range guests {
			v.giveBack(g, each)
		}
	})
}
