package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// world is Users over a store of its own, with a clock and a log to look at.
type world struct {
	*Users
	t     *testing.T
	dir   string
	ahead atomic.Int64 // nanoseconds of the clock before time.Now
	lines logLines
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	s := openTest(t, w.dir)
	addTest(t, s, names...)
	w.over(s)
	return w
}

func (w *world) over(s *Store) {
	u := newUsers(s, slog.New(slog.NewTextHandler(&w.lines, nil)), func() time.Time {
		return time.Now().Add(time.Duration(w.ahead.Load()))
	})
	w.Users = u
	w.t.Cleanup(func() { _ = u.Close() })
}

// reopen does what kill -9 and a new start do: nothing is saved before.
func (w *world) reopen() {
	w.t.Helper()
	w.stop()
	w.wg.Wait()
	_ = w.store.Close()
	w.over(openTest(w.t, w.dir))
}

// inMem is how many users are in memory, and the name of one.
func (w *world) inMem() (n int, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name = range w.live {
	}
	return len(w.live), name
}

type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logLines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var home = netip.MustParseAddr("192.0.2.1")

// verify proves to be name with the right password for label.
func (w *world) verify(label, name string) User {
	w.t.Helper()
	r, _, err := w.Get(name)
	if err != nil {
		w.t.Fatalf("get %s: got %v, want none", name, err)
	}
	u, err := w.Verify(w.t.Context(), label, home, name, r.Password(w.Realm(), label))
	if err != nil || u.Name != name || u.ID != r.ID {
		w.t.Fatalf("verify %s: got %v, %v, want success", name, u, err)
	}
	return u
}

// client is a session that notes why it was cut.
type client struct {
	*Session
	cut atomic.Pointer[error]
}

func (c *client) why() error {
	if p := c.cut.Load(); p != nil {
		return *p
	}
	return nil
}

func (w *world) try(label, name string, source netip.Addr) (*client, error) {
	w.t.Helper()
	c := new(client)
	s, err := w.Begin(w.verify(label, name), source, func(why error) {
		if !c.cut.CompareAndSwap(nil, &why) {
			w.t.Errorf("got a second cut, %v, want one", why)
		}
		c.End()
	})
	c.Session = s
	return c, err
}

func (w *world) begin(label, name string) *client {
	w.t.Helper()
	c, err := w.try(label, name, home)
	if err != nil {
		w.t.Fatalf("begin %s: got %v, want none", name, err)
	}
	return c
}

func (w *world) update(name string, f func(*Record)) {
	w.t.Helper()
	if _, err := w.Update(name, func(r *Record) error { f(r); return nil }); err != nil {
		w.t.Fatalf("update %s: got %v, want none", name, err)
	}
}

func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		w.update("bob", func(r *Record) { r.SetExplicit("http", "imported") })
		w.update("alice", func(r *Record) { r.Explicit = map[string]string{"empty": ""} })
		alice, _, _ := w.Get("alice")
		bob, _, _ := w.Get("bob")
		right := alice.Password(w.Realm(), "socks5")
		for i, tt := range []struct {
			name, label, user, password string
			ok                          bool
		}{
			{"right", "socks5", "alice", right, true},
			{"another label", "http", "alice", right, false},
			{"another user's", "socks5", "bob", right, false},
			{"wrong", "socks5", "alice", "wrong", false},
			{"upper case", "socks5", "alice", strings.ToUpper(right), false},
			{"empty", "socks5", "alice", "", false},
			{"empty explicit", "empty", "alice", "", false},
			{"huge", "socks5", "alice", strings.Repeat(right, 100_000), false},
			{"with a zero behind", "socks5", "alice", right + "\x00", false},
			{"unknown user", "socks5", "mallory", right, false},
			{"no user", "socks5", "", "", false},
			{"huge name", "socks5", strings.Repeat("alice", 100_000), right, false},
			{"strange name", "socks5", "../alice\x00", right, false},
			{"other case", "socks5", "Alice", right, false},
			{"explicit", "http", "bob", "imported", true},
			{"derived behind the explicit", "http", "bob", bob.Key.Password(w.Realm(), "http", bob.Generations["http"]), false},
			{"explicit of another label", "socks5", "bob", "imported", false},
		} {
			source := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			begin := time.Now()
			u, err := w.Verify(t.Context(), tt.label, source, tt.user, tt.password)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCredentials) {
				t.Errorf("%s: got %v, want success %t", tt.name, err, tt.ok)
			}
			if tt.ok && (u.Name != tt.user || u.ID == 0 || time.Since(begin) != 0) {
				t.Errorf("%s: got %v after %v, want %s at once", tt.name, u, time.Since(begin), tt.user)
			}
			// Always the same time: it does not tell who exists.
			if !tt.ok && (u != User{} || time.Since(begin) != throttleFirst) {
				t.Errorf("%s: got %v after %v, want nobody after %v", tt.name, u, time.Since(begin), throttleFirst)
			}
		}
		if n, _ := w.inMem(); n != 0 {
			t.Errorf("got %d users in memory after guessing, want none", n)
		}
	})
}

func TestVerifyDamagedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.verify("http", "alice"), w.verify("http", "bob")
		if err := w.store.update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketUsers).Put([]byte("alice"), []byte("nonsense"))
		}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := w.Verify(t.Context(), "http", home, "alice", "x"); !errors.Is(err, ErrCredentials) {
				t.Errorf("got %v, want %v", err, ErrCredentials)
			}
		}
		if _, err := w.Begin(alice, home, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("begin: got %v, want %v", err, ErrDamaged)
		}
		if _, err := w.Begin(bob, home, nil); err != nil {
			t.Errorf("somebody else: got %v, want none", err)
		}
		// Ten attempts took about a minute: one line, or two.
		if n := strings.Count(w.lines.all(), "user database"); n < 1 || n > 2 {
			t.Errorf("got %d lines, want one a minute: %s", n, w.lines.all())
		}
		if err := w.Remove("alice"); err != nil {
			t.Errorf("remove: got %v, want none", err)
		}
	})
}

func TestRotateCutsOneLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		socks, http, bob := w.begin("socks5", "alice"), w.begin("http", "alice"), w.begin("socks5", "bob")
		old := w.verify("socks5", "alice")
		before, _, _ := w.Get("alice")
		w.update("alice", func(r *Record) { r.Rotate("socks5") })
		synctest.Wait()
		if got := socks.why(); !errors.Is(got, ErrRotated) {
			t.Errorf("rotated label: got %v, want %v", got, ErrRotated)
		}
		if http.why() != nil || bob.why() != nil {
			t.Errorf("others: got %v and %v, want no cut", http.why(), bob.why())
		}
		after, _, _ := w.Get("alice")
		for label, same := range map[string]bool{"socks5": false, "http": true, "vless": true} {
			if got := before.Password(w.Realm(), label) == after.Password(w.Realm(), label); got != same {
				t.Errorf("%s: got same password %t, want %t", label, got, same)
			}
		}
		// Proved before, used after.
		if _, err := w.Begin(old, home, nil); !errors.Is(err, ErrRotated) {
			t.Errorf("old proof: got %v, want %v", err, ErrRotated)
		}
		again, old := w.begin("socks5", "alice"), w.verify("socks5", "alice")
		w.update("alice", func(r *Record) { r.SetExplicit("socks5", "mine") })
		synctest.Wait()
		if _, err := w.Begin(old, home, nil); !errors.Is(err, ErrRotated) || !errors.Is(again.why(), ErrRotated) {
			t.Errorf("explicit: got %v and cut %v, want %v", err, again.why(), ErrRotated)
		}
		if w.begin("socks5", "alice"); http.why() != nil {
			t.Errorf("other label: got %v, want no cut", http.why())
		}
	})
}

func TestChangesCutOneUser(t *testing.T) {
	for _, tt := range []struct {
		name   string
		act    func(w *world)
		wait   time.Duration // until the change should be felt
		want   error
		undo   func(r *Record)
		remove bool
	}{
		{name: "disable", act: func(w *world) { w.update("alice", func(r *Record) { r.Disabled = true }) },
			want: ErrDisabled, undo: func(r *Record) { r.Disabled = false }},
		{name: "expire now", act: func(w *world) { w.update("alice", func(r *Record) { r.Expires = w.now() }) },
			want: ErrExpired, undo: func(r *Record) { r.Expires = time.Time{} }},
		{name: "expire later", act: func(w *world) { w.update("alice", func(r *Record) { r.Expires = w.now().Add(time.Minute) }) },
			wait: time.Minute + time.Second, want: ErrExpired, undo: func(r *Record) { r.Expires = w0.AddDate(1, 0, 0) }},
		{name: "quota below use", act: func(w *world) { w.update("alice", func(r *Record) { r.Quota = Quota{Bytes: 50} }) },
			want: ErrQuota, undo: func(r *Record) { r.Quota = Quota{Bytes: 51} }},
		{name: "remove", act: func(w *world) { _ = w.Remove("alice") }, want: ErrRemoved, remove: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "alice", "bob")
				var as []*client
				for range 5 {
					as = append(as, w.begin("socks5", "alice"), w.begin("http", "alice"))
				}
				as[0].Moved(true, 50)
				bob, proof := w.begin("http", "bob"), w.verify("http", "alice")
				tt.act(w)
				if tt.wait > 0 {
					time.Sleep(tt.wait - 2*time.Second)
					if as[0].why() != nil {
						t.Errorf("got cut too early, %v", as[0].why())
					}
					time.Sleep(2 * time.Second)
				}
				synctest.Wait()
				for i, a := range as {
					if got := a.why(); !errors.Is(got, tt.want) || !Refused(got) {
						t.Errorf("session %d: got %v, want %v", i, got, tt.want)
					}
				}
				if bob.why() != nil {
					t.Errorf("somebody else: got %v, want no cut", bob.why())
				}
				_, err := w.Begin(proof, home, nil)
				if want := tt.want; !errors.Is(err, want) && !(tt.remove && errors.Is(err, ErrNoUser)) {
					t.Errorf("new session: got %v, want %v", err, want)
				}
				if tt.remove {
					if err := w.Add(records("alice")...); err != nil {
						t.Fatal(err)
					}
					if _, err := w.Begin(proof, home, nil); !errors.Is(err, ErrRemoved) {
						t.Errorf("namesake: got %v, want %v", err, ErrRemoved)
					}
					return
				}
				w.update("alice", tt.undo)
				again := w.begin("http", "alice")
				if time.Sleep(3 * time.Second); again.why() != nil || bob.why() != nil {
					t.Errorf("undone: got %v and %v, want no cut", again.why(), bob.why())
				}
			})
		})
	}
}

