package splice

import (
	"sync"
	"time"

	"relay/transport"
)

// sweeper keeps the time-outs of the flows on the portable path, and parks what is
// idle: a pump only stores the time of its last movement. It runs while there are flows,
// so that an idle relay has no timer at all.
type sweeper struct {
	tick  time.Duration
	after int64 // what moves nothing for so long is parked: see idle.go
	epoch time.Time

	mu    sync.Mutex
	flows list
	stop  chan struct{} // closed to end it early; nil if it does not run
	swept chan struct{} // closed when it has ended
}

// clock is the time since epoch.
func (s *sweeper) clock() int64 { return int64(time.Since(s.epoch)) }

func (s *sweeper) add(f *pumped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		s.stop, s.swept = make(chan struct{}), make(chan struct{})
		go s.sweep(s.stop, s.swept)
	}
	f.last.Store(s.clock())
	s.flows.push(f)
}

func (s *sweeper) remove(f *pumped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flows.drop(f)
}

func (s *sweeper) all() []*pumped {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*pumped
	for f := s.flows.head; f != nil; f = f.next {
		out = append(out, f)
	}
	return out
}

// rest ends the sweeper if there is nothing left to sweep.
func (s *sweeper) rest() {
	s.mu.Lock()
	stop, swept := s.stop, s.swept
	if stop == nil || s.flows.head != nil {
		s.mu.Unlock()
		return
	}
	s.stop = nil
	s.mu.Unlock()
	close(stop)
	<-swept
}

func (s *sweeper) sweep(stop, swept chan struct{}) {
	defer close(swept)
	t := time.NewTicker(s.tick)
	defer t.Stop()
	var late, left, idle, lost, over, gone []*pumped
	for turn := 1; ; turn++ {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		now := s.clock()
		late, left, idle, lost, over, gone = late[:0], left[:0], idle[:0], lost[:0], over[:0], gone[:0]
		s.mu.Lock()
		if s.flows.head == nil && s.stop == stop {
			s.stop = nil
			s.mu.Unlock()
			return
		}
		for f := s.flows.head; f != nil; f = f.next {
			switch {
			case f.closed.Load():
				if f.overdue(now) {
					over = append(over, f)
				}
			case f.late(now):
				late = append(late, f)
			case f.deserted():
				left = append(left, f)
			case f.canRest(now, s.after):
				idle = append(idle, f)
			case turn%lostEvery == 0 && f.lost():
				lost = append(lost, f)
			case turn%lostEvery == 0 && f.gone != nil && f.gone():
				gone = append(gone, f)
			}
		}
		s.mu.Unlock()
		for _, f := range over {
			f.tell() // a write that no close ends may last: the server of HTTP/2 has those
		}
		for _, f := range late {
			f.end(transport.Timeout, false)
		}
		for _, f := range left {
			f.end(transport.TargetGone, false) // its own system keeps it as long
		}
		for _, f := range idle {
			f.rest()
		}
		for _, f := range lost {
			f.wake()
		}
		for _, f := range gone {
			f.end(transport.ClientGone, true) // whoever would read of it waits for the target
		}
		for _, s := range [][]*pumped{late, left, idle, lost, over, gone} {
			clear(s)
		}
	}
}

// list is an intrusive list of flows: no memory beyond the flows themselves.
type list struct{ head *pumped }

func (l *list) push(f *pumped) {
	f.next = l.head
	if l.head != nil {
		l.head.prev = f
	}
	l.head = f
}

func (l *list) drop(f *pumped) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		l.head = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.next, f.prev = nil, nil
}
