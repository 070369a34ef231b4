package web

import (
	"os"
	"sync"
	"time"
)

// unposted is what was written to a stream of packet-up and is in no piece yet.
type unposted struct {
	most int    // bytes that may wait
	run  func() // posts pieces while there are some
	more func(func())

	mu       sync.Mutex
	room     sync.Cond    // less is waiting or asked, or it has failed
	waiting  *pieceBuffer // for the next piece; nil: nothing
	sending  bool         // run is there
	err      error
	deadline *time.Timer
	late     bool
}

// write returns when there is room for b in a piece to come.
func (u *unposted) write(b []byte) (n int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(b) > 0 {
		for u.err == nil && !u.late && u.waiting.len() >= u.most {
			u.room.Wait()
		}
		switch {
		case u.err != nil:
			return n, u.err
		case u.late:
			return n, os.ErrDeadlineExceeded
		}
		m := min(len(b), u.most-u.waiting.len())
		u.waiting = u.waiting.append(b[:m])
		b, n = b[m:], n+m
		if !u.sending {
			u.sending = true
			u.more(u.run)
		}
	}
	return n, nil
}

// setDeadline is SetWriteDeadline of net.Conn.
func (u *unposted) setDeadline(t time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.deadline != nil {
		u.deadline.Stop()
		u.deadline = nil
	}
	u.late = !t.IsZero() && !t.After(time.Now())
	if !t.IsZero() && !u.late {
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(t), func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			if u.deadline == timer {
				u.late = true
				u.room.Broadcast()
			}
		})
		u.deadline = timer
	}
	u.room.Broadcast()
}

// end ends it for good, with what waits; err counts if it is the first.
func (u *unposted) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
	if u.deadline != nil {
		u.deadline.Stop()
	}
	u.waiting.free()
	u.waiting = nil
	u.room.Broadcast()
}
