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
	least   int64        // what has been read is told from so many bytes on; 0: as by Chrome
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
	if k.least > 0 {
		if used < k.least && used < k.window.Load() {
			return 0
		}
	} else if used <= k.most/2 && now-k.renewed.Load() <= int64(renewAfter) {
		return 0
	}
	return k.renew(now)
}

// renew returns all that the peer has not been told of.
func (k *credit) renew(now int64) (told uint32) {
	used := k.used.Swap(0)
	k.renewed.Store(now)
	k.window.Add(used)
	return uint32(used)
}

// narrow reports whether so little of a window is open that the peer may be waiting.
func (k *credit) narrow() bool { return k.window.Load() < k.most/4 }

// Unread returns how many bytes of all streams have come that nobody has read, nor set
// aside. The window of the connection is closed by as many, for the other streams as well.
func (c *Conn) Unread() int64 { return c.in.most - c.in.window.Load() - c.in.used.Load() }

// consumed opens the windows again, by what s or nobody has read: its own by ofStream,
// and the connection's by n. When the last byte came is near enough to now, and costs
// nothing, unless the peer may be waiting for the window.
func (c *Conn) consumed(s *Stream, ofStream, n int) {
	now := c.heard.Load()
	if c.server == nil && c.in.narrow() {
		now = c.now()
	}
	whole, part := uint32(0), uint32(0)
	if n > 0 {
		whole = c.in.give(n, now)
	}
	if s != nil && ofStream > 0 {
		part = s.in.give(ofStream, now)
	}
	if whole|part > 0 {
		c.tell(s, whole, part)
	}
}

// tell tells the peer by how much windows are open again.
func (c *Conn) tell(s *Stream, whole, part uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil && c.streams[s.id] != s {
		part = 0 // the last bytes of an ended stream, and nothing else may come
	}
	if c.err != nil || whole|part == 0 {
		return
	}
	o := c.append()
	if whole > 0 {
		o.b = appendWord(o.b, frameWindow, 0, whole)
	}
	if part > 0 {
		o.b = appendWord(o.b, frameWindow, s.id, part)
	}
	c.flush()
}
