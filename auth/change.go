package auth

import (
	"fmt"
	"time"
)

// Get returns a user's record and counters, the unsaved ones included.
func (u *Users) Get(name string) (*Record, Usage, error) {
	if r, usage, ok := u.inMemory(name); ok {
		return r, usage, nil
	}
	r, err := u.store.Get(name)
	if err != nil {
		return nil, Usage{}, err
	}
	usage, err := u.store.Usage(r.ID)
	return r, usage, err
}

func (u *Users) inMemory(name string) (*Record, Usage, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.live[name]
	if a == nil {
		return nil, Usage{}, false
	}
	a.fold()
	return a.rec, a.usage.clone(), true
}

// Each calls f with every user until it returns false; see [Store.Each].
func (u *Users) Each(f func(*Record) bool) error { return u.store.Each(f) }

// Try does to records what Add would do, and keeps none.
func (u *Users) Try(rs ...*Record) error {
	u.dress(rs)
	u.changes.Lock()
	defer u.changes.Unlock()
	return u.settle(rs)
}

// dress gives new records what every one has.
func (u *Users) dress(rs []*Record) {
	for _, r := range rs {
		if r.Created.IsZero() {
			r.Created = u.now()
		}
		// As the store gives it back.
		r.Created = r.Created.UTC().Truncate(time.Second)
		if r.Key.bytes() == nil {
			r.Key = NewKey()
		}
	}
}

// Add makes users, all or none. A record may say where it wants to be placed:
// see [Users.Place].
func (u *Users) Add(rs ...*Record) error {
	u.dress(rs)
	u.changes.Lock()
	defer u.changes.Unlock()
	if err := u.settle(rs); err != nil {
		for _, r := range rs {
			if _, gerr := u.store.Get(r.Name); gerr == nil {
				return fmt.Errorf("%w: %s", ErrUserExists, r.Name) // no room would help
			}
		}
		return err
	}
	if err := u.keepFirst(); err != nil {
		return err
	}
	if err := u.store.Add(rs...); err != nil {
		return err
	}
	if s := u.placed(); s != nil {
		for _, r := range rs {
			s.put(u.store.Realm(), r)
		}
	}
	u.reindex(rs...)
	return nil
}

// Update changes a record. Sessions that the change does not allow are cut:
// all of a user who is no longer served, those of a label whose credential
// changed. Nobody else notices. Who is enabled may get another place, if others
// have taken the old one (see [Users.Place]), or ErrFull, if they have taken all.
// Who is given a place by f gets that, or ErrNoPlace.
func (u *Users) Update(name string, f func(*Record) error) (*Record, error) {
	// The disk is waited for before the lock: nobody else's session waits too.
	// One change at a time, so that the last one written is the last one applied.
	u.changes.Lock()
	defer u.changes.Unlock()
	if err := u.keepFirst(); err != nil {
		return nil, err
	}
	r, err := u.store.Change(name, func(r *Record) error {
		before := *r
		if err := f(r); err != nil {
			return err
		}
		return u.resettle(&before, r)
	})
	if err != nil {
		return nil, err
	}
	if s := u.placed(); s != nil {
		s.put(u.store.Realm(), r)
	}
	u.reindex(r)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changed++
	a := u.live[name]
	if a == nil {
		return r, nil
	}
	old := a.rec
	a.apply(r, u.now())
	if why := a.serve(u.now()); why != nil {
		u.cut(a, why, nil)
		return r, nil
	}
	realm, changed := u.store.Realm(), make(map[string]bool)
	u.cut(a, ErrRotated, func(s *Session) bool {
		c, known := changed[s.label]
		if !known {
			c = s.label != "" && old.Password(realm, s.label) != r.Password(realm, s.label)
			changed[s.label] = c
		}
		return c
	})
	return r, nil
}

// cut ends the sessions of a that match; under mu. The calls come back through
// End, and so not from here.
func (u *Users) cut(a *account, why error, match func(*Session) bool) {
	var cuts []func(error)
	for s := range a.sessions {
		if !s.ended && (match == nil || match(s)) {
			s.ended = true
			cuts = append(cuts, s.cut)
		}
	}
	call := func() {
		for _, c := range cuts {
			c(why)
		}
	}
	switch {
	case len(cuts) == 0:
	case u.closed:
		go call() // Close waits no more
	default:
		u.wg.Go(call)
	}
}

// Remove forgets a user and cuts the sessions.
func (u *Users) Remove(name string) error {
	u.changes.Lock()
	defer u.changes.Unlock()
	if err := u.keepFirst(); err != nil {
		return err
	}
	if err := u.store.Remove(name); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changed++
	if u.secrets != nil {
		u.secrets.dropNamed(name)
	}
	for _, x := range u.allIndexes() {
		x.drop(name)
	}
	if a := u.live[name]; a != nil {
		delete(u.live, name)
		u.cut(a, ErrRemoved, nil)
	}
	return nil
}
