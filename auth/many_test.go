package auth

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

const many = 100_000

func manyName(i int) string { return fmt.Sprintf("user-%06d", i) }

// fillMany makes n users with counters, in an order that is not that of their
// names.
func fillMany(t testing.TB, dir string, n int) {
	t.Helper()
	s := openTest(t, dir)
	s.db.NoSync = true
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	day := dayOf(time.Now())
	for len(order) > 0 {
		batch := min(len(order), 25_000)
		var rs []*Record
		var cs []Counters
		for _, i := range order[:batch] {
			rs = append(rs, &Record{Name: manyName(i), Key: NewKey(), Created: time.Now(), Quota: Quota{Bytes: 50 << 30}})
		}
		if err := s.Add(rs...); err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			cs = append(cs, Counters{r.Name, r.ID, Usage{Up: 1e9, Down: 1e10, Days: map[int32]int64{day: 1e9, day - 1: 1e9}}})
		}
		if err := s.SaveUsage(cs); err != nil {
			t.Fatal(err)
		}
		order = order[batch:]
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// measured is what measureOpen prints.
type measured struct {
	Open                  time.Duration
	Heap, RSS, RSSLookups int64 // growth in bytes
	RSSReleased           int64 // after what happens every second
	Size                  int64
}

func residentKB(t string) int64 {
	b, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, t+":"); ok {
			var n int64
			_, _ = fmt.Sscan(rest, &n)
			return n
		}
	}
	return 0
}

// measureOpen opens the database in a process that has done nothing else.
func measureOpen(args []string) error {
	var before, after runtime.MemStats
	debug.FreeOSMemory()
	runtime.ReadMemStats(&before)
	var m measured
	rss := residentKB("VmRSS")
	begin := time.Now()
	s, err := OpenStore(args[0])
	m.Open = time.Since(begin)
	if err != nil {
		return err
	}
	m.RSS = (residentKB("VmRSS") - rss) << 10
	runtime.GC()
	runtime.ReadMemStats(&after)
	m.Heap = int64(after.HeapInuse) - int64(before.HeapInuse)
	for i := range many {
		if r, err := s.Get(manyName(i)); err != nil || r.ID == 0 {
			return fmt.Errorf("%s: got %v, want it found", manyName(i), err)
		}
	}
	m.RSSLookups = (residentKB("VmRSS") - rss) << 10
	s.release()
	m.RSSReleased = (residentKB("VmRSS") - rss) << 10
	if r, err := s.Get(manyName(7)); err != nil || r.Name != manyName(7) {
		return fmt.Errorf("after release: got %v, want it found", err)
	}
	fi, err := os.Stat(filepath.Join(args[0], StoreFile))
	if err != nil {
		return err
	}
	m.Size = fi.Size()
	return json.NewEncoder(os.Stdout).Encode(m)
}

// TestManyUsers opens a database of 100,000. The bounds of the product are 1 s
// and 40 MB; the time is not asserted that sharply, as the race detector runs.
func TestManyUsers(t *testing.T) {
	dir := t.TempDir()
	fillMany(t, dir, many)
	out, err := helper(t, "measure", dir).Output()
	var m measured
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	if err != nil {
		t.Fatalf("got %q, %v, want a measurement", out, err)
	}
	t.Logf("file %d kB, open %v, heap +%d kB, RSS +%d kB, with everyone looked up +%d kB, released +%d kB",
		m.Size>>10, m.Open, m.Heap>>10, m.RSS>>10, m.RSSLookups>>10, m.RSSReleased>>10)
	const most = 40 << 20
	if m.Open > 20*time.Second || m.Heap > most || m.RSS > most || m.RSSReleased > most {
		t.Errorf("got %v, heap +%d, RSS +%d, want at most 20s and +%d", m.Open, m.Heap, m.RSS, most)
	}
}

func benchUsers(b *testing.B) *Users {
	b.Helper()
	dir := b.TempDir()
	fillMany(b, dir, many)
	u := NewUsers(openTest(b, dir), nopLog())
	b.Cleanup(func() { _ = u.Close() })
	b.ResetTimer()
	return u
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	fillMany(b, dir, many)
	for b.Loop() {
		s, err := OpenStore(dir)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

func BenchmarkVerify(b *testing.B) {
	u := benchUsers(b)
	passwords := make([]string, 1000)
	for i := range passwords {
		r, _, err := u.Get(manyName(i))
		if err != nil {
			b.Fatal(err)
		}
		passwords[i] = r.Password(u.Realm(), "http")
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i = (i + 1) % len(passwords)
		if _, err := u.Verify(b.Context(), "http", home, manyName(i), passwords[i]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBeginEnd(b *testing.B) {
	u := benchUsers(b)
	r, _, err := u.Get(manyName(7))
	if err != nil {
		b.Fatal(err)
	}
	who := User{ID: r.ID, Name: r.Name}
	b.ReportAllocs()
	for b.Loop() {
		s, err := u.Begin(who, home, nil)
		if err != nil {
			b.Fatal(err)
		}
		s.End()
	}
}

func movedSession(t testing.TB, rate BitRate) *Session {
	t.Helper()
	s := openTest(t, t.TempDir())
	r := &Record{Name: "alice", Rate: rate, Quota: Quota{Bytes: 1 << 62}}
	u := NewUsers(s, nopLog())
	t.Cleanup(func() { _ = u.Close() })
	if err := u.Add(r); err != nil {
		t.Fatal(err)
	}
	ses, err := u.Begin(User{ID: r.ID, Name: r.Name}, home, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	return ses
}

func TestMovedDoesNotAllocate(t *testing.T) {
	for name, rate := range map[string]BitRate{"no limit": 0, "limit": 1e9} {
		s := movedSession(t, rate)
		if got := testing.AllocsPerRun(1000, func() { s.Moved(true, 64<<10) }); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, got)
		}
	}
	s := movedSession(t, 0)
	s.acct.room.Store(0) // over quota
	s.Moved(true, 1)
	if got := testing.AllocsPerRun(1000, func() { s.Moved(true, 1) }); got != 0 {
		t.Errorf("over quota: got %v allocations, want 0", got)
	}
}

func BenchmarkMoved(b *testing.B) {
	for _, tt := range []struct {
		name string
		rate BitRate
	}{{"plain", 0}, {"limited", 1e12}} {
		b.Run(tt.name, func(b *testing.B) {
			s := movedSession(b, tt.rate)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					s.Moved(true, 16<<10)
				}
			})
		})
	}
}
