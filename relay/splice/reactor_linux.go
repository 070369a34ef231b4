package splice

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

const (
	// batch is how many events one epoll_wait fetches.
	batch = 256
	// laterTurn is how many of those who give way have their turn at once when
	// nobody else wants anything. Otherwise it is one.
	laterTurn = 8
	// laterAccepts is how many connections are accepted before one of those who give
	// way has his turn: whoever is in the queue may be a user.
	laterAccepts = 16
	// mostBusy is how many rounds of turns follow each other before other
	// goroutines have their chance.
	mostBusy = 8
)

// reactor is one goroutine and everything that it alone touches: the pairs it
// was given, their descriptors, the buffers that bytes pass through. Others
// leave word for it under mu.
type reactor struct {
	core *Core
	epfd int
	door int             // another epoll, in which epfd is the only one; see knock_linux.go
	deaf bool            // door does not hear of epfd
	file *os.File        // door, in the runtime's poller
	raw  syscall.RawConn // of file
	done chan struct{}   // closed when the goroutine has ended

	mu   sync.Mutex
	bell int // eventfd: somebody left word; -1 when nobody listens any more
	word
	spare   []*pair  // the other half of joined's double buffer
	free    []uint32 // slots
	slots   uint32   // how many there are
	names   uint32   // how many pairs there have been
	asleep  bool     // for longer than a tick
	closing bool

	pairs     []*pair      // by slot
	listening []*listening // by -2 - their number; nil: one that has ended
	idle      []*coroutine

	events [batch]unix.EpollEvent
	now    int64 // since epoch, as of this batch
	due    int64 // when expire has something to do, or before; 0: never
	armed  int64 // the due that the poller knows
	wheel  wheel
	alarms alarms
	later  fifo    // tasks that give way to others
	queue  []*pair // those that have used up their turn
	turnOf []*pair // the other half of queue's double buffer
	more   bool    // a listener has used up its turn
	passed int     // turns of listeners since one of later had his
	busy   int     // rounds since the last sleep

	in    []byte // what was read
	a, b  []byte // what codecs make of it
	pipe  pipe
	epoch time.Time // core.epoch

	load   load
	share  share
	unsent int32 // see systemUnsent

	kept int // bytes of all rests, see mostRoom
}

func reactorCount() int { return runtime.GOMAXPROCS(0) }

// newReactors starts as many as the core wants, or as the system gives.
func newReactors(c *Core) []*reactor {
	var out []*reactor
	for range c.size {
		r, err := newReactor(c)
		if err != nil {
			break
		}
		out = append(out, r)
	}
	return out
}

func newReactor(c *Core) (*reactor, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, err
	}
	r := &reactor{core: c, epfd: epfd, door: -1, bell: bell, done: make(chan struct{}), asleep: true, epoch: c.epoch, pipe: noPipe, unsent: systemUnsent()}
	// What a codec makes of a read can be more: a record that began before.
	r.in, r.a, r.b = make([]byte, largeRead), make([]byte, 0, largeRead*3/2), make([]byte, 0, largeRead*3/2)
	r.wheel.tick = int64(c.tick)
	err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
	if err == nil {
		err = r.hang()
	}
	if err == nil {
		r.file = os.NewFile(uintptr(r.door), "epoll")
		// Fails where the runtime could not take it in.
		err = r.file.SetReadDeadline(time.Time{})
	}
	if err == nil {
		r.raw, err = r.file.SyscallConn()
	}
	if err != nil {
		r.dispose()
		return nil, err
	}
	go r.run()
	return r, nil
}

func (r *reactor) dispose() {
	// A Cut may come at any time: by then the number means another descriptor.
	r.mu.Lock()
	_ = unix.Close(r.bell)
	r.bell = -1
	r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
	} else if r.door >= 0 {
		_ = unix.Close(r.door)
	}
	_ = unix.Close(r.epfd)
	r.pipe.close()
	for _, co := range r.idle {
		co.stop()
	}
}

// close ends the goroutine of a reactor that has no pairs.
func (r *reactor) close() {
	r.tell(func() { r.closing = true })
	<-r.done
}

func (r *reactor) trimSoon() { r.tell(func() { r.word.trim = true }) }

func (r *reactor) cutAll(s transport.Status) { r.tell(func() { r.cut = s }) }

// run is the goroutine. It sleeps in the runtime's poller, in which its door is
// one descriptor of many: blocking in epoll_wait would give the processor
// away at every sleep and cost half as much again for a lone message.
func (r *reactor) run() {
	defer close(r.done)
	defer r.dispose()
	for {
		err := r.raw.Read(r.turns)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		// As long as a deadline is past, the poller lets nobody in.
		_ = r.file.SetReadDeadline(time.Time{})
		r.armed = 0
	}
}

