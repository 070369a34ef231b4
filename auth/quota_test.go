package auth

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuotaExactCrossing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		moves []int
		atOne error // after the last move, without waiting
		later error // within a second
	}{
		{"below", []int{60, 39}, nil, nil},
		{"exactly", []int{60, 40}, nil, ErrQuota}, // what is used up is used up
		{"one above", []int{60, 41}, ErrQuota, ErrQuota},
		{"at one go", []int{1 << 40}, ErrQuota, ErrQuota},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "alice", "bob")
				w.update("alice", func(r *Record) { r.Quota = Quota{Bytes: 100} })
				a, b, bob := w.begin("http", "alice"), w.begin("socks5", "alice"), w.begin("http", "bob")
				for i, n := range tt.moves {
					[]*client{a, b}[i%2].Moved(i%2 == 0, n)
					bob.Moved(true, n)
				}
				synctest.Wait()
				if !errors.Is(a.why(), tt.atOne) || !errors.Is(b.why(), tt.atOne) {
					t.Errorf("at once: got %v and %v, want %v", a.why(), b.why(), tt.atOne)
				}
				time.Sleep(time.Second + time.Millisecond)
				synctest.Wait()
				if !errors.Is(a.why(), tt.later) || !errors.Is(b.why(), tt.later) || bob.why() != nil {
					t.Errorf("later: got %v, %v and %v, want %v and nothing for bob", a.why(), b.why(), bob.why(), tt.later)
				}
				if _, err := w.try("http", "alice", home); !errors.Is(err, tt.later) {
					t.Errorf("new session: got %v, want %v", err, tt.later)
				}
				a.Moved(true, 1) // a straggler in the pump
				w.update("alice", func(r *Record) { r.Quota = Quota{Bytes: 1 << 50} })
				again := w.begin("http", "alice")
				if again.Moved(true, 1<<50); true {
					synctest.Wait()
				}
				if !errors.Is(again.why(), ErrQuota) {
					t.Errorf("larger quota crossed: got %v, want %v", again.why(), ErrQuota)
				}
			})
		})
	}
}

func TestQuotaPeriods(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name  string
		quota Quota
		start time.Duration // after 2000-01-01 00:00 UTC
		waits []time.Duration
		ok    []bool // served after each wait
	}{
		{"month", Quota{Bytes: 100}, 30*day + 23*time.Hour, []time.Duration{time.Hour - 10*time.Second, 10 * time.Second}, []bool{false, true}},
		{"month, February of a leap year", Quota{Bytes: 100}, 59 * day, []time.Duration{23 * time.Hour, time.Hour}, []bool{false, true}},
		{"one day", Quota{100, 1}, 5*day + 12*time.Hour, []time.Duration{12*time.Hour - 10*time.Second, 10 * time.Second}, []bool{false, true}},
		{"seven days", Quota{100, 7}, 40 * day, []time.Duration{6 * day, 23 * time.Hour, time.Hour}, []bool{false, false, true}},
		{"a year", Quota{100, 366}, 0, []time.Duration{365 * day, day}, []bool{false, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "alice")
				w.ahead.Store(int64(tt.start))
				w.update("alice", func(r *Record) { r.Quota = tt.quota })
				w.begin("http", "alice").Moved(true, 100)
				time.Sleep(flushEvery + time.Second)
				for i, d := range tt.waits {
					w.ahead.Add(int64(d)) // the clock goes on, or jumps: it is the same
					w.reopen()
					time.Sleep(time.Second)
					if c, err := w.try("http", "alice", home); (err == nil) != tt.ok[i] || err != nil && !errors.Is(err, ErrQuota) {
						t.Errorf("after %v: got %v, want served %t", d, err, tt.ok[i])
					} else if err == nil {
						c.End()
					}
				}
			})
		})
	}
}

func TestQuotaEndsWhileMidnightPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice")
		w.ahead.Store(int64(24*time.Hour - 10*time.Second))
		w.update("alice", func(r *Record) { r.Quota = Quota{100, 2} })
		a := w.begin("http", "alice")
		a.Moved(true, 60)
		time.Sleep(20 * time.Second)
		a.Moved(true, 39)
		if synctest.Wait(); a.why() != nil {
			t.Errorf("both days together: got %v, want no cut yet", a.why())
		}
		a.Moved(true, 2)
		if synctest.Wait(); !errors.Is(a.why(), ErrQuota) {
			t.Errorf("both days together: got %v, want %v", a.why(), ErrQuota)
		}
		if _, u, _ := w.Get("alice"); u.Days[dayOf(w0)] != 60 || u.Days[dayOf(w0)+1] != 41 || u.Up != 101 {
			t.Errorf("got %v, want 60 and 41", u)
		}
	})
}

func TestClockJumps(t *testing.T) {
	const years = 60 * 365 * 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol")
		w.update("alice", func(r *Record) { r.Quota = Quota{Bytes: 1000, Days: 30} })
		w.update("carol", func(r *Record) { r.Expires = w0.AddDate(1, 0, 0) })
		a, bob := w.begin("http", "alice"), w.begin("http", "bob")
		a.Moved(true, 900)
		for _, jump := range []time.Duration{years, 0, -10_957 * 24 * time.Hour, 0, years, -years, 0} {
			w.ahead.Store(int64(jump))
			time.Sleep(5 * time.Second)
			a.Moved(true, 1)
			bob.Moved(true, 1)
			carol, err := w.try("http", "carol", home)
			if want := jump > 0; want != errors.Is(err, ErrExpired) {
				t.Errorf("%v: expiry: got %v, want expired %t", jump, err, want)
			} else if err == nil {
				carol.End()
			}
		}
		if a.why() != nil || bob.why() != nil {
			t.Errorf("got %v and %v, want nobody cut", a.why(), bob.why())
		}
		// Back in the present: what was used before the jumps still counts,
		// what was used in them does not.
		if _, u, _ := w.Get("alice"); u.In(Quota{1, 30}, w.now(), true) != 903 || u.Up != 907 {
			t.Errorf("got %v, want 903 in the period and 907 in all", u)
		}
		a.Moved(true, 98)
		if synctest.Wait(); !errors.Is(a.why(), ErrQuota) {
			t.Errorf("got %v, want %v", a.why(), ErrQuota)
		}
		time.Sleep(flushEvery)
		w.reopen()
		if _, u, err := w.Get("bob"); err != nil || u.Up != 7 {
			t.Errorf("got %v, %v, want 7 bytes", u, err)
		}
	})
}
