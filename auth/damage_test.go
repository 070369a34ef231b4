package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// dump is everything that a store holds.
func dump(s *Store) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%x\n", s.Realm().bytes())
	err := s.Each(func(r *Record) bool {
		v, err := r.encode()
		u, uerr := s.Usage(r.ID)
		fmt.Fprintf(&b, "%s %s %v %v %v\n", r.Name, v, err, u, uerr)
		return true
	})
	return b.String(), err
}

// sample is a database with branches, free pages, an overflowing value and
// counters, and what it holds now and before the last transaction.
func sample(t *testing.T) (file []byte, now, before string) {
	t.Helper()
	dir := t.TempDir()
	s := openTest(t, dir)
	s.db.NoSync = true
	var all []string
	for i := range 150 {
		all = append(all, fmt.Sprintf("user-%03d", i))
	}
	rs := addTest(t, s, all...)
	big := records("big")[0]
	big.Explicit = map[string]string{"http": strings.Repeat("x", 9000)}
	if err := s.Add(big); err != nil {
		t.Fatal(err)
	}
	var cs []Counters
	for i, r := range rs {
		cs = append(cs, Counters{r.Name, r.ID, Usage{Up: int64(i) << 40, Days: map[int32]int64{20000: 5, 20001: 6}}})
	}
	if err := s.SaveUsage(cs); err != nil {
		t.Fatal(err)
	}
	for _, n := range all[30:60] {
		if err := s.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	before, _ = dump(s)
	if _, err := s.Change("big", func(r *Record) error { r.MaxConns = 3; return nil }); err != nil {
		t.Fatal(err)
	}
	now, _ = dump(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, StoreFile))
	if err != nil || before == now {
		t.Fatal(err)
	}
	return file, now, before
}

// damageTester opens damaged copies in one folder.
type damageTester struct {
	dir, path     string
	whole         bool // opening it may not succeed
	now, before   string
	refused, fine int
}

func (d *damageTester) open(t *testing.T, what string, b []byte) {
	t.Helper()
	_ = os.RemoveAll(d.path) // rewriting a file in place makes ext4 wait for the disk
	if err := os.WriteFile(d.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(d.dir)
	if after, rerr := os.ReadFile(d.path); rerr != nil || !bytes.Equal(after, b) {
		t.Errorf("%s: got another file, %v, want it untouched", what, rerr)
	}
	if err != nil {
		d.refused++
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), d.path) {
			t.Errorf("%s: got %v, want %v and the path", what, err, ErrDamaged)
		}
		if es, _ := os.ReadDir(d.dir); len(es) != 1 {
			t.Errorf("%s: got %v, want no other file", what, es)
		}
		return
	}
	defer s.Close()
	d.fine++
	// What was changed is then a page that is free, or the half that a crash
	// may lose.
	got, err := dump(s)
	if err != nil || got != d.now && got != d.before || d.whole {
		t.Errorf("%s: got other contents, %v, want the old ones or %v", what, err, ErrDamaged)
	}
	s.db.NoSync, s.db.NoGrowSync = true, true
	if err := s.Add(records("fresh-1", "fresh-2")...); err != nil {
		t.Errorf("%s: add: got %v, want none", what, err)
	}
	if err := s.Remove("user-000"); err != nil {
		t.Errorf("%s: remove: got %v, want none", what, err)
	}
}

func newDamageTester(t *testing.T) (*damageTester, []byte) {
	file, now, before := sample(t)
	dir := t.TempDir()
	return &damageTester{dir: dir, path: filepath.Join(dir, StoreFile), now: now, before: before}, file
}

func TestDamagedPages(t *testing.T) {
	t.Parallel()
	d, file := newDamageTester(t)
	page := os.Getpagesize()
	d.open(t, "as it was", file)
	if d.fine != 1 {
		t.Fatal("got the sample refused, want it open")
	}
	for at := 0; at < len(file); at += page {
		b := bytes.Clone(file)
		clear(b[at : at+page])
		d.open(t, fmt.Sprintf("page %d zeroed", at/page), b)
		b = bytes.Clone(file)
		copy(b[at:at+page], file[(at+page)%len(file):])
		d.open(t, fmt.Sprintf("page %d is the next one", at/page), b)
	}
	if d.refused < 8 || d.fine < 8 {
		t.Errorf("got %d refused and %d fine, want some of both", d.refused, d.fine)
	}
	// Pages behind the last one in use may be missing.
	d.whole = false
	for _, off := range []int{0, 1, -1, 8, page / 2} {
		for at := page; at < len(file); at += page {
			d.open(t, fmt.Sprintf("cut at %d", at+off), file[:at+off])
		}
	}
	d.open(t, "one byte", file[:1])
	d.open(t, "both meta pages zeroed", append(make([]byte, 2*page), file[2*page:]...))
}

