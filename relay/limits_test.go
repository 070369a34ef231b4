package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

func TestPerSource(t *testing.T) {
	inRig(t, func(r *rig) {
		r.set.Limits.PerSource = 3
		r.set.Limits.Trusted = func(a netip.Addr) bool { return a == netip.MustParseAddr("198.51.100.99") }
	}, func(r *rig) {
		var joined []transport.Conn
		for range 10 { // whoever is authenticated does not count
			client, server := r.open("-")
			joined = append(joined, client, server)
		}
		silent := []transport.Conn{r.dial(), r.dial(), r.dial()}
		synctest.Wait()
		r.wantEnd(r.dial(), syscall.ECONNRESET)
		other := r.dialFrom("198.51.100.8")
		r.say(other, "go - "+targetAddr+"\n", "ok\n")
		for range 10 {
			silent = append(silent, r.dialFrom("198.51.100.99"))
		}
		// An end makes room for one.
		_ = silent[0].Close()
		synctest.Wait()
		silent = append(silent, r.dial())
		synctest.Wait()
		r.wantEnd(r.dial(), syscall.ECONNRESET)
		for _, c := range append(append(joined, silent...), other) {
			_ = c.Close()
		}
		synctest.Wait()
		if got := r.srv.Snapshot().Ends[transport.OverLimit]; got != 2 {
			t.Errorf("ends by over_limit: got %d, want 2", got)
		}
	})
}

// IPv6 sources are counted by /56: one subscriber has that many addresses.
func TestPerSourceIPv6(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.PerSource = 2 }, func(r *rig) {
		a, b := r.dialFrom("2001:db8:0:1::1"), r.dialFrom("2001:db8:0:ff::2")
		synctest.Wait()
		r.wantEnd(r.dialFrom("2001:db8:0:42::3"), syscall.ECONNRESET)
		c := r.dialFrom("2001:db8:0:100::4")
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		for _, c := range []transport.Conn{a, b, c} {
			_ = c.Close()
		}
	})
}

// A source whose connections fail is counted until each of them is over:
// guessing passwords must not be cheaper than saying nothing.
func TestPerSourceCountsRefused(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.PerSource = 1 }, func(r *rig) {
		c := r.dial()
		r.say(c, "go wrong "+targetAddr+"\n", "no\n") // and the relay waits for our end
		synctest.Wait()
		r.wantEnd(r.dial(), syscall.ECONNRESET)
		_ = c.Close()
		synctest.Wait()
		c = r.dial()
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		_ = c.Close()
	})
}

// A source that has more connections than its limit sees the cover on each, and its
// user is served.
func TestManyOfOneSource(t *testing.T) {
	coverRig(t, func(r *rig, c *relay.Cover) { r.set.Limits.PerSource, c.Connections = 1, 8 }, func(r *rig, cover net.Listener) {
		var held []transport.Conn
		for range 5 {
			c := r.dial()
			_, _ = io.WriteString(c, "junk")
			s := r.accept(cover)
			r.wantBytes(s, "junk")
			held = append(held, c, s)
		}
		user := r.dial()
		r.say(user, record(helloSecret)+"go - "+targetAddr+"\n", "ok\n")
		for _, c := range append(held, user) {
			_ = c.Close()
		}
	})
}

// Of a source's many connections the oldest beyond its limit makes room: for another
// of its own when there are as many as strangers may be, and for other strangers
// when the cover has no room.
func TestManyOfOneSourceMakeRoom(t *testing.T) {
	few := func(r *rig, c *relay.Cover) { r.set.Limits.PerSource, c.Connections = 1, 2 }
	coverRig(t, few, func(r *rig, cover net.Listener) {
		var silent []transport.Conn
		for range 4 {
			silent = append(silent, r.dial())
		}
		r.wantEnd(silent[1], syscall.ECONNRESET)
		for _, i := range []int{0, 2, 3} {
			_ = silent[i].SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := silent[i].Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connection %d: got %v, want it left alone", i, err)
			}
			_ = silent[i].Close()
		}
	})
	coverRig(t, few, func(r *rig, cover net.Listener) {
		var many []transport.Conn
		for range 2 {
			c := r.dial()
			_, _ = io.WriteString(c, "junk")
			many = append(many, c, r.accept(cover))
		}
		more := r.dial()
		_, _ = io.WriteString(more, "junk")
		r.wantEnd(more, syscall.ECONNRESET) // it makes nobody else go
		other := r.dialFrom("198.51.100.8")
		_, _ = io.WriteString(other, "junk")
		s := r.accept(cover)
		r.wantBytes(s, "junk")
		r.wantEnd(many[2], syscall.ECONNRESET)
		for _, c := range append(many, other, s) {
			_ = c.Close()
		}
	})
}

