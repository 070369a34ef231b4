package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// StoreFile is the name of the database in the state folder.
const StoreFile = "users.db"

var (
	// ErrDamaged says that the database cannot be trusted. It is left as it is.
	ErrDamaged = errors.New("the user database is damaged")
	// ErrInUse says that another process has the database open.
	ErrInUse = errors.New("the user database is in use by another process")
	// ErrNotSaved says that nothing has changed, as the database cannot be written.
	ErrNotSaved = errors.New("the user database cannot be written and stays as it is (is its disk full?)")
	// ErrNoUser says that there is no user of that name.
	ErrNoUser = errors.New("no such user")
	// ErrUserExists says that the name is taken.
	ErrUserExists = errors.New("user exists")
)

var (
	bucketMeta  = []byte("meta")  // "realm", "version", "last id"
	bucketUsers = []byte("users") // name to record
	bucketUsage = []byte("usage") // id, 8 bytes big-endian, to counters
	keyRealm    = []byte("realm")
	keyVersion  = []byte("version")
	keyLast     = []byte("last id") // 8 bytes big-endian; bbolt's own sequence has no checksum
)

// storeVersion is the layout of the database; another one is refused. Every
// value is sealed (see seal).
const storeVersion = "1"

// Store keeps users and their counters in one file of the state folder, open
// in one process at a time.
type Store struct {
	db      *bbolt.DB
	realm   Key
	touched atomic.Bool // pages may be mapped; see release
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
	s.touched.Store(true)
	return s.guard(func() error { return s.db.View(f) })
}

func (s *Store) update(f func(tx *bbolt.Tx) error) error {
	s.touched.Store(true)
	var refused error
	err := s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			refused = f(tx)
			return refused
		})
	})
	if err == nil || refused != nil || errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotSaved, err)
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Realm is this relay's random value (see the package comment).
func (s *Store) Realm() Key { return s.realm }

// Get returns the user called name, or ErrNoUser.
func (s *Store) Get(name string) (*Record, error) {
	var r *Record
	err := s.view(func(tx *bbolt.Tx) (err error) {
		r, err = getRecord(tx.Bucket(bucketUsers), name)
		return err
	})
	return r, err
}

func getRecord(users *bbolt.Bucket, name string) (*Record, error) {
	b := users.Get([]byte(name))
	if b == nil {
		return nil, ErrNoUser
	}
	return openRecord([]byte(name), b)
}

func openRecord(name, b []byte) (*Record, error) {
	v, ok := unseal(name, b)
	if !ok {
		return nil, fmt.Errorf("record of user %q: %w", name, ErrDamaged)
	}
	return decodeRecord(string(name), v)
}

// eachBatch is how many records Each reads at a time.
const eachBatch = 256

// Each calls f with every user in the order of their names until f returns
// false. A record that cannot be read is left out and reported in the end. f
// may call any method: no transaction is open meanwhile, which a writer that
// has to grow the file would wait for, and everybody else for the writer.
func (s *Store) Each(f func(*Record) bool) error {
	var last []byte
	var bad error
	for {
		var batch []*Record
		more := false
		err := s.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketUsers).Cursor()
			k, v := c.Seek(last)
			if last != nil && string(k) == string(last) {
				k, v = c.Next()
			}
			for n := 0; k != nil; k, v = c.Next() {
				if n++; n > eachBatch {
					more = true
					return nil
				}
				last = append(last[:0], k...)
				r, err := openRecord(k, v)
				if err != nil {
					bad = errors.Join(bad, err)
					continue
				}
				batch = append(batch, r)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range batch {
			if !f(r) {
				return nil
			}
		}
		if !more {
			return bad
		}
	}
}

// Add makes users, all or none; each gets its ID here. A taken name is
// ErrUserExists.
func (s *Store) Add(rs ...*Record) error {
	return s.update(func(tx *bbolt.Tx) error {
		users, meta := tx.Bucket(bucketUsers), tx.Bucket(bucketMeta)
		last, err := lastID(meta)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if err := CheckName(r.Name); err != nil {
				return fmt.Errorf("%q: %w", r.Name, err)
			}
			if users.Get([]byte(r.Name)) != nil {
				return fmt.Errorf("%w: %s", ErrUserExists, r.Name)
			}
			last++
			r.ID = last
			if err := putRecord(users, r); err != nil {
				return err
			}
		}
		return meta.Put(keyLast, seal(keyLast, binary.BigEndian.AppendUint64(nil, last)))
	})
}

// lastID is the last ID that was given to anyone.
func lastID(meta *bbolt.Bucket) (uint64, error) {
	b := meta.Get(keyLast)
	if b == nil {
		return 0, nil
	}
	v, ok := unseal(keyLast, b)
	if !ok || len(v) != 8 {
		return 0, fmt.Errorf("%w (last id)", ErrDamaged)
	}
	return binary.BigEndian.Uint64(v), nil
}

// Change applies f to the record called name and keeps the result. f cannot
// change the name or the ID, and must not call the Store.
func (s *Store) Change(name string, f func(*Record) error) (*Record, error) {
	var r *Record
	err := s.update(func(tx *bbolt.Tx) (err error) {
		users := tx.Bucket(bucketUsers)
		if r, err = getRecord(users, name); err != nil {
			return err
		}
		id := r.ID
		if err := f(r); err != nil {
			return err
		}
		r.Name, r.ID = name, id
		return putRecord(users, r)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ChangeAll applies f to the records of several users, in one transaction.
func (s *Store) ChangeAll(names []string, f func(*Record)) error {
	if len(names) == 0 {
		return nil
	}
	return s.update(func(tx *bbolt.Tx) error {
		users := tx.Bucket(bucketUsers)
		for _, name := range names {
			r, err := getRecord(users, name)
			if err != nil {
				return err
			}
			f(r)
			if err := putRecord(users, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// Remove forgets a user and the counters. It removes a record that cannot be
// read as well; the counters are then left without an owner.
func (s *Store) Remove(name string) error {
	return s.update(func(tx *bbolt.Tx) error {
		users := tx.Bucket(bucketUsers)
		r, err := getRecord(users, name)
		if errors.Is(err, ErrNoUser) {
			return err
		}
		if err == nil {
			if err := tx.Bucket(bucketUsage).Delete(usageKey(r.ID)); err != nil {
				return err
			}
		}
		return users.Delete([]byte(name))
	})
}

func putRecord(users *bbolt.Bucket, r *Record) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return users.Put([]byte(r.Name), seal([]byte(r.Name), b))
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
		v, ok := unseal(usageKey(id), b)
		if !ok {
			return fmt.Errorf("%w: %w", errUsage, ErrDamaged)
		}
		var err error
		u, err = decodeUsage(v)
		return err
	})
	return u, err
}

// Counters are what SaveUsage keeps for a user.
type Counters struct {
	Name  string
	ID    uint64
	Usage Usage
}

// SaveUsage keeps counters in one transaction, on disk when it returns.
// Counters of users that are gone are dropped.
func (s *Store) SaveUsage(all []Counters) error {
	return s.update(func(tx *bbolt.Tx) error {
		users, usage := tx.Bucket(bucketUsers), tx.Bucket(bucketUsage)
		for _, c := range all {
			r, err := getRecord(users, c.Name)
			if err != nil || r.ID != c.ID {
				continue // removed, or removed and made again
			}
			k := usageKey(c.ID)
			if err := usage.Put(k, seal(k, c.Usage.encode())); err != nil {
				return err
			}
		}
		return nil
	})
}
