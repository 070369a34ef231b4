package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long another process may keep the database before it
// counts as in use: a command of the operator that is just ending.
const lockTimeout = 200 * time.Millisecond

// OpenStore opens the database in dir and makes it if there is none. Missing
// folders are made too, closed to everyone but their owner. An existing file
// is checked in full and not written to before it has passed.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	path := filepath.Join(dir, StoreFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	if err := checkFile(path); err != nil {
		return nil, openError(path, err)
	}
	db, err := openFile(path, false, nil)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &Store{db: db}
	if err := s.readMeta(); err != nil {
		_ = db.Close()
		return nil, openError(path, err)
	}
	return s, nil
}

// openError says what a failure to open means. What is not a matter of the
// lock, the system or the version is damage.
func openError(path string, err error) error {
	var perr *fs.PathError
	var errno syscall.Errno
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s: %w", path, ErrInUse)
	case errors.As(err, &perr), errors.As(err, &errno):
		return fmt.Errorf("state folder: %w", err)
	case errors.Is(err, errVersion):
		return fmt.Errorf("%s: %w", path, err)
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("%s: %w; it was left untouched", path, err)
	}
	return fmt.Errorf("%s: %w (%v); it was left untouched", path, ErrDamaged, err)
}

// create makes a new database beside path and moves it there when it is
// whole: a disk that is full, or the power that goes, must not leave half a
// database behind, which would count as a damaged one.
func create(path string) error {
	fresh := path + ".new-" + rand.Text()
	defer os.Remove(fresh)
	db, err := openFile(fresh, false, nil)
	if err != nil {
		return err
	}
	err = (&Store{db: db}).update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketUsers, bucketUsage, bucketMeta} {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if err := meta.Put(keyRealm, seal(keyRealm, NewKey().bytes())); err != nil {
			return err
		}
		return meta.Put(keyVersion, seal(keyVersion, []byte(storeVersion)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// A link never replaces a file; where there are no links, nobody but us
	// is likely to be here either.
	if err := os.Link(fresh, path); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		if err := os.Rename(fresh, path); err != nil {
			return err
		}
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync() // not everywhere possible
		_ = d.Close()
	}
	return nil
}

// checkFile checks the pages under a shared lock, so that no other process is
// writing them.
func checkFile(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Size() == 0 {
		return errors.New("the file is empty or not a file")
	}
	var f *os.File
	db, err := openFile(path, true, &f)
	if err != nil {
		return err
	}
	defer db.Close()
	if fi, err = f.Stat(); err != nil {
		return err
	}
	return checkPages(f, fi.Size(), db.Info().PageSize)
}

// openFile opens path with bbolt; f gets the open file.
func openFile(path string, readOnly bool, f **os.File) (db *bbolt.DB, err error) {
	var file *os.File
	defer func() {
		if p := recover(); p != nil {
			_ = file.Close() // and with it the lock
			db, err = nil, fmt.Errorf("%w (%v)", ErrDamaged, p)
		}
		if f != nil {
			*f = file
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, ReadOnly: readOnly, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode fs.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
}

var errVersion = errors.New("the user database has another version than this relay reads")

// readMeta reads what concerns the whole database.
func (s *Store) readMeta() error {
	return s.view(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketMeta, bucketUsers, bucketUsage} {
			if tx.Bucket(b) == nil {
				return fmt.Errorf("%w (no %q)", ErrDamaged, b)
			}
		}
		meta := tx.Bucket(bucketMeta)
		version, ok := unseal(keyVersion, meta.Get(keyVersion))
		if ok && string(version) != storeVersion {
			return fmt.Errorf("%w: %q, not %q: use a newer relay", errVersion, version, storeVersion)
		}
		realm, rok := unseal(keyRealm, meta.Get(keyRealm))
		if !ok || !rok || len(realm) != keySize {
			return fmt.Errorf("%w (no version or no realm)", ErrDamaged)
		}
		s.realm = keyFrom(realm)
		return nil
	})
}

// SetAside moves a damaged database out of the way, to a name that is not in
// use, and returns that name.
func SetAside(dir string, now time.Time) (string, error) {
	from := filepath.Join(dir, StoreFile)
	to := from + ".damaged-" + now.UTC().Format("20060102T150405Z")
	if _, err := os.Lstat(to); err == nil {
		return "", fmt.Errorf("%s exists already", to)
	}
	if err := os.Rename(from, to); err != nil {
		return "", err
	}
	return to, nil
}
