package mtproto

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	replayTurn = 48 * time.Hour
	replayMost = 1 << 17 // entries of one generation
)

// Replays remembers frames, so that one that was recorded on the wire opens
// nothing when somebody sends it again to see what answers. One Replays is for
// all listeners of a relay, and outlives a reload of its configuration.
//
// It holds a frame for 48 to 96 hours, less when there are more than 131,072
// connections in that time, in at most 10 MB. Nothing in a frame says when it was
// made: one that is older than that, or than this process, cannot be told from a
// new one, nor can one that was caught before it got here. Whoever needs more
// gives out ee secrets, which carry the time.
type Replays struct {
	seed maphash.Seed
	most int

	mu         sync.Mutex
	young, old map[uint64]struct{}
	turned     time.Time
}

// NewReplays returns an empty memory.
func NewReplays() *Replays {
	return &Replays{seed: maphash.MakeSeed(), most: replayMost, young: make(map[uint64]struct{}), turned: time.Now()}
}

// again reports whether a frame with this seed has been here before, and
// remembers it. The rest of the frame does not count: a prober can change it.
func (r *Replays) again(s seed) bool {
	h := maphash.Bytes(r.seed, s[:])
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.turned); age >= replayTurn || len(r.young) >= r.most {
		r.old = r.young
		if age >= 2*replayTurn {
			r.old = nil
		}
		r.young, r.turned = make(map[uint64]struct{}), now
	}
	_, young := r.young[h]
	_, old := r.old[h]
	r.young[h] = struct{}{}
	return young || old
}
