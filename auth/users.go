package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons why a user is not served. Begin returns them for a new session, and
// the cut function of a live one gets them.
var (
	ErrCredentials  = errors.New("no such user or wrong password")
	ErrDisabled     = errors.New("user is disabled")
	ErrExpired      = errors.New("user has expired")
	ErrQuota        = errors.New("user is over quota")
	ErrTooManyConns = errors.New("user has too many connections")
	ErrTooManyIPs   = errors.New("user connects from too many addresses")
	ErrRemoved      = errors.New("user was removed")
	ErrRotated      = errors.New("credential was replaced")
)

const (
	flushEvery = 3 * time.Second  // counters on disk are at most this old
	checkEvery = time.Second      // expiry and quota periods
	forget     = 60 * time.Second // users without sessions leave memory after this
)

// Users answers the flow: is this credential right, may this session begin,
// how much is left. Changes made through it take effect on live sessions.
type Users struct {
	store    *Store
	log      *slog.Logger
	throttle *throttle
	now      func() time.Time
	ipKey    Key // of this process only: addresses are kept as keyed hashes
	dummy    Key

	began      time.Time
	complained atomic.Int64 // when, since began; 0: never

	changes sync.Mutex // one change at a time; taken before mu
	stopped bool       // see NewStopped
	first   []string   // see keepFirst; under changes
	saving  sync.Mutex // one save at a time; taken before mu

	totalUp, totalDown atomic.Int64             // of everyone, since the start
	indexes            atomic.Pointer[[]*index] // strangers ask too: without a lock

	mu      sync.Mutex
	live    map[string]*account // by name: users with sessions or unsaved counters
	anon    *account
	changed uint64   // counts the records that changed and the accounts that left live
	secrets *secrets // nil: no label of that kind is in use
	saveErr error
	closed  bool

	wg   sync.WaitGroup
	stop context.CancelFunc
}

// NewUsers returns Users over store and starts keeping its counters. Close
// ends that; the store stays open.
func NewUsers(store *Store, log *slog.Logger) *Users { return newUsers(store, log, time.Now) }

// NewStopped returns Users over the store of a relay that does not run, for commands
// that look at its users or change some: see [Users.Place].
func NewStopped(store *Store, log *slog.Logger) *Users {
	u := NewUsers(store, log)
	u.stopped = true
	return u
}

func newUsers(store *Store, log *slog.Logger, now func() time.Time) *Users {
	ctx, cancel := context.WithCancel(context.Background())
	u := &Users{
		store: store, log: log, throttle: newThrottle(), now: now, began: time.Now(),
		ipKey: NewKey(), dummy: NewKey(), live: make(map[string]*account), stop: cancel,
	}
	u.anon = newAccount(&Record{}, Usage{}, u.now())
	// Two, so that a disk that hangs keeps nobody's date or quota from its end.
	u.wg.Go(func() { every(ctx, checkEvery, func() { u.tend(); u.store.release() }) })
	u.wg.Go(func() { every(ctx, flushEvery, u.keep) })
	return u
}

// Realm is this relay's random value.
func (u *Users) Realm() Key { return u.store.Realm() }

// Verify checks the password that a client presents for label. A wrong one is
// answered late, and later each time, by its source; a right one never is.
func (u *Users) Verify(ctx context.Context, label string, source netip.Addr, name, password string) (User, error) {
	began := time.Now()
	r := u.record(name)
	want := ""
	if r != nil {
		want = r.Password(u.store.Realm(), label)
	} else {
		// The same work, so that time does not tell which names exist.
		want = u.dummy.Password(u.dummy, label, 0)
	}
	if equalSecret(want, password) && r != nil {
		return User{ID: r.ID, Name: r.Name, label: label, generation: r.Generations[label]}, nil
	}
	u.throttle.wait(ctx, source, began)
	return User{}, ErrCredentials
}

