package auth

import (
	"errors"
	"time"
)

// Session is one live connection of a user. It is the account that the splice
// core reports to.
type Session struct {
	users *Users
	acct  *account
	label string
	ip    uint64
	cut   func(error)
	ended bool // no cut any more; under users.mu
}

// Moved counts n bytes and returns how long the direction should pause to keep
// the user's rate. Crossing the quota ends the user's sessions at once.
func (s *Session) Moved(up bool, n int) time.Duration {
	a := s.acct
	mine, all, limit := &a.down, &s.users.totalDown, &a.limitDown
	if up {
		mine, all, limit = &a.up, &s.users.totalUp, &a.limitUp
	}
	mine.Add(int64(n))
	all.Add(int64(n))
	if a.today.Add(int64(n)) > a.room.Load() && !a.over.Swap(true) {
		s.users.overQuota(a)
	}
	l := limit.Load()
	if l == nil {
		return 0
	}
	var wait time.Duration
	for now := time.Now(); n > 0; n -= l.Burst() {
		wait = l.ReserveN(now, min(n, l.Burst())).DelayFrom(now)
	}
	return wait
}

// Limited reports whether the user has a rate limit.
func (s *Session) Limited() bool { return s.acct.limitUp.Load() != nil }

// End says that the session is over.
func (s *Session) End() {
	u := s.users
	u.mu.Lock()
	defer u.mu.Unlock()
	s.ended = true
	a := s.acct
	if _, ok := a.sessions[s]; !ok {
		return
	}
	delete(a.sessions, s)
	if s.ip != 0 {
		if a.ips[s.ip]--; a.ips[s.ip] == 0 {
			delete(a.ips, s.ip)
		}
	}
	if len(a.sessions) == 0 {
		a.idle = u.now()
	}
}

// Activity is what a user does now.
type Activity struct {
	Name             string
	Sessions         int
	Addresses        int // counted only for users with a limit
	Up, Down         int64
	UpRate, DownRate int64 // bytes a second
}

// Active returns those in memory: users with sessions, or until a minute ago.
// Anonymous clients are the entry without a name, present once they moved
// anything.
func (u *Users) Active() []Activity {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]Activity, 0, len(u.live)+1)
	add := func(a *account) {
		out = append(out, Activity{
			Name: a.rec.Name, Sessions: len(a.sessions), Addresses: len(a.ips),
			Up: a.up.Load(), Down: a.down.Load(), UpRate: a.upRate, DownRate: a.downRate,
		})
	}
	for _, a := range u.live {
		add(a)
	}
	if len(u.anon.sessions) > 0 || u.anon.up.Load()+u.anon.down.Load() > 0 {
		add(u.anon)
	}
	return out
}

// Totals are the bytes moved for everyone since the start.
func (u *Users) Totals() (up, down int64) { return u.totalUp.Load(), u.totalDown.Load() }

// Refused reports whether err is one of the reasons not to serve a user.
func Refused(err error) bool {
	for _, e := range []error{ErrDisabled, ErrExpired, ErrQuota, ErrTooManyConns, ErrTooManyIPs, ErrRemoved, ErrRotated, ErrNoUser} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
