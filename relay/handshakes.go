package relay

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"relay/relay/splice"
)

// slowHandshake is how long a stranger may take for his next word in a handshake
// with the site while others wait for their turn: much longer than any round trip.
const slowHandshake = 3 * time.Second

// slowNeighbour is what he may take while somebody waits in whose neighbourhood
// nobody is in a handshake, and his own has the most.
const slowNeighbour = 500 * time.Millisecond

// handshakes bounds how many strangers are in the middle of one with the site.
// Each of them has a goroutine, tens of kilobytes, and a turn at the processor that
// users want. The others wait for their turn and have no stack. Whoever says nothing
// for long makes room, but only if there is somebody to make it for: without a
// flood the site's own time-outs are the only ones. Turns go round the neighbourhoods
// that strangers come from, so that a flood waits for itself, and users do not.
type handshakes struct {
	mu      sync.Mutex
	under   list.List            // of *turn, in the order they began
	near    map[netip.Prefix]int // of under, by neighbourhood
	waiting list.List            // of *turn, in the order they came
	queues  crowds               // of *turn, of waiting
	alone   list.List            // of *crowd: those of whose neighbourhood nobody is in under
	timer   *time.Timer          // for the first of under, while somebody waits; nil: not set
	due     time.Time            // when it fires
	set     int                  // how often it has been set
}

// turn is a stranger's place in one of the lists.
type turn struct {
	conn    *conn
	from    netip.Prefix // the neighbourhood
	place   *list.Element
	inQueue *list.Element // of the neighbourhood, while he waits
	began   time.Time     // zero: he waits
}

// enter lets c begin its handshake, or has it wait for its turn: then it is resumed,
// and asks again.
func (h *handshakes) enter(c *conn, most int) bool {
	begins, slow := h.take(c, most)
	if slow != nil {
		c.srv.sources.cut(slow)
	}
	return begins
}

// take is enter, but for who has to make room.
func (h *handshakes) take(c *conn, most int) (begins bool, slow *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.turn != nil {
		return !c.turn.began.IsZero(), nil
	}
	c.turn = &turn{conn: c, from: neighbourhood(c.source)}
	if most <= 0 || h.under.Len() < most && h.waiting.Len() == 0 {
		h.begin(c.turn)
		return true, nil
	}
	if t := h.crowd(c.turn); t != nil {
		h.remove(t)
		h.begin(c.turn)
		return true, t.conn
	}
	h.wait(c.turn)
	h.watch()
	return false, nil
}

// force lets c begin, which cannot wait.
func (h *handshakes) force(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.turn != nil && c.turn.began.IsZero() {
		h.unwait(c.turn)
		h.begin(c.turn)
	}
}

// wait is under mu.
func (h *handshakes) wait(t *turn) {
	t.place = h.waiting.PushBack(t)
	t.inQueue = h.queues.add(t.from, t)
	h.place(t.from)
}

// unwait ends wait; under mu.
func (h *handshakes) unwait(t *turn) {
	h.waiting.Remove(t.place)
	if q := h.queues.by[t.from]; q.Len() == 1 && q.alone != nil {
		h.alone.Remove(q.alone)
		q.alone = nil
	}
	h.queues.remove(t.from, t.inQueue)
	t.inQueue = nil
}

// place sees to it that a queue is in alone if it belongs there; under mu.
func (h *handshakes) place(from netip.Prefix) {
	q := h.queues.by[from]
	if q == nil {
		return
	}
	switch belongs := h.near[from] == 0; {
	case belongs && q.alone == nil:
		q.alone = h.alone.PushBack(q)
	case !belongs && q.alone != nil:
		h.alone.Remove(q.alone)
		q.alone = nil
	}
}

// displace ends the last one who waits of a neighbourhood with many, for c, of whose own
// fewer do by a quarter, and reports whether there was one. A flood fills the queue, and
// users who are not known yet come behind it.
func (h *handshakes) displace(c *conn) bool {
	last := h.crowder(neighbourhood(c.source))
	if last == nil {
		return false
	}
	c.srv.sources.cut(last)
	return true
}

// crowder takes the one whom displace ends out of the queue; nil: there is none.
func (h *handshakes) crowder(from netip.Prefix) *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queues.largest(from)
	if q == nil {
		return nil
	}
	t := q.Back().Value.(*turn)
	h.end(t)
	return t.conn
}