// With every place taken by flows, a newcomer is refused.
func TestConnectionLimit(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.Connections = 2 }, func(r *rig) {
		client, server := r.open("-")
		client2, server2 := r.open("-")
		synctest.Wait()
		r.wantEnd(r.dial(), syscall.ECONNRESET)
		if got := r.srv.Snapshot(); got.Live != 2 || got.Flows != 2 {
			t.Errorf("snapshot: got %d live and %d flows, want 2 and 2", got.Live, got.Flows)
		}
		_ = client.Close()
		_ = server.Close()
		synctest.Wait()
		c := r.dial()
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		for _, c := range []transport.Conn{client2, server2, c} {
			_ = c.Close()
		}
	})
}

// With places taken by those who say nothing, the one that has waited longest
// makes room, and flows are left alone.
func TestEviction(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.Connections = 3 }, func(r *rig) {
		client, server := r.open("-")
		oldest, younger := r.dial(), r.dial()
		synctest.Wait()
		c := r.dial()
		r.wantEnd(oldest, syscall.ECONNRESET)
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		r.wantEnd(func() transport.Conn { _ = r.dial(); return younger }(), syscall.ECONNRESET)
		synctest.Wait()
		if got := r.srv.Snapshot(); got.Flows != 2 || got.Ends[transport.OverLimit] != 2 {
			t.Errorf("snapshot: got %d flows and %d over the limit, want 2 and 2", got.Flows, got.Ends[transport.OverLimit])
		}
		for _, c := range []transport.Conn{client, server, c} {
			_ = c.Close()
		}
	})
}

// Who has no target takes one descriptor, and there may be twice as many of them as of
// those who have one. They make room for others, and for each other's targets.
func TestDescriptorLimit(t *testing.T) {
	inRig(t, func(r *rig) { r.set.Limits.Descriptors = 4 }, func(r *rig) {
		var silent []transport.Conn
		for range 4 {
			silent = append(silent, r.dial())
		}
		synctest.Wait()
		if got := r.srv.Snapshot(); got.Live != 4 || got.Ends[transport.OverLimit] != 0 {
			t.Fatalf("at the limit: got %d live and %d over it, want 4 and 0", got.Live, got.Ends[transport.OverLimit])
		}
		fifth := r.dial()
		r.wantEnd(silent[0], syscall.ECONNRESET)
		r.say(fifth, "go - "+targetAddr+"\n", "ok\n")
		r.wantEnd(silent[1], syscall.ECONNRESET)
		r.say(silent[2], "go - "+targetAddr+"\n", "ok\n")
		r.wantEnd(silent[3], syscall.ECONNRESET)
		r.wantEnd(r.dial(), syscall.ECONNRESET) // flows are left alone
		synctest.Wait()
		if got := r.srv.Snapshot(); got.Live != 2 || got.Flows != 2 || got.Ends[transport.OverLimit] != 4 {
			t.Errorf("snapshot: got %d live, %d flows and %d over the limit, want 2, 2 and 4", got.Live, got.Flows, got.Ends[transport.OverLimit])
		}
		_ = fifth.Close()
		_ = silent[2].Close()
	})
	inRig(t, func(r *rig) { r.set.Limits.Descriptors = 3 }, func(r *rig) {
		client, server := r.open("-")
		c := r.dial()
		r.say(c, "go - "+targetAddr+"\n", "no\n")
		for _, c := range []transport.Conn{client, server, c} {
			_ = c.Close()
		}
		synctest.Wait()
		// Whatever was counted is not any more.
		for range 3 {
			client, server := r.open("-")
			_, _ = client.Close(), server.Close()
			synctest.Wait()
		}
		r.wantEnds(map[transport.Status]int64{transport.OverLimit: 1, transport.OK: 4})
	})
}

