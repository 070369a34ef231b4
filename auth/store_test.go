package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func openTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatalf("open: got %v, want none", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// records makes users named as given, with keys that depend on nothing but
// their place.
func records(names ...string) []*Record {
	var out []*Record
	for i, n := range names {
		out = append(out, &Record{Name: n, Key: pattern(byte(i)), Created: time.Unix(1_700_000_000, 0).UTC()})
	}
	return out
}

func addTest(t testing.TB, s *Store, names ...string) []*Record {
	t.Helper()
	rs := records(names...)
	if err := s.Add(rs...); err != nil {
		t.Fatalf("add: got %v, want none", err)
	}
	return rs
}

func TestStoreKeepsEverything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openTest(t, dir)
	want := fullRecord()
	if err := s.Add(records("x")[0], want); err != nil {
		t.Fatal(err)
	}
	usage := Usage{Up: 5, Down: 6, Days: map[int32]int64{20000: 11}}
	if err := s.SaveUsage([]Counters{{want.Name, want.ID, usage}}); err != nil {
		t.Fatal(err)
	}
	realm := string(s.Realm().bytes())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	if got, err := s.Get("alice"); err != nil || !reflect.DeepEqual(plainly(got), plainly(want)) {
		t.Errorf("got %+v, %v, want %+v", plainly(got), err, plainly(want))
	}
	if got, err := s.Usage(want.ID); err != nil || !reflect.DeepEqual(got, usage) {
		t.Errorf("got usage %v, %v, want %v", got, err, usage)
	}
	if got := string(s.Realm().bytes()); got != realm || len(got) != keySize {
		t.Error("got another realm, want the same")
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, filepath.Join(dir, StoreFile): 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: got %v, %v, want %v", path, fi.Mode().Perm(), err, mode)
		}
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) != 1 {
		t.Errorf("got %v, %v, want one file", es, err)
	}
}

func TestStoreOpenWritesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	addTest(t, s, "alice")
	_ = s.Close()
	before, _ := os.ReadFile(filepath.Join(dir, StoreFile))
	_ = openTest(t, dir).Close()
	if after, _ := os.ReadFile(filepath.Join(dir, StoreFile)); string(after) != string(before) {
		t.Error("got another file after opening and closing, want the same")
	}
}

func TestStoreAddIsAllOrNone(t *testing.T) {
	s := openTest(t, t.TempDir())
	addTest(t, s, "user-50")
	var hundred []string
	for i := range 100 {
		hundred = append(hundred, fmt.Sprintf("user-%d", i))
	}
	for _, tt := range []struct {
		name  string
		names []string
		want  error
	}{
		{"one is taken", hundred, ErrUserExists},
		{"one comes twice", []string{"a", "b", "a"}, ErrUserExists},
		{"one is no name", []string{"a", "b", "../c"}, ErrName},
	} {
		if err := s.Add(records(tt.names...)...); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if got := names(t, s.Each); !slices.Equal(got, []string{"user-50"}) {
			t.Errorf("%s: got users %v, want the old one alone", tt.name, got)
		}
	}
	rs := addTest(t, s, slices.DeleteFunc(hundred, func(n string) bool { return n == "user-50" })...)
	ids := make(map[uint64]bool)
	for _, r := range rs {
		ids[r.ID] = true
	}
	if got := names(t, s.Each); len(got) != 100 || len(ids) != 99 || ids[0] {
		t.Errorf("got %d users and %d new IDs, want 100 and 99", len(got), len(ids))
	}
}

func names(t *testing.T, each func(func(*Record) bool) error) (out []string) {
	t.Helper()
	if err := each(func(r *Record) bool { out = append(out, r.Name); return true }); err != nil {
		t.Errorf("each: got %v, want none", err)
	}
	return out
}

