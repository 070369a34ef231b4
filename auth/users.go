package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
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

	changes sync.Mutex // taken before mu

	totalUp, totalDown atomic.Int64 // of everyone, since the start

	mu      sync.Mutex
	live    map[string]*account // by name: users with sessions or unsaved counters
	anon    *account
	saveErr error

	wg   sync.WaitGroup
	stop context.CancelFunc
}

// account is a user in memory.
type account struct {
	// Under Users.mu.
	rec      *Record
	usage    Usage    // as of the last fold
	saved    [2]int64 // up and down that are on disk
	day      int32    // the day that today counts
	sessions map[*Session]struct{}
	ips      map[uint64]int
	idle     time.Time // since when there is no session
	over     bool      // the quota cut is under way
	upRate   int64     // bytes a second, by the last sample
	downRate int64
	sampled  [2]int64

	// Touched by the relaying path.
	up, down  atomic.Int64 // totals for ever
	today     atomic.Int64 // bytes of both directions on this day
	room      atomic.Int64 // what today may reach; max int64 without a quota
	limitUp   atomic.Pointer[rate.Limiter]
	limitDown atomic.Pointer[rate.Limiter]
}

// NewUsers returns Users over store and starts keeping its counters. Close
// ends that; the store stays open.
func NewUsers(store *Store, log *slog.Logger) *Users {
	ctx, cancel := context.WithCancel(context.Background())
	u := &Users{
		store: store, log: log, throttle: newThrottle(), now: time.Now,
		ipKey: NewKey(), dummy: NewKey(), live: make(map[string]*account), stop: cancel,
	}
	u.anon = newAccount(&Record{}, Usage{}, u.now())
	u.wg.Go(func() { u.run(ctx) })
	return u
}

func newAccount(r *Record, usage Usage, now time.Time) *account {
	a := &account{rec: r, usage: usage, sessions: make(map[*Session]struct{}), ips: make(map[uint64]int), idle: now}
	a.up.Store(usage.Up)
	a.down.Store(usage.Down)
	a.saved = [2]int64{usage.Up, usage.Down}
	a.sampled = a.saved
	a.day = dayOf(now)
	a.today.Store(usage.Days[a.day])
	a.apply(r, now)
	return a
}

// apply takes a changed record over.
func (a *account) apply(r *Record, now time.Time) {
	if l := limiterFor(r.Rate); a.rec.Rate != r.Rate || a.limitUp.Load() == nil {
		a.limitUp.Store(l)
		a.limitDown.Store(limiterFor(r.Rate))
	}
	a.rec = r
	a.measure(now)
}

// measure sets the room of today, and begins a new day when it is time.
func (a *account) measure(now time.Time) {
	if d := dayOf(now); d != a.day {
		a.fold()
		a.day = d
		a.today.Store(a.usage.Days[d])
	}
	room := int64(1<<63 - 1)
	if q := a.rec.Quota; q.Bytes > 0 {
		room = int64(q.Bytes) - a.usage.In(q, now, false)
	}
	a.room.Store(room)
}

// fold brings usage up to date.
func (a *account) fold() {
	a.usage.Up, a.usage.Down = a.up.Load(), a.down.Load()
	a.usage.add(a.day, a.today.Load()-a.usage.Days[a.day])
}

func (a *account) dirty() bool { return a.up.Load() != a.saved[0] || a.down.Load() != a.saved[1] }

// limiterFor allows a quarter of a second at once, and never less than a few
// reads, so that a slow rate does not mean tiny packets.
func limiterFor(r BitRate) *rate.Limiter {
	if r <= 0 {
		return nil
	}
	perSecond := float64(r) / 8
	return rate.NewLimiter(rate.Limit(perSecond), max(int(perSecond/4), 64<<10))
}

// Realm is this relay's random value.
func (u *Users) Realm() Key { return u.store.Realm() }

// Verify checks the password that a client presents for label. A wrong one is
// answered late, and later each time, by its source; a right one never is.
func (u *Users) Verify(ctx context.Context, label string, source netip.Addr, name, password string) (User, error) {
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
	u.throttle.wait(ctx, source)
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
		u.log.Error("user database", "error", err)
	}
	return r
}

// Begin starts a session of user from source, or says why not. cut is called
// at most once, from another goroutine, when the session has to end; it must
// not block. The caller ends the session in any case.
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

