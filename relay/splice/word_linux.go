package splice

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// word is what others have left for a reactor.
type word struct {
	joined   []*pair
	given    []*pair // by other reactors
	orders   []order
	cut      transport.Status // for all; empty: no such order
	listens  []*listening     // new ones
	again    []*listening     // that have waited out an error
	stops    []stopped
	arrivals []arrival // accepted by other reactors
	trim     bool
}

func (w *word) empty() bool {
	return len(w.joined)+len(w.given)+len(w.orders)+len(w.listens)+len(w.again)+len(w.stops)+len(w.arrivals) == 0 && w.cut == "" && !w.trim
}

// order is word for one pair, to end, or for one task, to stop waiting.
type order struct {
	p      *pair
	status transport.Status
	t      *task
}

// tell leaves word and rings; false: the reactor has ended.
func (r *reactor) tell(word func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bell < 0 {
		return false
	}
	word()
	r.ringLocked()
	return true
}

// ringLocked wakes the goroutine. The bell is edge-triggered and never read: every write is an
// edge, and 2^64 of them do not happen.
func (r *reactor) ringLocked() {
	if r.bell >= 0 {
		one := [8]byte{1}
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(r.bell), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// heed takes the word that others left; true ends the reactor.
func (r *reactor) heed() (closing bool) {
	r.mu.Lock()
	r.asleep = false
	w := r.word
	r.word = word{joined: r.spare[:0]}
	closing = r.closing
	r.mu.Unlock()
	for i, p := range w.joined {
		w.joined[i] = nil
		r.put(p)
		r.begin(p)
	}
	r.spare = w.joined
	for _, p := range w.given {
		r.resume(p)
	}
	for _, l := range w.listens {
		r.listen(l)
	}
	for _, l := range w.again {
		if !l.ended {
			l.watch()
		}
	}
	for _, s := range w.stops {
		s.l.end(s.done)
	}
	for _, a := range w.arrivals {
		r.admit(a.l, a.fd, a.peer)
	}
	for _, o := range w.orders {
		r.obey(o)
	}
	if w.trim {
		r.trim()
	}
	if w.cut != "" {
		for _, p := range r.pairs {
			if p != nil && p.task == nil {
				r.end(p, w.cut, true)
			}
		}
	}
	return closing
}

// trim gives back what many openings at once have left.
func (r *reactor) trim() {
	for _, co := range r.idle {
		co.stop()
	}
	r.idle = nil
	r.alarms = slices.Clone(r.alarms)
}

// obey carries out an order for a pair or a task.
func (r *reactor) obey(o order) {
	if o.t != nil {
		if o.t.p.task == o.t {
			o.t.goOn()
		}
		return
	}
	// Under mu, where others give us pairs: it may be on its way to us.
	r.mu.Lock()
	owner := o.p.r.Load()
	here := owner == r && !o.p.ended && int(o.p.slot) < len(r.pairs) && r.pairs[o.p.slot] == o.p
	if owner == r && !o.p.ended && !here {
		r.orders = append(r.orders, o)
	}
	r.mu.Unlock()
	switch {
	case here:
		r.end(o.p, o.status, true)
	case owner != r:
		owner.tell(func() { owner.orders = append(owner.orders, o) })
	}
}
