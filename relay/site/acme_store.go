package site

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/caddyserver/certmagic"
)

// store keeps keys, certificates and accounts in a folder that nobody else has a
// hand in: the relay's state belongs to one process (its database is locked).
// certmagic's own storage is made for folders that machines share, with lock
// files that a goroutine refreshes and that outlive a kill -9.
type store struct {
	root *os.Root

	mu    sync.Mutex
	locks map[string]chan struct{} // closed by Unlock
}

// maxStored bounds what is read: a chain and its metadata are some kilobytes,
// and those of all names are in one file.
const maxStored = 16 << 20

// openStore opens the folder, which is made if there is none.
func openStore(folder string) (*store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	// A folder that was restored from a backup may be open to others.
	if err := root.Chmod(".", 0o700); err != nil {
		_ = root.Close()
		return nil, err
	}
	return &store{root: root, locks: make(map[string]chan struct{})}, nil
}

// Store implements certmagic.Storage: a file is replaced at once or not at all,
// also when the machine loses power.
func (s *store) Store(_ context.Context, key string, value []byte) error {
	dir := path.Dir(key)
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary := path.Join(dir, ".new-"+rand.Text())
	f, err := s.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = s.root.Rename(temporary, key)
	}
	if err != nil {
		_ = s.root.Remove(temporary)
		return err
	}
	return s.sync(dir)
}

// sync makes the names in a folder last. Windows has no such thing.
func (s *store) sync(dir string) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	_ = f.Sync()
	return f.Close()
}

// Load implements certmagic.Storage.
func (s *store) Load(_ context.Context, key string) ([]byte, error) {
	f, err := s.root.Open(key)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxStored+1))
	if err == nil && len(b) > maxStored {
		err = fmt.Errorf("%s is longer than %d bytes", key, maxStored)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Delete implements certmagic.Storage.
func (s *store) Delete(_ context.Context, key string) error { return s.root.RemoveAll(key) }

// Exists implements certmagic.Storage.
func (s *store) Exists(_ context.Context, key string) bool {
	_, err := s.root.Stat(key)
	return err == nil
}

// List implements certmagic.Storage.
func (s *store) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if prefix = path.Clean(prefix); prefix == "" {
		prefix = "."
	}
	var keys []string
	err := fs.WalkDir(s.root.FS(), prefix, func(key string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if key == prefix {
			return nil
		}
		keys = append(keys, key)
		if d.IsDir() && !recursive {
			return fs.SkipDir
		}
		return nil
	})
	return keys, err
}

// Stat implements certmagic.Storage.
func (s *store) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	fi, err := s.root.Stat(key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key, Modified: fi.ModTime(), Size: fi.Size(), IsTerminal: !fi.IsDir()}, nil
}

// Lock implements certmagic.Locker.
func (s *store) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		held, taken := s.locks[name]
		if !taken {
			s.locks[name] = make(chan struct{})
		}
		s.mu.Unlock()
		if !taken {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *store) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, taken := s.locks[name]
	if !taken {
		return fmt.Errorf("%s is not locked", name)
	}
	close(held)
	delete(s.locks, name)
	return nil
}

// sweep removes what a Store has left behind that was killed in the middle.
func (s *store) sweep() {
	_ = fs.WalkDir(s.root.FS(), ".", func(key string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(path.Base(key)) > 5 && path.Base(key)[:5] == ".new-" {
			_ = s.root.Remove(key)
		}
		return nil
	})
}

func (s *store) close() error { return s.root.Close() }

var _ certmagic.Storage = (*store)(nil)
