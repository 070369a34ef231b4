package auth

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func proofOf(n int) (p [16]byte) {
	p[0], p[1], p[2] = byte(n), byte(n>>8), byte(n>>16)
	return p
}

func TestReplays(t *testing.T) {
	start := time.Unix(1_000_000, 500)
	r := NewReplays(start, 0)
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
		if err := r.First(Proof{proofOf(step.proof), 1, at(step.stamp)}, at(step.now), 2*time.Minute); !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
	}
}

// A clock that was a year ahead when the relay started must not lock everybody
// out for that year.
func TestReplaysClockSetRight(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now.AddDate(1, 0, 0), 0)
	if err := r.First(Proof{proofOf(1), 1, now}, now, time.Minute); err != nil {
		t.Errorf("after the clock was set back: got %v, want nil", err)
	}
	if err := r.First(Proof{proofOf(1), 1, now}, now, time.Minute); !errors.Is(err, ErrReplayed) {
		t.Errorf("again: got %v, want ErrReplayed", err)
	}
}

// However full it gets, and whoever fills it, no replay passes, memory stays within
// its bounds and most are accepted.
func TestReplaysFull(t *testing.T) {
	const limit = 500
	for _, users := range []int{1, 3, 1000} {
		t.Run(fmt.Sprint(users, " users"), func(t *testing.T) {
			now := time.Unix(1_000_000, 0)
			r := NewReplays(now, limit)
			var accepted []Proof
			random := rand.New(rand.NewPCG(1, 2))
			for n := range 20_000 {
				if n%20 == 0 {
					now = now.Add(time.Second)
				}
				stamp := now.Add(time.Duration(random.IntN(121)) * time.Second)
				p := Proof{proofOf(n), uint64(random.IntN(users)), stamp}
				if r.First(p, now, 2*time.Minute) == nil {
					accepted = append(accepted, p)
				}
				if r.First(accepted[random.IntN(len(accepted))], now, 2*time.Minute) == nil {
					t.Fatalf("replay after %d proofs: got nil, want an error", n)
				}
				if r.n > limit || len(r.closed) > limit/marksPart {
					t.Fatalf("remembered: got %d and %d closed seconds, want at most %d and %d", r.n, len(r.closed), limit, limit/marksPart)
				}
			}
			all, held := 0, map[uint64]int{}
			for _, second := range r.seconds {
				all += len(second)
				for _, user := range second {
					held[user]++
				}
			}
			if all != r.n || len(r.seconds) > 242 || !maps.Equal(held, r.held) {
				t.Errorf("held: got %d in %d seconds, %v, want %d in at most 242, %v", all, len(r.seconds), held, r.n, r.held)
			}
			if len(accepted) < 10_000 {
				t.Errorf("accepted: got %d of 20000, want most of them", len(accepted))
			}
			now = now.Add(4 * time.Minute)
			if _ = r.First(Proof{proofOf(1), 1, now}, now, 2*time.Minute); r.n != 1 || len(r.seconds) != 1 || len(r.held) != 1 || len(r.closed) != 0 {
				t.Errorf("when all is over: got %d in %d seconds of %d users, %d closed, want 1, 1, 1, 0", r.n, len(r.seconds), len(r.held), len(r.closed))
			}
		})
	}
}

// Users that fill the memory with every time that is accepted lose their own seconds.
// If there are too many of them to be told apart, or with one user for all, seconds of
// the past are closed first, and others when the flood is twice as large.
func TestReplaysFlood(t *testing.T) {
	const limit = 1 << 15
	for _, tt := range []struct {
		name      string
		flooders  uint64
		perSecond int
		honest    uint64
		want      int // honest proofs accepted, of 1000
	}{
		{"one user", 1, 600, 100, 990},
		{"12 users", 12, 600, 100, 990},
		{"100 users", 100, 300, 200, 990},
		{"a secret for all", 1, 300, 1, 990},
		{"a secret for all, more than fits", 1, 600, 1, 150},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1_000_000, 0)
			r := NewReplays(now, limit)
			random := rand.New(rand.NewPCG(1, 2))
			flood, accepted, n := 0, 0, 0
			next := func(user uint64, ahead int) Proof {
				n++
				return Proof{proofOf(n), user, now.Add(time.Duration(ahead) * time.Second)}
			}
			for range 500 {
				now = now.Add(time.Second)
				for range tt.perSecond {
					if r.First(next(1+random.Uint64N(tt.flooders), random.IntN(121)), now, 2*time.Minute) == nil {
						flood++
					}
				}
				for range 2 {
					p := next(tt.honest, random.IntN(7)-3)
					if r.First(p, now, 2*time.Minute) == nil {
						accepted++
					}
					if r.First(p, now, 2*time.Minute) == nil {
						t.Fatal("replay: got nil, want an error")
					}
				}
			}
			t.Logf("accepted: %d of 1000 honest ones, %d of %d others", accepted, flood, 500*tt.perSecond)
			if accepted < tt.want {
				t.Errorf("honest proofs: got %d accepted of 1000, want %d", accepted, tt.want)
			}
		})
	}
}