// w0 is when time begins under synctest.
var w0 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestUsersAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "user-50")
		live := w.begin("http", "user-50")
		var rs []*Record
		for i := range 100 {
			rs = append(rs, &Record{Name: fmt.Sprintf("user-%d", i)})
		}
		if err := w.Add(rs...); !errors.Is(err, ErrUserExists) {
			t.Errorf("got %v, want %v", err, ErrUserExists)
		}
		if got := names(t, w.Each); len(got) != 1 {
			t.Errorf("got %v, want no new user", got)
		}
		if err := w.Add(slices.Delete(rs, 50, 51)...); err != nil {
			t.Fatal(err)
		}
		if got := names(t, w.Each); len(got) != 100 || live.why() != nil {
			t.Errorf("got %d users, cut %v, want 100 and nobody disturbed", len(got), live.why())
		}
		r, _, err := w.Get("user-7")
		if err != nil || !r.Created.Equal(w0) || r.Key.bytes() == nil || !r.Created.Equal(rs[7].Created) {
			t.Errorf("got %v, %v, want a key and the time", r.Created, err)
		}
		w.begin("socks5", "user-7")
	})
}

func TestAnonymous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice")
		if !(User{}).IsAnonymous() || w.verify("http", "alice").IsAnonymous() {
			t.Error("got the wrong one anonymous")
		}
		if got := w.Active(); len(got) != 0 {
			t.Errorf("got %v, want nobody", got)
		}
		s, err := w.Begin(User{}, home, func(error) { t.Error("got a cut, want none") })
		if err != nil || s.Limited() || s.Moved(true, 1<<30) != 0 {
			t.Errorf("got %v, want no limit", err)
		}
		s.Moved(false, 5)
		if got := w.Active(); len(got) != 1 || got[0] != (Activity{Sessions: 1, Up: 1 << 30, Down: 5}) {
			t.Errorf("got %+v, want one without a name", got)
		}
		if up, down := w.Totals(); up != 1<<30 || down != 5 {
			t.Errorf("got %d and %d, want all counted", up, down)
		}
		s.End()
		s.End()
		if err := w.Save(); err != nil {
			t.Errorf("save: got %v, want none", err)
		}
	})
}

// Whoever reads a user from the database waits for the disk and for those who
// write. Others do not: reactors begin and end sessions.
func TestBeginWaitsAlone(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.begin("socks5", "bob")
	alice := w.verify("socks5", "alice")
	// A reader that takes its time holds back a writer that needs more room,
	// and that one all new readers.
	reader, err := w.store.db.Begin(false)
	if err != nil {
		t.Fatalf("read: got %v, want nil", err)
	}
	wrote, began, others := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		wrote <- w.store.db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketMeta).Put([]byte("large"), make([]byte, 1<<22))
		})
	}()
	untilStack(t, "bbolt.(*DB).mmap")
	go func() { s, err := w.Begin(alice, netip.Addr{}, func(error) {}); _ = s; began <- err }()
	untilStack(t, "bbolt.(*DB).beginTx")
	go func() {
		s, err := w.Begin(User{}, netip.Addr{}, func(error) {})
		if err == nil {
			s.End()
		}
		others <- err
	}()
	select {
	case err := <-others:
		if err != nil {
			t.Errorf("Begin for somebody else: got %v, want nil", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Begin for somebody else: waited 5 s, want no wait for the disk")
	}
	_ = reader.Rollback()
	if err := errors.Join(<-wrote, <-began); err != nil {
		t.Errorf("after the wait: got %v, want nil", err)
	}
}

// untilStack waits for a goroutine to be in a function.
func untilStack(t *testing.T, function string) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if strings.Contains(string(buf[:runtime.Stack(buf, true)]), function) {
			return
		}
	}
	t.Fatalf("goroutine in %s: got none, want one", function)
}
