package auth

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		w.update("alice", func(r *Record) { r.MaxConns = 2 })
		a, b := w.begin("http", "alice"), w.begin("socks5", "alice")
		if _, err := w.try("http", "alice", home); !errors.Is(err, ErrTooManyConns) {
			t.Errorf("third: got %v, want %v", err, ErrTooManyConns)
		}
		w.begin("http", "bob")
		a.End()
		a.End() // counts once
		w.begin("http", "alice")
		if _, err := w.try("http", "alice", home); !errors.Is(err, ErrTooManyConns) {
			t.Errorf("after one end: got %v, want %v", err, ErrTooManyConns)
		}
		w.update("alice", func(r *Record) { r.MaxConns = 1 })
		if synctest.Wait(); b.why() != nil {
			t.Errorf("lower limit: got %v, want no cut", b.why())
		}
		w.update("alice", func(r *Record) { r.MaxConns = 0 })
		for range 50 {
			w.begin("http", "alice")
		}
	})
}

func TestMaxIPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		w.update("alice", func(r *Record) { r.MaxIPs = 2 })
		first, err := w.try("http", "alice", netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name, source string
			want         error
		}{
			{"the same", "192.0.2.1", nil},
			{"the same, mapped", "::ffff:192.0.2.1", nil},
			{"second", "2001:db8::1", nil},
			{"its /64", "2001:db8::ffff:0:0:1", nil},
			{"its /64, with a zone", "2001:db8::5%eth0", nil},
			{"third", "192.0.2.2", ErrTooManyIPs},
			{"third, mapped", "::ffff:192.0.2.2", ErrTooManyIPs},
			{"third, the next /64", "2001:db8:0:1::1", ErrTooManyIPs},
		} {
			c, err := w.try("http", "alice", netip.MustParseAddr(tt.source))
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
			if err == nil {
				defer c.End()
			}
			if tt.name == "the same" || tt.name == "the same, mapped" {
				c.End()
			}
		}
		if got := w.Active()[0].Addresses; got != 2 {
			t.Errorf("got %d addresses, want 2", got)
		}
		first.End()
		if _, err := w.try("http", "alice", netip.MustParseAddr("192.0.2.2")); err != nil {
			t.Errorf("after the first has gone: got %v, want none", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.live["alice"].ips); n != 2 {
			t.Errorf("got %d addresses kept, want 2", n)
		}
		for ip := range w.live["alice"].ips {
			if want := w.hash(netip.MustParseAddr("192.0.2.2")); ip == 0xc0000202 || ip == 0 {
				t.Errorf("got address %x, want a keyed hash such as %x", ip, want)
			}
		}
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		const perSecond = 1 << 20
		w.update("alice", func(r *Record) { r.Rate = 8 * perSecond })
		// Two sessions share each direction; the directions are apart.
		a, b, bob := w.begin("http", "alice"), w.begin("socks5", "alice"), w.begin("http", "bob")
		if !a.Limited() || bob.Limited() {
			t.Errorf("got limited %t and %t, want alice alone", a.Limited(), bob.Limited())
		}
		for _, up := range []bool{true, false} {
			begin, moved := time.Now(), 0
			for time.Since(begin) < 10*time.Second {
				var longest time.Duration
				for _, s := range []*client{a, b} {
					longest = max(longest, s.Moved(up, 16<<10))
					moved += 16 << 10
				}
				if d := bob.Moved(up, 1<<30); d != 0 {
					t.Fatalf("somebody else: got a pause of %v, want none", d)
				}
				time.Sleep(longest)
			}
			got := float64(moved) / time.Since(begin).Seconds()
			if got < perSecond || got > perSecond*1.05 {
				t.Errorf("up %t: got %.0f bytes/s, want %d and at most a burst more", up, got, perSecond)
			}
		}
		time.Sleep(time.Minute)
		// One read larger than the burst waits for all of itself.
		if got := a.Moved(true, 4*perSecond); got < 3700*time.Millisecond || got > 3800*time.Millisecond {
			t.Errorf("large read: got %v, want what is above a quarter of a second", got)
		}
		w.update("alice", func(r *Record) { r.MaxConns = 9 })
		if got := a.Moved(true, 1); got == 0 {
			t.Error("another setting changed: got no pause, want the debt kept")
		}
		w.update("alice", func(r *Record) { r.Rate = 0 })
		if d := a.Moved(true, 1<<30); d != 0 || a.Limited() {
			t.Errorf("limit gone: got %v, limited %t, want none", d, a.Limited())
		}
		w.update("alice", func(r *Record) { r.Rate = 1 }) // a bit a second
		if d := a.Moved(false, 64<<10); d != 0 {
			t.Errorf("slowest rate: got %v, want the first reads free", d)
		}
		if d := a.Moved(false, 1); d < 7*time.Second || d > 9*time.Second {
			t.Errorf("slowest rate: got %v, want about 8s", d)
		}
	})
}

func TestActivityRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice")
		a := w.begin("http", "alice")
		time.Sleep(time.Second / 2) // not at the moment when it is sampled
		for range 5 {
			a.Moved(true, 1000)
			a.Moved(false, 7000)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		want := Activity{Name: "alice", Sessions: 1, Up: 5000, Down: 35000, UpRate: 1000, DownRate: 7000}
		if got := w.Active(); len(got) != 1 || got[0] != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