// A window that gets wider or narrower with a reload is in force at once, and what
// was forgotten or accepted before stays that.
func TestReplaysWindow(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	r := NewReplays(start, 0)
	for _, step := range []struct {
		name       string
		proof      int
		stamp, now int // seconds after the start
		window     time.Duration
		want       error
	}{
		{"first", 1, 0, 0, 2 * time.Minute, nil},
		{"later than the window", 2, 200, 201, 2 * time.Minute, nil},
		{"wider: a replay that was forgotten", 1, 0, 202, time.Hour, ErrForgotten},
		{"wider: what is below is forgotten", 3, 80, 202, time.Hour, ErrForgotten},
		{"wider: older than the window was", 4, 90, 230, time.Hour, nil},
		{"wider: ahead by more than the window was", 5, 3000, 230, time.Hour, nil},
		{"wider: in memory", 2, 200, 800, time.Hour, ErrReplayed},
		{"narrower: older than the window is", 6, 300, 801, 2 * time.Minute, ErrForgotten},
		{"narrower: ahead by more than the window is", 5, 3000, 801, 2 * time.Minute, ErrForgotten},
		{"narrower: a replay within the window", 5, 3000, 2950, 2 * time.Minute, ErrReplayed},
		{"wider again: in memory", 5, 3000, 2951, time.Hour, ErrReplayed},
		{"wider again: forgotten", 2, 200, 2951, time.Hour, ErrForgotten},
	} {
		at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
		if err := r.First(Proof{proofOf(step.proof), 1, at(step.stamp)}, at(step.now), step.window); !errors.Is(err, step.want) {
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
	}
}

// One client that fills the memory with one second loses that second, as does
// everybody who has the same secret.
func TestReplaysFloodOfOneSecond(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now, 1000)
	first := func(n, stamp int) error {
		return r.First(Proof{proofOf(n), 1, now.Add(time.Duration(stamp) * time.Second)}, now.Add(100*time.Second), 2*time.Minute)
	}
	for n := range 100 {
		if err := first(n, n); err != nil {
			t.Fatalf("honest proof %d: got %v, want nil", n, err)
		}
	}
	for n := range 5000 {
		_ = first(1000+n, 150)
	}
	if err := first(100, 100); err != nil {
		t.Errorf("honest proof after the flood: got %v, want nil", err)
	}
	if err := first(50, 50); !errors.Is(err, ErrReplayed) {
		t.Errorf("replay after the flood: got %v, want ErrReplayed: its second is not the one to close", err)
	}
	if err := first(9000, 150); !errors.Is(err, ErrClosedToUser) {
		t.Errorf("the second of the flood: got %v, want ErrClosedToUser", err)
	}
}

// What is closed leaves memory: a user who fills one second behind the other takes
// no more than one who fills all at once.
func TestReplaysMemory(t *testing.T) {
	const most = 24 << 20
	before, now := heapBytes(), time.Unix(1_000_000, 0)
	r := NewReplays(now, 0)
	_ = r.First(Proof{proofOf(1), 2, now.Add(time.Minute)}, now, 2*time.Minute)
	n := 1
	for at := range 20 {
		for range DefaultReplays / 4 {
			n++
			_ = r.First(Proof{proofOf(n), 1, now.Add(time.Duration(at) * time.Second)}, now, 2*time.Minute)
		}
	}
	if got := heapBytes() - before; got > most {
		t.Errorf("memory after %d proofs: got %d bytes, want at most %d", n, got, most)
	}
	runtime.KeepAlive(r)
}

func heapBytes() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func BenchmarkReplays(b *testing.B) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now, 0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		at := now.Add(time.Duration(n/1000) * time.Second)
		_ = r.First(Proof{proofOf(n), 1, at}, at, 2*time.Minute)
	}
}

// BenchmarkReplaysFlood is a proof of a user who fills the memory.
func BenchmarkReplaysFlood(b *testing.B) {
	now := time.Unix(1_000_000, 0)
	r := NewReplays(now, 0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		at := now.Add(time.Duration(n/5000) * time.Second)
		_ = r.First(Proof{proofOf(n), 1, at.Add(time.Duration(n%120) * time.Second)}, at, 2*time.Minute)
	}
}

// BenchmarkReplaysMemory fills the memory with proofs of a thousand users, in a window
// of two minutes and in one of a day.
func BenchmarkReplaysMemory(b *testing.B) {
	for _, window := range []time.Duration{2 * time.Minute, 24 * time.Hour} {
		b.Run(window.String(), func(b *testing.B) {
			for b.Loop() {
				before, now, all := heapBytes(), time.Unix(1_000_000, 0), int(2*window/time.Second)
				r := NewReplays(now, 0)
				now = now.Add(window)
				for n := range DefaultReplays {
					stamp := now.Add(time.Duration(n%all)*time.Second - window)
					_ = r.First(Proof{proofOf(n), uint64(n % 1009), stamp}, now, window)
				}
				b.ReportMetric(float64(heapBytes()-before)/DefaultReplays, "B/proof")
				runtime.KeepAlive(r)
			}
		})
	}
}
