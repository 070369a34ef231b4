package splice

// wheelSlots is how many ticks ahead a pair can be filed; what is due later is
// filed there and looked at again.
const wheelSlots = 128

// wheel holds pairs by the tick at which their deadline has to be looked at.
// Moving bytes does not touch it: a pair that turns out not to be due is filed
// again, once in an idle time-out and not once in a message.
type wheel struct {
	tick  int64
	slots [wheelSlots]*pair
	at    int64 // the last tick that was taken
	first int64 // no pair is due before; 0: no pair is filed
}

// file puts a pair that is not in the wheel where it is found at the first tick
// not before the deadline.
func (w *wheel) file(p *pair, deadline int64) {
	t := (deadline + w.tick - 1) / w.tick
	t = min(max(t, w.at+1), w.at+wheelSlots-1)
	p.slotOf = int32(t % wheelSlots)
	p.filed = true
	head := w.slots[p.slotOf]
	if p.next = head; head != nil {
		head.prev = p
	}
	w.slots[p.slotOf] = p
	if due := t * w.tick; w.first == 0 || due < w.first {
		w.first = due
	}
}

// drop takes a pair out.
func (w *wheel) drop(p *pair) {
	if !p.filed {
		return
	}
	p.filed = false
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		w.slots[p.slotOf] = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.next, p.prev = nil, nil
}

// take turns the wheel to now and takes out the pairs of all ticks that it
// passed, linked by next.
func (w *wheel) take(now int64) (due *pair) {
	to := now / w.tick
	for t := max(w.at+1, to-wheelSlots+1); t <= to; t++ {
		slot := t % wheelSlots
		for p := w.slots[slot]; p != nil; {
			next := p.next
			p.filed, p.prev, p.next = false, nil, due
			due, p = p, next
		}
		w.slots[slot] = nil
	}
	w.at = max(w.at, to)
	w.first = 0
	for t := w.at + 1; t < w.at+wheelSlots; t++ {
		if w.slots[t%wheelSlots] != nil {
			w.first = t * w.tick
			break
		}
	}
	return due
}

// alarm is for what must not wait for a tick: the end of a direction's pause, or
// what an opening waits for.
type alarm struct {
	at int64
	p  *pair
	d  int // the direction; opening for the task
}

const opening = -1

// alarms is a heap, the earliest first.
type alarms []alarm

func (h *alarms) push(e alarm) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].at <= s[i].at {
			return
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
}

func (h *alarms) pop() alarm {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], alarm{}
	s = s[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(s); c++ {
			if s[c].at < s[least].at {
				least = c
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
	*h = s
	return top
}
