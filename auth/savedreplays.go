package auth

import (
	"errors"
	"fmt"
	"time"
)

// SavedReplays is what a Replays knows of the seconds that are not over, for the
// process that serves the same secrets next. Nothing in it is secret: a proof was on
// the wire.
type SavedReplays struct {
	// From is the first second of which everything is here.
	From int64 `json:"from"`
	// Seconds are the proofs of each second by user, one behind the other. A user
	// who has none is one to whom the second is closed; one without users is closed
	// to everybody.
	Seconds map[int64]map[uint64][]byte `json:"seconds"`
}

// savedAhead is how far behind From a second may be, in seconds: twice the widest
// window that a configuration can have. A damaged number is not kept for ever.
const savedAhead = 2 * 24 * 60 * 60

// Save returns what the next process has to know when this one accepts nothing more
// from now on.
func (r *Replays) Save(now time.Time) SavedReplays {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := SavedReplays{From: max(now.Unix(), r.floor), Seconds: make(map[int64]map[uint64][]byte)}
	users := func(at int64) map[uint64][]byte {
		if s.Seconds[at] == nil {
			s.Seconds[at] = make(map[uint64][]byte)
		}
		return s.Seconds[at]
	}
	for c := range r.closed {
		if c.at >= s.From {
			users(c.at)[c.user] = nil
		}
	}
	for at, second := range r.seconds {
		switch {
		case at < s.From:
		case second == nil:
			s.Seconds[at] = nil
		default:
			for proof, user := range second {
				users(at)[user] = append(users(at)[user], proof[:]...)
			}
		}
	}
	return s
}

// Restore takes up what another process has saved, before anything is accepted. It
// takes all or, with an error, nothing. What has left the window since is swept as
// always.
func (r *Replays) Restore(s SavedReplays) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.From > r.floor+savedAhead {
		return errors.New("saved in the future")
	}
	proofs, marks, shut := 0, 0, 0
	for at, users := range s.Seconds {
		if at < s.From || at-savedAhead > s.From {
			return fmt.Errorf("second %d is not one of those behind %d", at, s.From)
		}
		if users == nil {
			shut++
		}
		for _, list := range users {
			if len(list)%len(Proof{}.Value) != 0 {
				return fmt.Errorf("proofs of %d bytes", len(list))
			}
			proofs += len(list) / len(Proof{}.Value)
			if len(list) == 0 {
				marks++
			}
		}
	}
	if proofs > r.limit || marks > r.limit/marksPart || shut > r.limit {
		return fmt.Errorf("%d proofs and %d closed seconds, want at most %d and %d", proofs, marks+shut, r.limit, r.limit/marksPart)
	}
	r.floor = max(r.floor, s.From)
	for at, users := range s.Seconds {
		if users == nil {
			r.closeToAll(at)
		}
		for user, list := range users {
			if len(list) == 0 {
				r.closed[userSecond{user, at}] = struct{}{}
			}
			for ; len(list) > 0; list = list[len(Proof{}.Value):] {
				proof := [16]byte(list)
				if _, known := r.seconds[at][proof]; !known {
					r.add(at, user, proof)
				}
			}
		}
	}
	return nil
}