// record returns the user's record, or nil.
func (u *Users) record(name string) *Record {
	u.mu.Lock()
	if a := u.live[name]; a != nil {
		defer u.mu.Unlock()
		return a.rec
	}
	u.mu.Unlock()
	if CheckName(name) != nil {
		return nil
	}
	r, err := u.store.Get(name)
	if err != nil && !errors.Is(err, ErrNoUser) {
		u.complain(err)
	}
	return r
}

// complain logs trouble with the database, at most once a minute: anyone who
// knows a name can cause it.
func (u *Users) complain(err error) {
	now, last := int64(time.Since(u.began))+1, u.complained.Load()
	if (last == 0 || now-last > int64(time.Minute)) && u.complained.CompareAndSwap(last, now) {
		u.log.Error("user database", "error", err)
	}
}

// Begin starts a session of user from source, or says why not. cut is called
// at most once, from another goroutine, when the session has to end; it must
// not block, and may come before Begin returns or when the session has just
// ended by itself. The caller ends the session in any case.
func (u *Users) Begin(user User, source netip.Addr, cut func(error)) (*Session, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if user.IsAnonymous() {
		s := &Session{users: u, acct: u.anon, cut: cut}
		u.anon.sessions[s] = struct{}{}
		return s, nil
	}
	a, err := u.account(user)
	if err != nil {
		return nil, err
	}
	ip, err := u.admit(a, user, source)
	if err != nil {
		return nil, err
	}
	s := &Session{users: u, acct: a, label: user.label, ip: ip, cut: cut}
	a.sessions[s] = struct{}{}
	if ip != 0 {
		a.ips[ip]++
	}
	return s, nil
}

// account returns the user in memory, brought there if need be. It lets go of mu
// while it reads the database, which waits for the disk and for those who write:
// every end of a session waits for mu. What was read counts only if nothing
// can have made it old meanwhile.
func (u *Users) account(user User) (*account, error) {
	for {
		if a := u.live[user.Name]; a != nil {
			if a.rec.ID != user.ID {
				return nil, ErrRemoved
			}
			return a, nil
		}
		before := u.changed
		u.mu.Unlock()
		r, usage, err := u.load(user)
		u.mu.Lock()
		if u.changed != before {
			continue
		}
		if err != nil {
			return nil, err
		}
		if u.live[user.Name] == nil {
			u.live[user.Name] = newAccount(r, usage, u.now())
		}
	}
}

// load reads a user from the database.
func (u *Users) load(user User) (*Record, Usage, error) {
	r, err := u.store.Get(user.Name)
	if err != nil {
		return nil, Usage{}, err
	}
	if r.ID != user.ID {
		return nil, Usage{}, ErrRemoved
	}
	usage, err := u.store.Usage(r.ID)
	return r, usage, err
}

// admit checks everything that can keep a user from a new session, and
// returns the hash of the source if it has to be counted.
func (u *Users) admit(a *account, user User, source netip.Addr) (ip uint64, err error) {
	if err := a.serve(u.now()); err != nil {
		return 0, err
	}
	// The record may have changed between Verify and here.
	if user.label != "" && a.rec.Generations[user.label] != user.generation {
		return 0, ErrRotated
	}
	if n := a.rec.MaxConns; n > 0 && len(a.sessions) >= n {
		return 0, ErrTooManyConns
	}
	if n := a.rec.MaxIPs; n > 0 {
		ip = u.hash(source)
		if a.ips[ip] == 0 && len(a.ips) >= n {
			return 0, ErrTooManyIPs
		}
	}
	return ip, nil
}

// hash keeps addresses out of memory dumps; a /64 is one address.
func (u *Users) hash(a netip.Addr) uint64 {
	a = a.Unmap() // or all of IPv4 would be one /64
	b := a.As16()
	if a.Is6() {
		clear(b[8:])
	}
	// What is hashed has one length, so there is nothing to extend and no need of
	// HMAC, which is four times the price for every connection.
	var keyed [keySize + len(b)]byte
	copy(keyed[:], u.ipKey.bytes())
	copy(keyed[keySize:], b[:])
	sum := sha256.Sum256(keyed[:])
	return binary.BigEndian.Uint64(sum[:]) | 1
}
