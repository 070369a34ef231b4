package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

func TestCountersSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		a, b := w.begin("http", "alice"), w.begin("http", "bob")
		for range 100 {
			a.Moved(true, 1000)
			b.Moved(false, 10)
			time.Sleep(100 * time.Millisecond)
			u, err := w.store.Usage(a.acct.rec.ID)
			if lost := a.acct.up.Load() - u.Up; err != nil || lost > 31_000 {
				t.Fatalf("got %d bytes not on disk, %v, want at most 3 s", lost, err)
			}
		}
		w.reopen() // as after kill -9
		if _, u, err := w.Get("alice"); err != nil || u.Up < 69_000 || u.Up > 100_000 {
			t.Errorf("killed: got %v, %v, want at most 3 s lost", u, err)
		}
		_, before, _ := w.Get("bob")
		w.begin("http", "bob").Moved(false, 7)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w.reopen()
		if _, u, err := w.Get("bob"); err != nil || u.Down != before.Down+7 || u.Days[dayOf(time.Now())] != u.Down {
			t.Errorf("closed: got %v, %v, want nothing lost", u, err)
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []string
		for i := range 50 {
			all = append(all, fmt.Sprintf("user-%d", i))
		}
		w := newWorld(t, all...)
		w.update("user-1", func(r *Record) { r.Disabled = true })
		for _, n := range all {
			c, err := w.try("http", n, home)
			if err == nil && n != "user-0" {
				c.Moved(true, 5)
				c.End()
			}
		}
		time.Sleep(forget - 5*time.Second)
		if n, _ := w.inMem(); n != 50 {
			t.Errorf("got %d in memory after %v, want all", n, forget-5*time.Second)
		}
		time.Sleep(10 * time.Second)
		if n, one := w.inMem(); n != 1 || one != "user-0" {
			t.Errorf("got %d in memory, want the one with a session", n)
		}
		if _, u, err := w.Get("user-7"); err != nil || u.Up != 5 {
			t.Errorf("got %v, %v, want the counters from the disk", u, err)
		}
		w.begin("http", "user-7").Moved(true, 5)
		if _, u, _ := w.Get("user-7"); u.Up != 10 {
			t.Errorf("got %d, want them to go on", u.Up)
		}
	})
}

func TestSaveAfterRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		a, b := w.begin("http", "alice"), w.begin("http", "bob")
		id := a.acct.rec.ID
		// Removed with counters that are not saved, while it fails to save.
		w.mu.Lock()
		w.saveErr = errors.New("full")
		w.mu.Unlock()
		a.Moved(true, 10)
		if err := w.Remove("alice"); err != nil {
			t.Fatal(err)
		}
		a.Moved(true, 10)
		a.End()
		if err := w.Save(); err != nil || w.SaveError() != nil {
			t.Errorf("got %v and %v, want nothing left to save", err, w.SaveError())
		}
		b.Moved(true, 3)
		time.Sleep(10 * time.Second)
		usages := 0
		_ = w.store.view(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketUsage).ForEach(func(_, _ []byte) error { usages++; return nil })
		})
		if u, err := w.store.Usage(id); err != nil || u.Up != 0 || usages != 1 {
			t.Errorf("got %v, %v and %d counters, want those of bob alone", u, err, usages)
		}
	})
}

// TestDiskHangs holds the database's write lock, as a disk that does not
// answer does: who changes or saves waits, who connects does not.
func TestDiskHangs(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	w.stop()
	w.wg.Wait() // the tickers: the test calls what they call
	w.update("bob", func(r *Record) { r.Quota = Quota{Bytes: 100} })
	a, b := w.begin("http", "alice"), w.begin("http", "bob")
	a.Moved(true, 1)
	tx, err := w.store.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, f := range []func(){
		func() { _ = w.Save() },
		func() { _, _ = w.Update("alice", func(r *Record) error { r.MaxConns = 5; return nil }) },
		func() { _ = w.Add(records("dave")...) },
		func() { _ = w.Remove("carol") },
	} {
		wg.Go(f)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			w.begin("http", "alice").End()
			w.begin("http", "carol").End()
			a.Moved(false, 10)
			w.tend()
			w.Active()
		}
		b.Moved(true, 101)
		for b.why() == nil {
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("got connections waiting for the disk, want none")
	}
	_ = tx.Rollback()
	wg.Wait()
	<-done
	if _, u, _ := w.Get("alice"); u.Up != 1 || u.Down != 1000 {
		t.Errorf("got %v, want 1 and 1000", u)
	}
}

