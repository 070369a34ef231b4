package auth

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Errors of [Replays.First].
var (
	ErrReplayed  = errors.New("proof was presented before")
	ErrForgotten = errors.New("time of the proof is outside of what is remembered")
	// ErrClosed and ErrClosedToUser are about a second that was closed to make room:
	// to everybody, or to the user whose proofs were the most.
	ErrClosed       = errors.New("second of the proof is closed: too many proofs")
	ErrClosedToUser = errors.New("second of the proof is closed to its user: too many proofs of that user")
)

// DefaultReplays is how many proofs a Replays remembers unless it is told
// otherwise: two thousand a second over a window of two minutes.
const DefaultReplays = 1 << 18

// Parts of the limit of a Replays.
const (
	heavyPart = 32 // who holds that much has seconds closed to himself
	roomPart  = 64 // is made at a time
	marksPart = 8  // seconds that are closed to one user
)

// A second of the past is closed before one that holds more: one that is still to
// come would be missed by everybody whose clock is right.
const (
	pastAfter  = 10 // seconds: clocks are as much behind without anybody noticing
	pastWeight = 4
)

// A Proof says whose it is and the second it was made in, both under the
// protection of its secret.
type Proof struct {
	Value [16]byte
	User  uint64 // as in [User]
	Stamp time.Time
}

// Replays remembers proofs that have been presented, so that none is accepted
// twice. Only those of a window around now are accepted: what leaves the window
// can be forgotten.
//
// Memory is bounded by a number of proofs. When it is full, seconds are closed
// until a 64th of it is free: their proofs are dropped, and no other that names
// them is accepted. So a replay never passes. If a user holds a 32nd of the memory,
// whoever holds most has his fullest seconds closed, to himself alone: others do not
// notice one who presents as many as he can, with every time that is accepted.
// Otherwise, as when 33 users do that together or all share one secret, the fullest
// seconds are closed to everybody: who fills the memory with one clock loses his own
// first. Those of the past count four times, so that a flood with all times takes
// what only late clocks need, up to two thousand proofs a second for
// [DefaultReplays] and two minutes; beyond that most honest clients are refused
// until it ends.
//
// A proof takes up to 60 bytes, a second that holds any 300 more, a user who has any
// 40, a second that is closed to one user 40; of the last there are an eighth as many
// as proofs, and then seconds are closed to everybody. That is 17 MiB at most for
// [DefaultReplays] with a window of two minutes and a thousand users, and 13 as
// measured (BenchmarkReplaysMemory); memory follows what the window holds. Making
// room looks at each proof once: 64 of them for each that is then accepted, 1.3 µs
// (BenchmarkReplaysFlood).
//
// It is safe for concurrent use.
type Replays struct {
	limit int

	mu      sync.Mutex
	floor   int64 // seconds below are forgotten
	swept   int64 // when floor was raised last
	n       int
	seconds map[int64]map[[16]byte]uint64 // whose each proof is; nil: closed
	held    map[uint64]int                // proofs of each user
	closed  map[userSecond]struct{}       // to that user
}

type userSecond struct {
	user uint64
	at   int64
}

// NewReplays returns a Replays that accepts proofs from the second of since on;
// limit is how many it remembers, 0 for [DefaultReplays].
//
// since says from when on every proof that was accepted is in this memory. The
// start of the process will do if no other has served the same secrets before it,
// or if that one has ended in order and [Replays.Restore] is given what it had
// saved. After one that was killed two gaps remain: proofs of the very second of the
// start, and those of clients whose clock ran ahead by more than the time until
// the start; each can be replayed once until its own time has left the window.
func NewReplays(since time.Time, limit int) *Replays {
	if limit <= 0 {
		limit = DefaultReplays
	}
	return &Replays{
		limit: limit, floor: since.Unix(), seconds: make(map[int64]map[[16]byte]uint64),
		held: make(map[uint64]int), closed: make(map[userSecond]struct{}),
	}
}

