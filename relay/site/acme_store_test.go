package site

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	if err := os.MkdirAll(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A write that was killed.
	if err := os.WriteFile(filepath.Join(dir, "a", ".new-X"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(dir)
	if err != nil {
		t.Fatalf("open: got %v, want nil", err)
	}
	defer s.close() //nolint:errcheck // a test
	s.sweep()
	ctx := t.Context()
	for _, v := range []string{"one", "two"} {
		if err := s.Store(ctx, "a/b/c.key", []byte(v)); err != nil {
			t.Fatalf("store: got %v, want nil", err)
		}
		if b, err := s.Load(ctx, "a/b/c.key"); err != nil || string(b) != v {
			t.Errorf("load: got %q, %v, want %q", b, err, v)
		}
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]fs.FileMode{".": 0o700, "a/b": 0o700, "a/b/c.key": 0o600} {
			if fi, err := os.Stat(filepath.Join(dir, path)); err != nil || fi.Mode().Perm() != want {
				t.Errorf("%s: got %v, %v, want mode %v", path, fi.Mode(), err, want)
			}
		}
	}
	if got, err := s.List(ctx, "", true); err != nil || !slices.Equal(got, []string{"a", "a/b", "a/b/c.key"}) {
		t.Errorf("list: got %v, %v, want what was stored and nothing else", got, err)
	}
	if got, err := s.List(ctx, "a", false); err != nil || !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("list of a folder: got %v, %v, want a/b", got, err)
	}
	if got, err := s.Stat(ctx, "a/b/c.key"); err != nil || got.Size != 3 || !got.IsTerminal {
		t.Errorf("stat: got %+v, %v, want 3 bytes", got, err)
	}
	if _, err := s.Load(ctx, "a/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of nothing: got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := s.Load(ctx, "../escape"); err == nil {
		t.Error("load beyond the folder: got nil, want an error")
	}
	for range 2 {
		if err := s.Delete(ctx, "a"); err != nil || s.Exists(ctx, "a/b/c.key") {
			t.Errorf("delete: got %v, want it to be gone", err)
		}
	}
}

func TestStoreLock(t *testing.T) {
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close() //nolint:errcheck // a test
	if err := s.Lock(t.Context(), "x"); err != nil {
		t.Fatalf("lock: got %v, want nil", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Lock(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock of another: got %v, want %v", err, context.DeadlineExceeded)
	}
	got := make(chan error)
	go func() { got <- s.Lock(t.Context(), "x") }()
	if err := s.Unlock(t.Context(), "x"); err != nil {
		t.Errorf("unlock: got %v, want nil", err)
	}
	if err := <-got; err != nil {
		t.Errorf("lock behind an unlock: got %v, want nil", err)
	}
	if err := s.Unlock(t.Context(), "x"); err != nil {
		t.Errorf("unlock: got %v, want nil", err)
	}
	if err := s.Unlock(t.Context(), "x"); err == nil {
		t.Error("unlock of what is not locked: got nil, want an error")
	}
}