// TestConcurrentUse has everyone do everything at once. The race detector and
// the sums decide.
func TestConcurrentUse(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e", "f"}
	w := newWorld(t, append(all, "steady")...)
	w.store.db.NoSync = true
	steady := w.begin("http", "steady")
	ctx, cancel := context.WithCancel(t.Context())
	hasty, stop := context.WithCancel(t.Context()) // waits for no throttle
	stop()
	var wg, work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for range 300 {
				name := all[r.IntN(len(all))]
				rec, _, err := w.Get(name)
				if err != nil {
					continue
				}
				u, err := w.Verify(hasty, "http", home, name, rec.Password(w.Realm(), "http"))
				if err != nil {
					continue
				}
				c := new(client)
				s, err := w.Begin(u, netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))}), func(why error) { c.cut.Store(&why) })
				if err != nil {
					if !Refused(err) {
						t.Errorf("begin: got %v, want a reason", err)
					}
					continue
				}
				c.Session = s
				for range 20 {
					s.Moved(r.IntN(2) == 0, r.IntN(1000))
					steady.Moved(true, 1)
				}
				s.End()
			}
		})
	}
	for i, f := range []func(name string, r *rand.Rand) error{
		func(name string, r *rand.Rand) error {
			return second(w.Update(name, func(rec *Record) error {
				rec.Disabled, rec.MaxIPs, rec.MaxConns = r.IntN(4) == 0, r.IntN(3), r.IntN(3)
				rec.Quota, rec.Rate = Quota{Bytes: Bytes(r.IntN(2) * 100_000), Days: r.IntN(3)}, BitRate(r.IntN(2)*1e9)
				return nil
			}))
		},
		func(name string, _ *rand.Rand) error {
			return second(w.Update(name, func(rec *Record) error { rec.Rotate("http"); return nil }))
		},
		func(name string, _ *rand.Rand) error {
			if err := w.Remove(name); err != nil {
				return err
			}
			return w.Add(records(name)...)
		},
		func(string, *rand.Rand) error { return w.Save() },
		func(string, *rand.Rand) error { w.tend(); w.store.release(); w.Active(); return nil },
		func(_ string, r *rand.Rand) error {
			w.ahead.Store(r.Int64N(int64(100 * 24 * time.Hour)))
			return w.Each(func(rec *Record) bool {
				_, _, err := w.Get(rec.Name)
				return err == nil || errors.Is(err, ErrNoUser)
			})
		},
	} {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				if err := f(all[r.IntN(len(all))], r); err != nil && !errors.Is(err, ErrNoUser) {
					t.Errorf("task %d: got %v, want none", i, err)
				}
			}
		})
	}
	work.Wait()
	cancel()
	wg.Wait()
	moved := steady.acct.up.Load()
	steady.End()
	if err := w.Close(); err != nil || steady.why() != nil {
		t.Errorf("close: got %v, steady cut %v, want none", err, steady.why())
	}
	w.reopen()
	_, u, err := w.Get("steady")
	var days int64
	for _, n := range u.Days {
		days += n
	}
	if err != nil || moved == 0 || u.Up != moved || days > moved {
		t.Errorf("got %d and %d by day, %v, want %d", u.Up, days, err, moved)
	}
	if strings.Contains(w.lines.all(), "level=ERROR") {
		t.Errorf("got errors in the log: %s", w.lines.all())
	}
}
