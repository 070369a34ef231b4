package auth

import (
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

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
	upRate   int64     // bytes a second, by the last sample
	downRate int64
	sampled  [2]int64

	// Touched by the relaying path.
	up, down  atomic.Int64 // totals for ever
	today     atomic.Int64 // bytes of both directions on this day
	room      atomic.Int64 // what today may reach; max int64 without a quota
	over      atomic.Bool  // the cut for the quota is under way
	limitUp   atomic.Pointer[rate.Limiter]
	limitDown atomic.Pointer[rate.Limiter]
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

// measure sets the room of today, after it has begun a new day if need be.
func (a *account) measure(now time.Time) {
	if d := dayOf(now); d != a.day {
		// Whatever moves meanwhile counts on one of the two days.
		a.foldDay(a.today.Swap(a.usage.Days[d]))
		a.day = d
	}
	room := int64(math.MaxInt64)
	if q := a.rec.Quota; q.Bytes > 0 {
		room = int64(q.Bytes) - a.usage.In(q, now, false)
	}
	a.room.Store(room)
	if a.today.Load() <= room {
		a.over.Store(false)
	}
}

// fold brings usage up to date.
func (a *account) fold() { a.foldDay(a.today.Load()) }

func (a *account) foldDay(today int64) {
	a.usage.Up, a.usage.Down = a.up.Load(), a.down.Load()
	a.usage.add(a.day, today-a.usage.Days[a.day], a.rec.Quota.keep())
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