func TestStoreChangeAndRemove(t *testing.T) {
	s := openTest(t, t.TempDir())
	old := addTest(t, s, "alice", "bob")[0]
	r, err := s.Change("alice", func(r *Record) error {
		r.Disabled, r.Name, r.ID = true, "mallory", 99
		return nil
	})
	if err != nil || r.ID != old.ID || r.Name != "alice" || !r.Disabled {
		t.Errorf("got %d %q %t, %v, want the same user, disabled", r.ID, r.Name, r.Disabled, err)
	}
	boom := errors.New("boom")
	if _, err := s.Change("alice", func(r *Record) error { r.Disabled = false; return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
	if r, err := s.Get("alice"); err != nil || !r.Disabled {
		t.Errorf("got disabled %t, %v, want the change that failed undone", r.Disabled, err)
	}
	usage := Usage{Up: 1, Days: map[int32]int64{1: 1}}
	if err := s.SaveUsage([]Counters{{"alice", old.ID, usage}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("alice"); err != nil {
		t.Fatal(err)
	}
	again := addTest(t, s, "alice")[0]
	if again.ID == old.ID {
		t.Errorf("got ID %d twice, want another", again.ID)
	}
	// What was collected before the removal and is written after it.
	if err := s.SaveUsage([]Counters{{"alice", old.ID, usage}, {"nobody", 77, usage}}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{old.ID, again.ID, 77} {
		if u, err := s.Usage(id); err != nil || u.Up != 0 {
			t.Errorf("ID %d: got %v, %v, want no counters", id, u, err)
		}
	}
	for name, err := range map[string]error{
		"get": second(s.Get("nobody")), "remove": s.Remove("nobody"), "get empty": second(s.Get("")),
		"change": second(s.Change("nobody", func(*Record) error { return nil })),
	} {
		if !errors.Is(err, ErrNoUser) {
			t.Errorf("%s: got %v, want %v", name, err, ErrNoUser)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestStoreEachDisturbsNobody calls the store from within Each while a writer
// makes the file grow: bbolt lets a writer wait for open readers then, and new
// readers for the writer.
func TestStoreEachDisturbsNobody(t *testing.T) {
	s := openTest(t, t.TempDir())
	var all []string
	for i := range 3*eachBatch + 1 {
		all = append(all, fmt.Sprintf("user-%05d", i))
	}
	addTest(t, s, all...)
	var wg sync.WaitGroup
	defer wg.Wait()
	began := make(chan struct{})
	wg.Go(func() {
		<-began
		for i := range 20 {
			r := records(fmt.Sprintf("zz-%d", i))[0]
			r.Explicit = map[string]string{"http": strings.Repeat("x", 100<<10)}
			if err := s.Add(r); err != nil {
				t.Errorf("add: got %v, want none", err)
			}
		}
	})
	var once sync.Once
	var got []string
	err := s.Each(func(r *Record) bool {
		once.Do(func() { close(began) })
		if _, err := s.Get(r.Name); err != nil {
			t.Errorf("get: got %v, want none", err)
		}
		if !strings.HasPrefix(r.Name, "zz") {
			got = append(got, r.Name)
		}
		return true
	})
	if err != nil || !slices.Equal(got, all) {
		t.Errorf("got %d users, %v, want all %d in order", len(got), err, len(all))
	}
	n := 0
	if err := s.Each(func(*Record) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("got %d calls, %v, want it to end after 3", n, err)
	}
}

func TestStoreOneBadRecord(t *testing.T) {
	s := openTest(t, t.TempDir())
	addTest(t, s, "alice", "bob", "carol")
	put := func(name string, v []byte) {
		t.Helper()
		if err := s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketUsers).Put([]byte(name), v) }); err != nil {
			t.Fatal(err)
		}
	}
	for what, v := range map[string][]byte{
		"no seal": []byte(`{"id":2}`), "empty": {}, "wrong seal": append([]byte{0, 0, 0, 0}, `{"id":2}`...),
		"another user's": seal([]byte("alice"), []byte(`{}`)), "sealed nonsense": seal([]byte("bob"), []byte(`{"id":`)),
	} {
		put("bob", v)
		if r, err := s.Get("bob"); err == nil || errors.Is(err, ErrNoUser) {
			t.Errorf("%s: got %v, %v, want an error", what, r, err)
		}
		var got []string
		err := s.Each(func(r *Record) bool { got = append(got, r.Name); return true })
		if !slices.Equal(got, []string{"alice", "carol"}) || err == nil || !strings.Contains(err.Error(), "bob") {
			t.Errorf("%s: got %v, %v, want the others and an error about bob", what, got, err)
		}
	}
	if err := s.Remove("bob"); err != nil {
		t.Errorf("remove: got %v, want none", err)
	}
	if got := names(t, s.Each); len(got) != 2 {
		t.Errorf("got %v, want the other two", got)
	}
}

func TestSetAside(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_700_000_000, 0)
	path := filepath.Join(dir, StoreFile)
	_ = os.WriteFile(path, []byte("old"), 0o600)
	to, err := SetAside(dir, now)
	if b, rerr := os.ReadFile(to); err != nil || rerr != nil || string(b) != "old" {
		t.Errorf("got %q, %v, %v, want the old file at %q", b, err, rerr, to)
	}
	_ = os.WriteFile(path, []byte("new"), 0o600)
	if again, err := SetAside(dir, now); err == nil {
		t.Errorf("same second: got %q, want an error", again)
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Errorf("got %q, want the file where it was", b)
	}
}