// First accepts a proof that is presented now for the first time, and remembers it.
// Its time must be within window of now; window may differ from call to call, as a
// narrow one makes nothing come back that it has made Replays forget. Proofs must
// have been checked before: what anybody can make up is not to be remembered.
func (r *Replays) First(p Proof, now time.Time, window time.Duration) error {
	at, ahead := p.Stamp.Unix(), max(1, int64(window/time.Second))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now.Unix(), ahead)
	if at < r.floor || at > now.Unix()+ahead {
		return ErrForgotten
	}
	if err := r.open(at, p.User); err != nil {
		return err
	}
	if _, seen := r.seconds[at][p.Value]; seen {
		return ErrReplayed
	}
	if r.n >= r.limit {
		r.makeRoom(now.Unix())
		if err := r.open(at, p.User); err != nil {
			return err
		}
	}
	r.add(at, p.User, p.Value)
	return nil
}

// open says whether a second is open to a user.
func (r *Replays) open(at int64, user uint64) error {
	if second, known := r.seconds[at]; known && second == nil {
		return ErrClosed
	}
	if _, closed := r.closed[userSecond{user, at}]; closed {
		return ErrClosedToUser
	}
	return nil
}

func (r *Replays) add(at int64, user uint64, proof [16]byte) {
	if r.seconds[at] == nil {
		r.seconds[at] = make(map[[16]byte]uint64)
	}
	r.seconds[at][proof] = user
	r.held[user]++
	r.n++
}

// drop counts a proof of a user less.
func (r *Replays) drop(user uint64) {
	r.n--
	if r.held[user]--; r.held[user] == 0 {
		delete(r.held, user)
	}
}

// sweep forgets the seconds that have left the window.
func (r *Replays) sweep(now, window int64) {
	if r.floor > now+window {
		// Our own clock was far ahead and has been set right. What is in memory
		// stays there; to wait for the old floor would lock everybody out.
		r.floor, r.swept = now, 0
	}
	if now <= r.swept {
		return
	}
	r.swept = now
	r.floor = max(r.floor, now-window)
	for at, second := range r.seconds {
		if at < r.floor {
			for _, user := range second {
				r.drop(user)
			}
			delete(r.seconds, at)
		}
	}
	maps.DeleteFunc(r.closed, func(c userSecond, _ struct{}) bool { return c.at < r.floor })
}

// makeRoom closes the fullest seconds, to one user or to all.
func (r *Replays) makeRoom(now int64) {
	room, most := max(1, r.limit/roomPart), 0
	var heaviest uint64
	for user, n := range r.held {
		if n > most {
			heaviest, most = user, n
		}
	}
	alone := most >= r.limit/heavyPart && len(r.closed)+room <= r.limit/marksPart
	held := make(map[int64]int, len(r.seconds))
	for at, second := range r.seconds {
		if !alone {
			held[at] = len(second)
			continue
		}
		for _, user := range second {
			if user == heaviest {
				held[at]++
			}
		}
	}
	weight := func(at int64) int {
		if at < now-pastAfter {
			return held[at] * pastWeight
		}
		return held[at]
	}
	heaviestFirst := slices.SortedFunc(maps.Keys(held), func(a, b int64) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(a, b))
	})
	for _, at := range heaviestFirst {
		if room <= 0 {
			return
		}
		room -= held[at]
		if alone {
			r.closeTo(heaviest, at, held[at])
		} else {
			r.closeToAll(at)
		}
	}
}

func (r *Replays) closeToAll(at int64) {
	for _, user := range r.seconds[at] {
		r.drop(user)
	}
	r.seconds[at] = nil
}

// closeTo closes a second to a user, who has n proofs there. Others' go to a new map:
// what is deleted from one leaves its memory there.
func (r *Replays) closeTo(user uint64, at int64, n int) {
	rest := make(map[[16]byte]uint64, len(r.seconds[at])-n)
	for proof, whose := range r.seconds[at] {
		if whose == user {
			r.drop(user)
		} else {
			rest[proof] = whose
		}
	}
	r.seconds[at] = rest
	r.closed[userSecond{user, at}] = struct{}{}
}
