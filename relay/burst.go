package relay

import (
	"net/netip"
	"sync"
	"time"

	"relay/transport"
)

// Burst limits how fast one source may connect. A messenger that opens many
// connections at once is itself a mark for whoever watches: resetting some
// breaks the bunch up, and the client tries again.
type Burst struct {
	Size      int     // connections at once; 0: no limit
	PerSecond float64 // connections after that
}

// mostBuckets bounds the memory for sources, at some 50 bytes each.
const mostBuckets = 1 << 16

// bursts are the token buckets of all sources that have connected lately.
type bursts struct {
	mu      sync.Mutex
	limit   Burst
	buckets map[netip.Prefix]bucket
	swept   time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

func (b *bursts) set(limit Burst) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit != limit {
		b.limit, b.buckets = limit, make(map[netip.Prefix]bucket)
	}
}

// allow counts a connection; false says that it comes too soon.
func (b *bursts) allow(source netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit.Size <= 0 {
		return true
	}
	p := transport.SourcePrefix(source)
	k, known := b.buckets[p]
	if !known {
		if len(b.buckets) >= mostBuckets && !b.sweep(now) {
			return true // a flood from everywhere is not what this is against
		}
		k = bucket{left: float64(b.limit.Size), at: now}
	}
	k.left, k.at = b.fill(k, now), now
	ok := k.left >= 1
	if ok {
		k.left--
	}
	b.buckets[p] = k
	return ok
}

func (b *bursts) fill(k bucket, now time.Time) float64 {
	return min(float64(b.limit.Size), k.left+now.Sub(k.at).Seconds()*b.limit.PerSecond)
}

// sweep forgets the sources whose buckets are full again, once in a second at
// most; it reports whether there is room.
func (b *bursts) sweep(now time.Time) bool {
	if now.Sub(b.swept) < time.Second {
		return false
	}
	b.swept = now
	for p, k := range b.buckets {
		if b.fill(k, now) >= float64(b.limit.Size) {
			delete(b.buckets, p)
		}
	}
	return len(b.buckets) < mostBuckets
}
