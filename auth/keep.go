package auth

import (
	"context"
	"time"
)

// every calls f at an interval until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// tend looks after the users in memory: rates, days, those who are no longer
// served, and those who can be forgotten.
func (u *Users) tend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	for name, a := range u.live {
		a.sample()
		if dayOf(now) != a.day {
			a.measure(now)
		}
		if len(a.sessions) > 0 {
			if why := a.serve(now); why != nil {
				u.cut(a, why, nil)
			}
		} else if !a.dirty() && now.Sub(a.idle).Abs() > forget {
			delete(u.live, name)
			u.changed++
		}
	}
	u.anon.sample()
}

// overQuota is called by the first of those who cross it. A crossing that was
// undone meanwhile, by a new day or a larger quota, may be crossed again.
func (u *Users) overQuota(a *account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.today.Load() > a.room.Load() {
		u.cut(a, ErrQuota, nil)
	} else {
		a.over.Store(false)
	}
}

// keep saves the counters. It writes one line when that begins to fail and one
// when it works again: a full disk must not fill the log's disk as well.
func (u *Users) keep() {
	before := u.SaveError()
	switch err := u.Save(); {
	case err != nil && before == nil:
		u.log.Error("byte counters cannot be saved; they stay in memory and saving is tried again", "error", err)
	case err == nil && before != nil:
		u.log.Info("byte counters are being saved again")
	}
}

// Save writes the counters that changed. What cannot be written stays in
// memory and is tried again.
func (u *Users) Save() error {
	u.saving.Lock()
	defer u.saving.Unlock()
	changed := u.unsaved()
	batch := make([]Counters, 0, len(changed))
	for _, a := range changed {
		// One at a time: ten thousand are not copied under the lock.
		u.mu.Lock()
		a.fold()
		batch = append(batch, Counters{Name: a.rec.Name, ID: a.rec.ID, Usage: a.usage.clone()})
		u.mu.Unlock()
	}
	var err error
	if len(batch) > 0 {
		err = u.store.SaveUsage(batch)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.saveErr = err
	if err == nil {
		for i, a := range changed {
			a.saved = [2]int64{batch[i].Usage.Up, batch[i].Usage.Down}
		}
	}
	return err
}

func (u *Users) unsaved() []*account {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []*account
	for _, a := range u.live {
		if a.dirty() {
			out = append(out, a)
		}
	}
	return out
}

// SaveError is the trouble of the last attempt to save counters, if any.
func (u *Users) SaveError() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.saveErr
}

// Close saves the counters and stops keeping them.
func (u *Users) Close() error {
	u.stop()
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.wg.Wait()
	return u.Save()
}

func (a *account) sample() {
	up, down := a.up.Load(), a.down.Load()
	perSecond := int64(checkEvery / time.Second)
	a.upRate, a.downRate = (up-a.sampled[0])/perSecond, (down-a.sampled[1])/perSecond
	a.sampled = [2]int64{up, down}
}