// turns works until there is nothing to do; true ends the reactor.
func (r *reactor) turns(uintptr) bool {
	for {
		n, err := epollWait(r.epfd, &r.events)
		if err != nil {
			return true // cannot be: the descriptor is ours
		}
		r.now = int64(time.Since(r.epoch))
		r.wake()
		if r.share.pressed && n > 0 {
			r.hear(false)
		}
		if r.heed() {
			return true
		}
		for i := range r.events[:n] {
			r.event(&r.events[i])
		}
		// After the events: what has come in time counts, however late we look.
		if r.due != 0 && r.now >= r.due {
			r.expire()
		}
		if r.later.len() > 0 {
			r.doLater(n > 0 || r.more)
		}
		if len(r.queue) > 0 || r.more {
			r.more = false
			r.goOn()
			// Sleeping for it would leave this thread, and where other programs
			// want the processors, another one is long in coming.
			if r.busy++; r.busy == mostBusy {
				r.busy = 0
				runtime.Gosched()
			}
			continue
		}
		if n < batch && r.sleep() {
			return false
		}
	}
}

// sleep prepares for waiting; false says that there is word already.
func (r *reactor) sleep() bool {
	r.busy = 0
	if r.deaf {
		r.hear(true)
		return false // what came before that nobody will tell
	}
	if r.due != r.armed {
		r.armed = r.due
		var at time.Time
		if r.due != 0 {
			at = r.epoch.Add(time.Duration(r.due))
		}
		_ = r.file.SetReadDeadline(at)
	}
	r.share.since = int64(time.Since(r.epoch))
	r.mu.Lock()
	defer r.mu.Unlock()
	// Whoever joins waits to be taken for a tick at most: its time-out begins then.
	r.asleep = r.due == 0 || r.due > r.now+r.wheel.tick
	return r.word.empty() && !r.closing
}

// dueBy sees to it that expire looks at the clock then.
func (r *reactor) dueBy(at int64) {
	if r.due == 0 || at < r.due {
		r.due = at
	}
}

// event passes one event on to the pair that it is for. Slots are used again;
// the name in the event tells whether it still means the pair in the slot.
func (r *reactor) event(e *unix.EpollEvent) {
	switch {
	case e.Fd == -1:
		return // the bell
	case e.Fd < -1:
		if l := r.listening[-2-e.Fd]; l != nil {
			l.accept()
		}
		return
	}
	slot := int(e.Fd) >> 1
	if slot >= len(r.pairs) {
		return // of one whose other descriptor could not be watched
	}
	if p := r.pairs[slot]; p != nil && p.name == uint32(e.Pad) {
		r.ready(p, int(e.Fd&1), e.Events)
		if (r.share.give > 0 || r.core.restless && rand.IntN(8) == 0) && !p.ended && p.task == nil {
			r.give(p)
		}
	}
}

// doLater lets those who give way to others have their turn. It is counted, not
// timed: where other programs want the processors as well, time passes without
// us, and would be theirs.
func (r *reactor) doLater(others bool) {
	n := laterTurn
	if others {
		n = 1
		if r.passed++; r.more && r.passed < laterAccepts {
			n = 0
		}
	}
	if n > 0 {
		r.passed = 0
	}
	// One that was interrupted has gone on already, and it is nobody's turn.
	for r.later.skip(); n > 0 && r.later.len() > 0; r.later.skip() {
		n--
		r.later.pop().goOn()
	}
	r.more = r.more || r.later.len() > 0
}

// goOn gives another turn to those who have not finished theirs.
func (r *reactor) goOn() {
	r.turnOf, r.queue = r.queue, r.turnOf[:0]
	for i, p := range r.turnOf {
		r.turnOf[i] = nil
		if p.queued = false; !p.ended {
			r.move(p, toFar)
			r.move(p, toNear)
		}
	}
}

// expire looks at those whose alarm rings and ends the pairs whose time is over.
func (r *reactor) expire() {
	r.due = 0
	for len(r.alarms) > 0 && r.alarms[0].at <= r.now {
		switch e := r.alarms.pop(); {
		case e.p.ended:
		case e.d == opening:
			// Maybe it is not waiting for this any more; then it waits again.
			if t := e.p.task; t != nil && !t.behind {
				t.goOn()
			}
		default:
			e.p.ways[e.d].paused--
			e.p.last = r.now
			r.move(e.p, e.d)
		}
	}
	for p := r.wheel.take(r.now); p != nil; {
		next := p.next
		p.next, p.prev = nil, nil
		at, paused := p.deadline(), p.ways[0].paused+p.ways[1].paused > 0
		switch {
		case at == 0: // no limit holds any more
		case paused: // a pause is no idleness
			r.wheel.file(p, r.now+r.wheel.tick)
		case at > r.now:
			r.wheel.file(p, at)
		case p.task != nil:
			p.task.goOn()
		case p.mayAsk():
			r.ask(p)
		default:
			r.end(p, transport.Timeout, false)
		}
		p = next
	}
	if r.wheel.first != 0 {
		r.dueBy(r.wheel.first)
	}
	if len(r.alarms) > 0 {
		r.dueBy(r.alarms[0].at)
	}
}
