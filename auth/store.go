package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// StoreFile is the name of the database in the state folder.
const StoreFile = "users.db"

var (
	// ErrDamaged says that the database cannot be trusted. It is left as it is.
	ErrDamaged = errors.New("the user database is damaged")
	// ErrInUse says that another process has the database open.
	ErrInUse = errors.New("the user database is in use by another process")
	// ErrNoUser says that there is no user of that name.
	ErrNoUser = errors.New("no such user")
	// ErrUserExists says that the name is taken.
	ErrUserExists = errors.New("user exists")
)

var (
	bucketMeta  = []byte("meta")  // "realm", "version"
	bucketUsers = []byte("users") // name to record
	bucketUsage = []byte("usage") // id, 8 bytes big-endian, to counters
	keyRealm    = []byte("realm")
	keyVersion  = []byte("version")
)

// storeVersion is the layout of the database; a newer one is refused.
const storeVersion = "1"

// Store keeps users and their counters in one file of the state folder, open
// in one process at a time.
type Store struct {
	db    *bbolt.DB
	realm Key
}

// OpenStore opens the database in dir and makes it if there is none. The
// folder is made too, closed to everyone but its owner.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	path := filepath.Join(dir, StoreFile)
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db}
	if err := s.guard(s.prepare); err != nil {
		_ = db.Close()
		if errors.Is(err, ErrDamaged) {
			return nil, damaged(path, err)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func openFile(path string) (db *bbolt.DB, err error) {
	// A file that bbolt would fill with a new database, or misread, is looked
	// at first: nothing that is there is ever overwritten.
	if fi, err := os.Stat(path); err == nil && (fi.Size() == 0 || !fi.Mode().IsRegular()) {
		return nil, damaged(path, errors.New("the file is empty or not a file"))
	}
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, damaged(path, fmt.Errorf("%v", p))
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      200 * time.Millisecond,
		FreelistType: bbolt.FreelistMapType,
	})
	var perr *fs.PathError
	switch {
	case err == nil:
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	case errors.As(err, &perr):
		return nil, fmt.Errorf("state folder: %w", err)
	default:
		return nil, damaged(path, err)
	}
	return db, nil
}

func damaged(path string, why error) error {
	if errors.Is(why, ErrDamaged) {
		return fmt.Errorf("%s: %w; it was left untouched", path, why)
	}
	return fmt.Errorf("%s: %w (%v); it was left untouched", path, ErrDamaged, why)
}

// prepare makes what a new database lacks and checks the rest.
func (s *Store) prepare() error {
	if err := s.check(); err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketUsers, bucketUsage} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		if v := meta.Get(keyVersion); v == nil {
			s.realm = NewKey()
			if err := meta.Put(keyRealm, s.realm.b[:]); err != nil {
				return err
			}
			return meta.Put(keyVersion, []byte(storeVersion))
		} else if string(v) != storeVersion {
			return fmt.Errorf("the user database has version %q, this relay reads %q: use a newer relay", v, storeVersion)
		}
		realm := meta.Get(keyRealm)
		if len(realm) != keySize {
			return fmt.Errorf("%w (no realm)", ErrDamaged)
		}
		copy(s.realm.b[:], realm)
		return nil
	})
}

// check walks the whole tree, so that damage shows at the start and not in the
// middle of somebody's connection.
func (s *Store) check() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = fmt.Errorf("%w (%v)", ErrDamaged, err)
			}
		}
		return first
	})
}

// guard turns bbolt's answer to a damaged page, a panic or a memory fault
// behind the end of a truncated file, into ErrDamaged: one bad file must not
// end the connections of those who are being served.
func (s *Store) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w (%v)", ErrDamaged, p)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f()
}

func (s *Store) view(f func(tx *bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(f) })
}

func (s *Store) update(f func(tx *bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.Update(f) })
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Realm is this relay's random value (see the package comment).
func (s *Store) Realm() Key { return s.realm }

// Get returns the user called name, or ErrNoUser.
func (s *Store) Get(name string) (*Record, error) {
	var r *Record
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketUsers).Get([]byte(name))
		if b == nil {
			return ErrNoUser
		}
		var err error
		r, err = decodeRecord(name, b)
		return err
	})
	return r, err
}

// Each calls f with every user in the order of their names until f returns
// false.
func (s *Store) Each(f func(*Record) bool) error {
	return s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketUsers).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			r, err := decodeRecord(string(k), v)
			if err != nil {
				return err
			}
			if !f(r) {
				return nil
			}
		}
		return nil
	})
}

// Add makes users, all or none; each gets its ID here. A taken name is
// ErrUserExists.
func (s *Store) Add(rs ...*Record) error {
	return s.update(func(tx *bbolt.Tx) error {
		users := tx.Bucket(bucketUsers)
		for _, r := range rs {
			if err := CheckName(r.Name); err != nil {
				return fmt.Errorf("%q: %w", r.Name, err)
			}
			if users.Get([]byte(r.Name)) != nil {
				return fmt.Errorf("%w: %s", ErrUserExists, r.Name)
			}
			id, err := users.NextSequence()
			if err != nil {
				return err
			}
			r.ID = id
			if err := putRecord(users, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// Change applies f to the record called name and keeps the result.
func (s *Store) Change(name string, f func(*Record) error) (*Record, error) {
	var r *Record
	err := s.update(func(tx *bbolt.Tx) error {
		users := tx.Bucket(bucketUsers)
		b := users.Get([]byte(name))
		if b == nil {
			return ErrNoUser
		}
		var err error
		if r, err = decodeRecord(name, b); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		return putRecord(users, r)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Remove forgets a user and the counters.
func (s *Store) Remove(name string) (*Record, error) {
	var r *Record
	err := s.update(func(tx *bbolt.Tx) error {
		users := tx.Bucket(bucketUsers)
		b := users.Get([]byte(name))
		if b == nil {
			return ErrNoUser
		}
		var err error
		if r, err = decodeRecord(name, b); err != nil {
			return err
		}
		if err := tx.Bucket(bucketUsage).Delete(usageKey(r.ID)); err != nil {
			return err
		}
		return users.Delete([]byte(name))
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func putRecord(users *bbolt.Bucket, r *Record) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return users.Put([]byte(r.Name), b)
}

func usageKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// Usage returns the counters of a user; zero if nothing was counted yet.
func (s *Store) Usage(id uint64) (Usage, error) {
	var u Usage
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketUsage).Get(usageKey(id))
		if b == nil {
			return nil
		}
		var err error
		u, err = decodeUsage(b)
		return err
	})
	return u, err
}

// SaveUsage keeps counters in one transaction, on disk when it returns.
// Counters of users that are gone are dropped.
func (s *Store) SaveUsage(all map[uint64]Usage) error {
	return s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketUsage)
		for id, u := range all {
			if err := b.Put(usageKey(id), u.encode()); err != nil {
				return err
			}
		}
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
