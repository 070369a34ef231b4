package auth

import (
	"errors"
	"sync"
	"time"
)

// Errors of [Replays.First].
var (
	ErrReplayed  = errors.New("proof was presented before")
	ErrForgotten = errors.New("time of the proof is outside of what is remembered")
)

// DefaultReplays is how many proofs a Replays remembers unless it is told
// otherwise: two thousand a second over a window of two minutes.
const DefaultReplays = 1 << 18

// Replays remembers proofs that have been presented, so that none is accepted
// twice. A proof names the second it was made in, under the protection of the
// same secret, and only those of a window around now are accepted: what leaves
// the window can be forgotten.
//
// Proofs are kept by the second that they name. Memory is bounded by a number of
// proofs, at up to 48 bytes each (12 MiB for [DefaultReplays]), and follows what
// the window holds. When it is full, the second that holds most is closed: its
// proofs are dropped, and no other that names it is accepted. So a replay
// never passes, and whoever fills the memory with one clock loses his own seconds
// first: an honest client tries again, in another second.
//
// It is safe for concurrent use.
type Replays struct {
	window int64 // seconds
	limit  int

	mu      sync.Mutex
	floor   int64 // seconds below are forgotten
	swept   int64 // when floor was raised last
	n       int
	seconds map[int64]map[[16]byte]struct{} // nil: closed
}

// NewReplays returns a Replays that accepts proofs from the second of since on,
// and up to window away from the time they are presented at; limit is how many
// it remembers, 0 for [DefaultReplays].
//
// since says from when on every proof that was accepted is in this memory. The
// start of the process will do, with two gaps that remain when another process
// has served the same secrets before it: proofs of that very second, and those of
// clients whose clock ran ahead by more than the time until the start. Who must
// not have them passes the start plus window, and serves nobody that long.
func NewReplays(since time.Time, window time.Duration, limit int) *Replays {
	if limit <= 0 {
		limit = DefaultReplays
	}
	return &Replays{
		window: max(1, int64(window/time.Second)), limit: limit,
		floor: since.Unix(), seconds: make(map[int64]map[[16]byte]struct{}),
	}
}

// First accepts a proof that names the second of stamp and is presented now for
// the first time, and remembers it. Proofs must have been checked before: what
// anybody can make up is not to be remembered.
func (r *Replays) First(proof [16]byte, stamp, now time.Time) error {
	at := stamp.Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now.Unix())
	if at < r.floor || at > now.Unix()+r.window {
		return ErrForgotten
	}
	second, known := r.seconds[at]
	if known && second == nil {
		return ErrForgotten
	}
	if _, seen := second[proof]; seen {
		return ErrReplayed
	}
	if r.n >= r.limit {
		r.closeFullest()
		if second, known = r.seconds[at]; known && second == nil {
			return ErrForgotten
		}
	}
	if second == nil {
		second = make(map[[16]byte]struct{})
		r.seconds[at] = second
	}
	second[proof] = struct{}{}
	r.n++
	return nil
}

// sweep forgets the seconds that have left the window.
func (r *Replays) sweep(now int64) {
	if r.floor > now+r.window {
		// Our own clock was far ahead and has been set right. What is in memory
		// stays there; to wait for the old floor would lock everybody out.
		r.floor, r.swept = now, 0
	}
	if now <= r.swept {
		return
	}
	r.swept = now
	r.floor = max(r.floor, now-r.window)
	for at, second := range r.seconds {
		if at < r.floor {
			r.n -= len(second)
			delete(r.seconds, at)
		}
	}
}

// closeFullest makes room. It looks at every second of two windows, and frees at
// least its share of them.
func (r *Replays) closeFullest() {
	var fullest int64
	most := -1
	for at, second := range r.seconds {
		if len(second) > most {
			fullest, most = at, len(second)
		}
	}
	r.n -= most
	r.seconds[fullest] = nil
}