// count is how many of a neighbourhood are in a handshake, or wait for their turn.
func (h *handshakes) count(from netip.Prefix) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.near[from] + h.queues.count(from)
}

// begin is under mu.
func (h *handshakes) begin(t *turn) {
	t.began = time.Now()
	t.place = h.under.PushBack(t)
	if h.near == nil {
		h.near = make(map[netip.Prefix]int)
	}
	h.near[t.from]++
	h.place(t.from)
}

// remove takes t out of under; under mu.
func (h *handshakes) remove(t *turn) {
	t.conn.turn = nil
	h.under.Remove(t.place)
	if h.near[t.from]--; h.near[t.from] == 0 {
		delete(h.near, t.from)
		h.place(t.from)
	}
}

// crowd returns who makes room for t at once: the slowest of the largest
// neighbourhood, if t is the first of his; nil: nobody. Under mu.
func (h *handshakes) crowd(t *turn) *turn {
	first := h.under.Front()
	if h.near[t.from] > 0 || first == nil || time.Since(first.Value.(*turn).began) < slowNeighbour {
		return nil
	}
	var largest netip.Prefix
	most := 1
	for p, n := range h.near {
		if n > most {
			largest, most = p, n
		}
	}
	for e := first; e != nil && most > 1; e = e.Next() {
		slow := e.Value.(*turn)
		if time.Since(slow.began) < slowNeighbour {
			return nil
		}
		if slow.from == largest {
			return slow
		}
	}
	return nil
}

// next is whose turn it is: the first of a neighbourhood of which nobody is in a
// handshake, and else the first; nil: nobody waits. Under mu.
func (h *handshakes) next() *turn {
	if e := h.alone.Front(); e != nil {
		return e.Value.(*crowd).Front().Value.(*turn)
	}
	if e := h.waiting.Front(); e != nil {
		return e.Value.(*turn)
	}
	return nil
}

// leave says that c is not in a handshake any more, nor waits for its turn. It may
// be called more than once.
func (h *handshakes) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.turn != nil {
		h.end(c.turn)
	}
}

// end is under mu.
func (h *handshakes) end(t *turn) {
	if t.began.IsZero() {
		t.conn.turn = nil
		h.unwait(t)
		return
	}
	h.remove(t)
	if next := h.next(); next != nil {
		h.unwait(next)
		h.begin(next)
		splice.Resume(next.conn.raw)
	}
}

// watch sets the timer; under mu.
func (h *handshakes) watch() {
	first := h.under.Front()
	if h.waiting.Len() == 0 || first == nil {
		return
	}
	began := first.Value.(*turn).began
	due := began.Add(slowHandshake)
	if h.alone.Len() > 0 {
		soon := began.Add(slowNeighbour)
		if again := time.Now().Add(slowNeighbour / 4); again.After(soon) {
			soon = again // not at once, if it was in vain
		}
		if soon.Before(due) {
			due = soon
		}
	}
	if h.timer != nil {
		if !due.Before(h.due) {
			return
		}
		h.timer.Stop()
	}
	h.set++
	set := h.set
	h.due, h.timer = due, time.AfterFunc(time.Until(due), func() { h.makeRoom(set) })
}

// makeRoom ends those who are slow, as many as wait, and of crowds those who are not quite
// as slow, for who waits alone. set is which timer has fired.
func (h *handshakes) makeRoom(set int) {
	var slow []*conn
	h.mu.Lock()
	if set != h.set { // another one has taken its place
		h.mu.Unlock()
		return
	}
	h.timer = nil
	for n := h.waiting.Len(); n > 0 && h.under.Len() > 0; n-- {
		t := h.under.Front().Value.(*turn)
		if time.Since(t.began) < slowHandshake {
			break
		}
		slow = append(slow, t.conn)
		h.end(t)
	}
	for e := h.alone.Front(); e != nil; e = h.alone.Front() {
		t := h.crowd(e.Value.(*crowd).Front().Value.(*turn))
		if t == nil {
			break
		}
		slow = append(slow, t.conn)
		h.end(t) // which lets the other one begin
	}
	h.watch()
	h.mu.Unlock()
	for _, c := range slow {
		c.srv.sources.cut(c)
	}
}
