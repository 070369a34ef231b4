package auth

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

func proofOf(n int) (p [16]byte) {
	p[0], p[1], p[2] = byte(n), byte(n>>8), byte(n>>16)
	return p
}

func TestReplays(t *testing.T) {
	start := time.Unix(1_000_000, 500)
	r := NewReplays(start, 2*time.Minute, 0)
	for _, step := range []struct {
		name       string
		proof      int
		stamp, now int // seconds after the start
		want       error
	}{
		{"first", 1, 0, 0, nil},
		{"again", 1, 0, 0, ErrReplayed},
		{"again a minute later", 1, 0, 60, ErrReplayed},
		{"made before the memory began", 2, -1, 60, ErrForgotten},
		{"another of the same second", 3, 0, 60, nil},
		{"as old as the window", 4, 0, 120, nil},
		{"older than the window", 5, 0, 121, ErrForgotten},
		{"a replay that has left memory", 1, 0, 121, ErrForgotten},
		{"ahead by the window", 6, 241, 121, nil},
		{"ahead by more", 7, 242, 121, ErrForgotten},
		{"replay at the end of its time", 6, 241, 361, ErrReplayed},
		{"our clock a minute back: nothing comes back", 6, 241, 300, ErrReplayed},
		{"nor what was forgotten", 8, 190, 300, ErrForgotten},
	} {
		at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
		if err := r.First(proofOf(step.proof), at(step.stamp), at(step.now)); !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
	}
}

// A clock that was a year ahead when the relay started must not lock everybody
// out for that year.
func TestReplaysClockSetRight(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now.AddDate(1, 0, 0), time.Minute, 0)
	if err := r.First(proofOf(1), now, now); err != nil {
		t.Errorf("after the clock was set back: got %v, want nil", err)
	}
	if err := r.First(proofOf(1), now, now); !errors.Is(err, ErrReplayed) {
		t.Errorf("again: got %v, want ErrReplayed", err)
	}
}

// However full it gets, no replay passes, and memory stays within its bound.
func TestReplaysFull(t *testing.T) {
	const limit = 500
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now, 2*time.Minute, limit)
	type presented struct {
		proof [16]byte
		stamp time.Time
	}
	var accepted []presented
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 20_000 {
		if n%20 == 0 {
			now = now.Add(time.Second)
		}
		p := presented{proofOf(n), now.Add(time.Duration(random.IntN(121)) * time.Second)}
		if r.First(p.proof, p.stamp, now) == nil {
			accepted = append(accepted, p)
		}
		old := accepted[random.IntN(len(accepted))]
		if err := r.First(old.proof, old.stamp, now); err == nil {
			t.Fatalf("replay after %d proofs: got nil, want an error", n)
		}
		if r.n > limit {
			t.Fatalf("remembered: got %d, want at most %d", r.n, limit)
		}
	}
	held := 0
	for _, second := range r.seconds {
		held += len(second)
	}
	if held != r.n || len(r.seconds) > 242 {
		t.Errorf("held: got %d in %d seconds, want %d in at most 242", held, len(r.seconds), r.n)
	}
	if len(accepted) < 10_000 {
		t.Errorf("accepted: got %d of 20000, want most of them", len(accepted))
	}
}

// One client that fills the memory with one second loses that second.
func TestReplaysFloodOfOneSecond(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now, 2*time.Minute, 1000)
	for n := range 100 {
		if err := r.First(proofOf(n), now.Add(time.Duration(n)*time.Second), now.Add(100*time.Second)); err != nil {
			t.Fatalf("honest proof %d: got %v, want nil", n, err)
		}
	}
	for n := range 5000 {
		_ = r.First(proofOf(1000+n), now.Add(150*time.Second), now.Add(100*time.Second))
	}
	if err := r.First(proofOf(100), now.Add(100*time.Second), now.Add(100*time.Second)); err != nil {
		t.Errorf("honest proof after the flood: got %v, want nil", err)
	}
	if err := r.First(proofOf(50), now.Add(50*time.Second), now.Add(100*time.Second)); !errors.Is(err, ErrReplayed) {
		t.Errorf("replay after the flood: got %v, want ErrReplayed: its second is not the one to close", err)
	}
}

func BenchmarkReplays(b *testing.B) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now, 2*time.Minute, 0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		at := now.Add(time.Duration(n/1000) * time.Second)
		_ = r.First(proofOf(n), at, at)
	}
}