// broken is a listener whose Accept fails every other time.
type broken struct {
	net.Listener
	always atomic.Bool
	calls  atomic.Int64
}

func (b *broken) Accept() (net.Conn, error) {
	if n := b.calls.Add(1); b.always.Load() || n%2 == 1 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(clientIP)},
			Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return b.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	b := new(broken)
	b.always.Store(true)
	inRig(t, func(r *rig) {
		r.srv = relay.New(relay.Options{Log: r.logger(), Users: r.users, Splice: r.core,
			Listen: func(_ context.Context, addr string, _ int) (ln net.Listener, err error) {
				b.Listener, err = r.net.Listen(addr)
				return b, err
			}})
	}, func(r *rig) {
		time.Sleep(time.Minute)
		if got := b.calls.Load(); got < 10 || got > 80 {
			t.Errorf("accept calls in a minute of EMFILE: got %d, want about one a second", got)
		}
		b.always.Store(false)
		// It fails every other time from here on, and works all the same.
		for range 100 {
			c := r.dial()
			r.say(c, "go - "+targetAddr+"\n", "ok\n")
			_ = c.Close()
			s, _ := r.target.Accept()
			_ = s.Close()
		}
		log := r.log.String()
		if got := strings.Count(log, "too many open files"); got < 1 || got > 10 {
			t.Errorf("warnings: got %d, want one every ten seconds:\n%s", got, log)
		}
		if strings.Contains(log, clientIP) {
			t.Errorf("warning: got the client's address in %s, want none", log)
		}
		b.always.Store(true)
		synctest.Wait()
		time.Sleep(10 * time.Second) // the longest back-off
		began := time.Now()
		r.shutdown(time.Hour)
		if got := time.Since(began); got != 0 {
			t.Errorf("Shutdown during a back-off took %v, want no time", got)
		}
	})
}

// Connections that come and go at once leave nothing behind.
func TestFlood(t *testing.T) {
	const n = 5000
	inRig(t, func(r *rig) {
		r.set.Limits.PerSource = 16
	}, func(r *rig) {
		for i := range n {
			c := r.dial()
			switch i % 4 {
			case 0:
				_ = transport.Abort(c)
			case 1:
				_, _ = io.WriteString(c, "go ")
			}
			_ = c.Close()
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := sum(r.srv); got != n {
			t.Errorf("ends: got %d, want one for each of %d connections", got, n)
		}
		c := r.dial() // the source is welcome again
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		_ = c.Close()
		if log := r.log.String(); strings.Contains(log, "over_limit") {
			t.Errorf("log: got lines about refused connections, want none in a flood")
		}
	})
}

func sum(s *relay.Server) (n int64) {
	for _, k := range s.Snapshot().Ends {
		n += k
	}
	return n
}

// What the kernel does with the listener that Listen opens, the memory network
// cannot show.
func TestListen(t *testing.T) {
	relaytest.LeakCheck(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := relay.Listen(t.Context(), addr, 5)
		if err != nil {
			t.Errorf("Listen on %s: got %v, want nil", addr, err)
			continue
		}
		if _, err := relay.Listen(t.Context(), ln.Addr().String(), 5); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Listen twice: got %v, want EADDRINUSE", err)
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Errorf("dial: got %v, want nil", err)
			continue
		}
		s, err := ln.Accept()
		if _, ok := s.(transport.Conn); err != nil || !ok {
			t.Errorf("Accept: got %T, %v, want a transport.Conn", s, err)
		}
		_, _ = c.Close(), s.Close()
		_ = ln.Close()
	}
	if _, err := relay.Listen(t.Context(), "127.0.0.1:99999", 5); err == nil {
		t.Error("Listen on port 99999: got nil, want an error")
	}
}