func TestDamagedBytes(t *testing.T) {
	t.Parallel()
	d, file := newDamageTester(t)
	page := os.Getpagesize()
	const seed = 1
	rnd := rand.New(rand.NewPCG(seed, seed))
	for i := range 1000 {
		b := bytes.Clone(file)
		at := rnd.IntN(len(b))
		if i%3 > 0 { // headers and elements, where bbolt's own numbers are
			at = at/page*page + rnd.IntN(160)
		}
		change := byte(1 << rnd.IntN(8))
		if i%2 == 0 {
			change = byte(1 + rnd.IntN(255))
		}
		b[at] ^= change
		d.open(t, fmt.Sprintf("byte %d ^ %#x", at, change), b)
	}
	for i := range 100 {
		b := bytes.Clone(file)
		for range 1 + rnd.IntN(64) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
		d.open(t, fmt.Sprintf("many bytes, round %d", i), b)
	}
	t.Logf("%d refused, %d opened with the old contents", d.refused, d.fine)
	if d.refused < 200 || d.fine < 200 {
		t.Errorf("got %d refused and %d fine, want many of both", d.refused, d.fine)
	}
}

func TestNotADatabase(t *testing.T) {
	d, file := newDamageTester(t)
	d.whole = true
	random := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	for name, b := range map[string][]byte{
		"empty": {}, "text": []byte("hello\n"), "long text": bytes.Repeat([]byte("users = 1\n"), 50_000),
		"zeros": make([]byte, 1<<16), "random": random, "random behind the meta pages": append(bytes.Clone(file[:8192]), random...),
	} {
		d.open(t, name, b)
	}
	foreign := func(name string, f func(tx *bbolt.Tx) error) {
		_ = os.Remove(d.path)
		db, err := bbolt.Open(d.path, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(f), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(d.path)
		d.open(t, name, b)
	}
	foreign("no bucket", func(*bbolt.Tx) error { return nil })
	foreign("another program's", func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("todo"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	})
	foreign("nested buckets", func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("users"))
		if err != nil {
			return err
		}
		_, err = b.CreateBucket([]byte("deeper"))
		return err
	})
}

func TestStoreVersion(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	if err := s.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(keyVersion, seal(keyVersion, []byte("2")))
	}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	before, _ := os.ReadFile(filepath.Join(dir, StoreFile))
	_, err := OpenStore(dir)
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "newer relay") {
		t.Errorf("got %v, want advice to use a newer relay", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, StoreFile)); !bytes.Equal(before, after) {
		t.Error("got another file, want it untouched")
	}
	if _, err := OpenStore(dir); errors.Is(err, ErrInUse) {
		t.Errorf("second time: got %v, want the lock released", err)
	}
}

func TestStoreInTheWay(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(dir string) error
		want error
	}{
		{"folder for the file", func(dir string) error { return os.Mkdir(filepath.Join(dir, StoreFile), 0o700) }, ErrDamaged},
		{"pipe for the file", func(dir string) error { return makePipe(filepath.Join(dir, StoreFile)) }, ErrDamaged},
		{"link to nowhere", func(dir string) error { return os.Symlink(filepath.Join(dir, "x", "y"), filepath.Join(dir, StoreFile)) }, fs.ErrNotExist},
		{"file for the folder", func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) }, syscall.ENOTDIR},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := errors.Join(os.Mkdir(dir, 0o700), tt.make(dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	// Nobody, root included, can make a file in /proc.
	if _, err := OpenStore("/proc"); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "state folder") {
		t.Errorf("unwritable folder: got %v, want the state folder blamed", err)
	}
}

func TestStoreInUse(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir)
	begin := time.Now()
	if _, err := OpenStore(dir); !errors.Is(err, ErrInUse) || time.Since(begin) > 5*time.Second {
		t.Errorf("same process: got %v after %v, want %v soon", err, time.Since(begin), ErrInUse)
	}
	out, err := helper(t, "open", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ErrInUse.Error()) {
		t.Errorf("another process: got %q, %v, want %v", out, err, ErrInUse)
	}
}

// helper is a process of this test binary that does what TestMain knows.
func helper(t testing.TB, task string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), helperEnv+"="+task)
	return c
}
