package faketls

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"

	"relay/auth"
)

const (
	// MaxCandidates is how many keys are tried for one hello.
	MaxCandidates = 256
	// mostBlocks is how many blocks the trials of one hello hash together: a padded one
	// that took longer would tell the names of users from others.
	mostBlocks = MaxCandidates * 40
	// AlwaysTried is how many are tried even when the time for trials is used
	// up: the users of a household behind the source of the hello.
	AlwaysTried = 4

	// Where the random is in a record that holds a hello of either side: behind
	// the headers of record and message and the version.
	randomBegin = 5 + 4 + 2
	randomSize  = 32
	randomEnd   = randomBegin + randomSize
	// The first bytes of the digest prove the key; the rest carries the time.
	proofSize = 28
)

// prove tries the candidates. It fills in whose key the digest was made with,
// and the time in it.
func (s *Server) prove(v *visit, source netip.Addr, now time.Time) (found bool) {
	each := macBlocks(len(v.record))
	most := MaxCandidates
	if !s.budget.left(now) {
		most = AlwaysTried
	}
	padded := mostBlocks/each < most // no user's: nobody is told whom it has missed
	most = min(most, mostBlocks/each)
	tried, missed := 0, false
	s.keys.Candidates(v.name, source, func(user auth.User, key *[16]byte) bool {
		if tried == most {
			missed = true
			return false
		}
		tried++
		sum := v.mac.sum(key, v.record, nil)
		if subtle.ConstantTimeCompare(sum[:proofSize], v.random[:proofSize]) != 1 {
			return true
		}
		found = true
		v.user, v.key = user, *key
		v.stamp = time.Unix(int64(binary.LittleEndian.Uint32(sum[proofSize:])^
			binary.LittleEndian.Uint32(v.random[proofSize:])), 0)
		return false
	})
	s.budget.spend(tried * each)
	if missed && !padded {
		s.tell(Event{Kind: BudgetSpent})
	}
	return found
}

// mac computes HMAC-SHA256 (RFC 2104) with keys of 16 bytes. crypto/hmac would
// make two hashes for each key.
type mac struct {
	hash  hash.Hash
	block [sha256.BlockSize]byte
	out   [sha256.Size]byte
}

// sum returns the code of a followed by b, valid until the next one.
func (m *mac) sum(key *[16]byte, a, b []byte) *[sha256.Size]byte {
	m.pad(key, 0x36)
	m.hash.Write(a)
	m.hash.Write(b)
	m.hash.Sum(m.out[:0])
	m.pad(key, 0x5c)
	m.hash.Write(m.out[:])
	m.hash.Sum(m.out[:0])
	return &m.out
}

// pad begins a hash with the key.
func (m *mac) pad(key *[16]byte, with byte) {
	for i := range m.block {
		m.block[i] = with
	}
	subtle.XORBytes(m.block[:], m.block[:], key[:])
	m.hash.Reset()
	m.hash.Write(m.block[:])
}

// forget leaves nothing of a key behind.
func (m *mac) forget() {
	clear(m.block[:])
	m.hash.Reset()
}

// macBlocks is how many blocks a code over n bytes hashes: the pads, the
// message with its padding, and the inner sum.
func macBlocks(n int) int { return 3 + (n+8)/sha256.BlockSize + 1 }

const (
	budgetShare = 10                     // one tenth of a processor …
	budgetBurst = 100 * time.Millisecond // … saved up for a second at most
	// A block takes 30 ns with SHA instructions and 300 without.
	leastBlockCost = 20 * time.Nanosecond
	mostBlockCost  = 500 * time.Nanosecond
)

// budget is the processor time for trials. It counts blocks of a known cost and
// not time: under load a goroutine may be made to wait in the middle of a trial,
// and that would be charged, too.
type budget struct {
	block time.Duration // what one costs

	mu   sync.Mutex
	time time.Duration // left; below zero when a hello has overdrawn it
	last time.Time
}

func (b *budget) start(now time.Time) {
	b.block, b.time, b.last = blockCost(), budgetBurst, now
}

// left reports whether there is time for trials.
func (b *budget) left(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = min(b.time+max(0, now.Sub(b.last))/budgetShare, budgetBurst)
	b.last = now
	return b.time > 0
}

func (b *budget) spend(blocks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time -= time.Duration(blocks) * b.block
}

// blockCost measures once, and takes the best of some runs: whatever interrupts
// one makes it longer.
var blockCost = sync.OnceValue(func() time.Duration {
	const blocks = 64
	var data [blocks * sha256.BlockSize]byte
	best := mostBlockCost
	for range 8 {
		began := time.Now()
		_ = sha256.Sum256(data[:])
		best = min(best, time.Since(began)/blocks)
	}
	return max(best, leastBlockCost)
})
