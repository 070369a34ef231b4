package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// handOver saves what a process knows and gives it to the next, by way of JSON as
// the relay does.
func handOver(t *testing.T, r *Replays, limit int, saved, started time.Time) *Replays {
	t.Helper()
	b, err := json.Marshal(r.Save(saved))
	if err != nil {
		t.Fatal(err)
	}
	var s SavedReplays
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	next := NewReplays(started, limit)
	if err := next.Restore(s); err != nil {
		t.Fatalf("Restore: got %v, want nil", err)
	}
	return next
}

// What one process has accepted is a replay for the next.
func TestReplaysHandedOver(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	for _, tt := range []struct {
		name                    string
		stamp, saved, now, when int // seconds after the start
		want                    error
	}{
		{"the second of the restart", 60, 60, 60, 60, ErrReplayed},
		{"of a clock that runs ahead", 100, 60, 61, 90, ErrReplayed},
		{"until its time is over", 100, 60, 61, 220, ErrReplayed},
		{"and then", 100, 60, 61, 221, ErrForgotten},
		{"a second before", 59, 60, 60, 61, ErrForgotten},
		{"a second that is over at the start", 61, 60, 65, 66, ErrForgotten},
		{"our clock was set back between", 55, 60, 50, 60, ErrForgotten},
		{"and ahead", 100, 60, 50, 90, ErrReplayed},
	} {
		r := NewReplays(start, 0)
		p := Proof{proofOf(1), 1, at(tt.stamp)}
		if err := r.First(p, at(tt.saved), 2*time.Minute); err != nil {
			t.Fatalf("%s: first: got %v, want nil", tt.name, err)
		}
		next := handOver(t, r, 0, at(tt.saved), at(tt.now))
		if err := next.First(p, at(tt.when), 2*time.Minute); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		other := Proof{proofOf(2), 1, at(tt.when + 1)}
		if err := next.First(other, at(tt.when), 2*time.Minute); err != nil {
			t.Errorf("%s: another: got %v, want nil", tt.name, err)
		}
	}
}

// However full it was, no replay passes afterwards: what was closed stays closed.
func TestReplaysHandedOverFull(t *testing.T) {
	const limit = 500
	for _, users := range []uint64{1, 3, 1000} {
		now, random := time.Unix(1_000_000, 0), rand.New(rand.NewPCG(1, 2))
		r := NewReplays(now, limit)
		var accepted []Proof
		for n := range 10_000 {
			if n%20 == 0 {
				now = now.Add(time.Second)
			}
			if n%1000 == 0 {
				r = handOver(t, r, limit, now, now)
			}
			p := Proof{proofOf(n), random.Uint64N(users), now.Add(time.Duration(random.IntN(121)) * time.Second)}
			if r.First(p, now, 2*time.Minute) == nil {
				accepted = append(accepted, p)
			}
			if r.First(accepted[random.IntN(len(accepted))], now, 2*time.Minute) == nil {
				t.Fatalf("%d users: replay after %d proofs: got nil, want an error", users, n)
			}
		}
		next := handOver(t, r, limit, now, now)
		all := 0
		for _, n := range next.held {
			all += n
		}
		if len(accepted) < 4000 || next.n != all || next.n == 0 {
			t.Errorf("%d users: got %d accepted, %d held and %d of users, want 4000 and as many", users, len(accepted), next.n, all)
		}
		if users == 3 && len(next.closed) == 0 {
			t.Errorf("seconds that are closed to a user: got none")
		}
	}
}

// A file that is damaged is refused whole.
func TestReplaysRestoreRefuses(t *testing.T) {
	const from = 1_000_000
	proof, many := make([]byte, 16), make([]byte, 16*11)
	marks := map[uint64][]byte{1: nil, 2: nil}
	shut := make(map[int64]map[uint64][]byte)
	for at := range int64(11) {
		shut[from+at] = nil
	}
	for name, s := range map[string]SavedReplays{
		"half a proof":          {from, map[int64]map[uint64][]byte{from: {1: proof, 2: proof[:8]}}},
		"too many proofs":       {from, map[int64]map[uint64][]byte{from: {1: many}}},
		"too many marks":        {from, map[int64]map[uint64][]byte{from: marks}},
		"too much is closed":    {from, shut},
		"a second before":       {from, map[int64]map[uint64][]byte{from - 1: {1: proof}}},
		"the last second":       {from, map[int64]map[uint64][]byte{math.MaxInt64: {1: proof}}},
		"the first second":      {from, map[int64]map[uint64][]byte{math.MinInt64: {1: proof}}},
		"from the last second":  {math.MaxInt64, nil},
		"from the first second": {math.MinInt64, map[int64]map[uint64][]byte{from: {1: proof}}},
	} {
		r := NewReplays(time.Unix(from, 0), 10)
		if err := r.Restore(s); err == nil || r.n != 0 || len(r.seconds) != 0 || r.floor != from {
			t.Errorf("%s: got %v, %d proofs in %d seconds from %d, want an error and nothing", name, err, r.n, len(r.seconds), r.floor)
		}
	}
	// A proof that two users have, as no relay writes it, counts once.
	r := NewReplays(time.Unix(from, 0), 10)
	err := r.Restore(SavedReplays{from, map[int64]map[uint64][]byte{from: {1: proof, 2: proof}}})
	if err != nil || r.n != 1 || len(r.held) != 1 {
		t.Errorf("the same proof twice: got %v, %d proofs of %v, want nil and one", err, r.n, fmt.Sprint(maps.Clone(r.held)))
	}
}