// account returns the user in memory, brought there if need be.
func (u *Users) account(user User) (*account, error) {
	if a := u.live[user.Name]; a != nil {
		if a.rec.ID != user.ID {
			return nil, ErrRemoved
		}
		return a, nil
	}
	r, err := u.store.Get(user.Name)
	if err != nil {
		return nil, err
	}
	if r.ID != user.ID {
		return nil, ErrRemoved
	}
	usage, err := u.store.Usage(r.ID)
	if err != nil {
		return nil, err
	}
	a := newAccount(r, usage, u.now())
	u.live[r.Name] = a
	return a, nil
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

// serve says why a user is not served now, if so.
func (a *account) serve(now time.Time) error {
	switch {
	case a.rec.Disabled:
		return ErrDisabled
	case !a.rec.Expires.IsZero() && !now.Before(a.rec.Expires):
		return ErrExpired
	case a.today.Load() >= a.room.Load():
		return ErrQuota
	}
	return nil
}

// hash keeps addresses out of memory dumps; a /64 is one address.
func (u *Users) hash(a netip.Addr) uint64 {
	m := hmac.New(sha256.New, u.ipKey.b[:])
	b := a.As16()
	if a.Is6() {
		clear(b[8:])
	}
	m.Write(b[:])
	return binary.BigEndian.Uint64(m.Sum(nil)) | 1
}

// Get returns a user's record and counters, the unsaved ones included.
func (u *Users) Get(name string) (*Record, Usage, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a := u.live[name]; a != nil {
		a.fold()
		return a.rec, a.usage.clone(), nil
	}
	r, err := u.store.Get(name)
	if err != nil {
		return nil, Usage{}, err
	}
	usage, err := u.store.Usage(r.ID)
	return r, usage, err
}

// Each calls f with every user until it returns false.
func (u *Users) Each(f func(*Record) bool) error { return u.store.Each(f) }

// Add makes users, all or none.
func (u *Users) Add(rs ...*Record) error {
	now := u.now()
	for _, r := range rs {
		if r.Created.IsZero() {
			r.Created = now
		}
		if r.Key == (Key{}) {
			r.Key = NewKey()
		}
	}
	return u.store.Add(rs...)
}

// Update changes a record. Sessions that the change does not allow are cut:
// all of a user who is no longer served, those of a label whose credential
// changed. Nobody else notices.
func (u *Users) Update(name string, f func(*Record) error) (*Record, error) {
	// The disk is waited for before the lock: nobody else's session waits too.
	// One change at a time, so that the last one written is the last one applied.
	u.changes.Lock()
	defer u.changes.Unlock()
	r, err := u.store.Change(name, f)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.live[name]
	if a == nil {
		return r, nil
	}
	old := a.rec
	a.apply(r, u.now())
	if why := a.serve(u.now()); why != nil {
		a.cutAll(why)
		return r, nil
	}
	realm := u.store.Realm()
	for s := range a.sessions {
		if old.Password(realm, s.label) != r.Password(realm, s.label) {
			s.end(ErrRotated)
		}
	}
	return r, nil
}

// Remove forgets a user and cuts the sessions.
func (u *Users) Remove(name string) error {
	u.changes.Lock()
	defer u.changes.Unlock()
	if _, err := u.store.Remove(name); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if a := u.live[name]; a != nil {
		delete(u.live, name)
		a.cutAll(ErrRemoved)
	}
	return nil
}

// Close saves the counters and stops keeping them.
func (u *Users) Close() error {
	u.stop()
	u.wg.Wait()
	return u.Save()
}

// SaveError is the trouble of the last attempt to save counters, if any.
func (u *Users) SaveError() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.saveErr
}

// Save writes the counters that changed. What cannot be written stays in
// memory and is tried again.
func (u *Users) Save() error {
	u.mu.Lock()
	batch := make(map[uint64]Usage)
	var changed []*account
	for _, a := range u.live {
		if a.dirty() {
			a.fold()
			changed = append(changed, a)
			batch[a.rec.ID] = a.usage.clone()
		}
	}
	u.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := u.store.SaveUsage(batch)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.saveErr = err
	if err == nil {
		for _, a := range changed {
			saved := batch[a.rec.ID]
			a.saved = [2]int64{saved.Up, saved.Down}
		}
	}
	return err
}
