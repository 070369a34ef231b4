package h2

import (
	"sync/atomic"
	"time"
)

// renewAfter is when a window is opened again though it is more than half open, as
// by Chrome.
const renewAfter = 5 * time.Second

// credit is a window that the peer sends into.
type credit struct {
	most    int64
	window  atomic.Int64 // what the peer may send
	used    atomic.Int64 // what has been read of it since the peer was told
	renewed atomic.Int64 // when the peer was told, since the connection began
}

func (k *credit) open(n int64) {
	k.most = n
	k.window.Store(n)
}

// spend counts what has come; false is more than the peer may send.
func (k *credit) spend(n int) bool { return k.window.Add(-int64(n)) >= 0 }

// give counts what has been read, and returns what the peer is to be told of it.
func (k *credit) give(n int, now int64) (told uint32) {
	used := k.used.Add(int64(n))
	if used <= k.most/2 && now-k.renewed.Load() <= int64(renewAfter) {
		return 0
	}
	used = k.used.Swap(0)
	k.renewed.Store(now)
	k.window.Add(used)
	return uint32(used)
}

// Unread returns how many bytes of all streams have come that nobody has read. The
// window of the connection is closed by as many, for the other streams as well.
func (c *Conn) Unread() int64 { return c.in.most - c.in.window.Load() - c.in.used.Load() }

// consumed opens the windows again, by what s or nobody has read. When the last byte
// came is near enough to now, and costs nothing.
func (c *Conn) consumed(s *Stream, n int) {
	if n == 0 {
		return
	}
	now := c.heard.Load()
	whole, part := c.in.give(n, now), uint32(0)
	if s != nil {
		part = s.in.give(n, now)
	}
	if whole|part == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	o := c.append()
	if whole > 0 {
		o.b = appendWord(o.b, frameWindow, 0, whole)
	}
	if part > 0 && c.streams[s.id] == s {
		o.b = appendWord(o.b, frameWindow, s.id, part)
	}
	c.flush()
}
