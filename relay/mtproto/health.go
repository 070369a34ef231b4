package mtproto

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"relay/relay/policy"
	"relay/transport"
)

const (
	downFirst = 30 * time.Second // a way that failed once is left alone for so long,
	downMost  = 10 * time.Minute // twice as long each time, and no longer than this
	retryTime = 15 * time.Second // then somebody tries, and has so long to succeed
	probeTime = 5 * time.Second
	// enoughSilent users one after the other whom it brings nothing make a way fail that
	// nobody probes, or manySilent clients, whosever they are. One may have left before his
	// answer, or say nonsense all day.
	enoughSilent = 3
	manySilent   = 10
	// askedTime is how long a data centre is probed after somebody has asked for it.
	askedTime = 24 * time.Hour
)

// Health is what is known of the ways to data centres. It outlives tables: every
// listener has one, and a reload makes new ones. It may be used by many at once.
type Health struct {
	changed func(Change)

	mu       sync.Mutex
	down     map[Way]*outage
	up       map[Way]time.Time   // since when a way that was tried has answered
	failures map[Way]Failure     // the last one, also of a way that answers again
	doubted  map[Way]bool        // a watcher is to find out
	silent   map[Way]silence     // without one
	probed   map[Way]time.Time   // when one did
	asked    map[int16]time.Time // by id, without the stand-ins
	watchers int
	news     chan struct{} // tells a watcher to look again
}

// outage is what is known of a way that has failed.
type outage struct {
	began  time.Time
	until  time.Time
	length time.Duration
	trying bool // somebody was let through to see
	told   bool
	mute   bool // it takes connections, which takes no mark off
}

// errSilent is of a way that takes connections, and of which clients hear nothing.
var errSilent = errors.New("mtproto: takes connections and says nothing")

// silence is how many clients a way brought nothing, since it brought one something.
type silence struct {
	clients int
	users   []uint64 // whose they were
}

// Change is a way that has begun to fail, or has ended doing so.
type Change struct {
	DC      int // the data centre that somebody wanted
	Way     Way
	Down    bool
	Instead Way   // if Down, what is used now; Way itself if there is nothing better
	Reason  error // if Down
}

// NewHealth returns a Health that knows nothing. changed, if not nil, is called
// for changes and must not block. An outage of this machine's own network is none.
func NewHealth(changed func(Change)) *Health {
	if changed == nil {
		changed = func(Change) {}
	}
	return &Health{
		changed: changed, down: make(map[Way]*outage), up: make(map[Way]time.Time), failures: make(map[Way]Failure),
		doubted: make(map[Way]bool), silent: make(map[Way]silence), probed: make(map[Way]time.Time), asked: make(map[int16]time.Time), news: make(chan struct{}, 1),
	}
}

// choose returns the first way that is not known to be down, for a client that
// wants id.
func (h *Health) choose(id int16, ways []Way) Way {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Sub(h.asked[id]) > askedTime {
		h.wake()
	}
	h.asked[id] = now
	return h.best(ways, now, h.watchers == 0)
}

// best is choose, under h.mu. A way whose time is over is a watcher's to try.
// Without one, try is true, and it goes to a single connection: many clients
// would wait in vain.
func (h *Health) best(ways []Way, now time.Time, try bool) Way {
	best := ways[0] // when all are down: the one to be tried soonest
	if len(h.down) == 0 || len(ways) == 1 {
		return best
	}
	for _, w := range ways {
		o := h.down[w]
		if o == nil {
			return w
		}
		if try && !now.Before(o.until) {
			o.claim(now)
			return w
		}
		if o.until.Before(h.down[best].until) {
			best = w
		}
	}
	return best
}

// claim is for whoever tries a way that is down.
func (o *outage) claim(now time.Time) { o.until, o.trying = now.Add(retryTime), true }

// failed marks a way that could not be used, one of those to id.
func (h *Health) failed(id int16, ways []Way, w Way, reason error) {
	h.mu.Lock()
	now := time.Now()
	h.failures[w] = Failure{now, why(reason)}
	delete(h.doubted, w)
	o := h.down[w]
	begins := o == nil
	switch {
	case begins:
		o = &outage{began: now, length: downFirst}
		h.down[w] = o
		delete(h.up, w)
		h.wake()
	case now.Before(o.until) && !o.trying:
		h.mu.Unlock()
		return // of those who were on their way when the first one failed
	default:
		o.length = min(2*o.length, downMost)
	}
	o.until, o.trying, o.mute = now.Add(o.length), false, errors.Is(reason, errSilent)
	delete(h.silent, w)
	tell := !o.told && !errors.Is(reason, policy.ErrNetUnreachable)
	o.told = o.told || tell
	instead := h.best(ways, now, false)
	h.mu.Unlock()
	if tell {
		dc, _ := number(id)
		h.changed(Change{DC: dc, Way: w, Down: true, Instead: instead, Reason: reason})
	}
}

// reached takes the mark off a way.
func (h *Health) reached(id int16, w Way) {
	h.mu.Lock()
	o := h.down[w]
	delete(h.down, w)
	if _, ok := h.up[w]; !ok {
		h.up[w] = time.Now()
	}
	h.mu.Unlock()
	if o != nil && o.told {
		dc, _ := number(id)
		h.changed(Change{DC: dc, Way: w})
	}
}

// doubt has a watcher find out whether it was the way that brought a client nothing, or
// the client. false: there is no watcher.
func (h *Health) doubt(w Way) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers > 0 && h.down[w] == nil {
		h.doubted[w] = true
		h.wake()
	}
	return h.watchers > 0
}

// unheard notes that a way brought a client of a user nothing. true: it has failed, for all
// that can be known without a watcher.
func (h *Health) unheard(user uint64, w Way) bool {
	if h.doubt(w) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down[w] != nil {
		return true
	}
	s := h.silent[w]
	if s.clients++; !slices.Contains(s.users, user) {
		s.users = append(s.users, user)
	}
	h.silent[w] = s
	return s.clients >= manySilent || len(s.users) >= enoughSilent
}

// heard notes that a way has brought a client something. One that is down is
// looked at by a watcher; without one it is up.
func (h *Health) heard(id int16, w Way) {
	h.mu.Lock()
	delete(h.silent, w)
	o, watched := h.down[w], h.watchers > 0
	if o != nil && watched && !o.trying {
		if soon := h.probed[w].Add(retryTime); soon.Before(o.until) {
			o.until = soon
			h.wake()
		}
	}
	h.mu.Unlock()
	if o != nil && !watched {
		h.reached(id, w)
	}
}

// connected notes that a way takes connections, which without a watcher is a reason to use
// it again, unless it has done so before for nothing. A watcher's mark is its to take off:
// who was on his way when it was made would have the next ones sent after him.
func (h *Health) connected(id int16, w Way) {
	h.mu.Lock()
	o := h.down[w]
	stays := o != nil && (o.mute || h.watchers > 0)
	h.mu.Unlock()
	if !stays {
		h.reached(id, w)
	}
}

// unprobed leaves a way in doubt whose probe a reload has ended.
func (h *Health) unprobed(w Way) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.probed, w)
	if o := h.down[w]; o != nil {
		o.until = time.Now()
	} else {
		h.doubted[w] = true
	}
}

// wake makes a watcher look again.
func (h *Health) wake() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// watching counts watchers.
func (h *Health) watching(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers += n
}

// unusable reports whether a refused request says something about the way to its
// target. What policy or the user's account refuse does not, unless it is what a
// name leads to: where names are blocked they lead to nowhere or to this network.
func unusable(w Way, reason error) bool {
	for _, is := range []error{policy.ErrRefused, policy.ErrTimeout, context.DeadlineExceeded, policy.ErrNetUnreachable, policy.ErrHostUnreachable} {
		if errors.Is(reason, is) {
			return true
		}
	}
	return w.Target.IsName() &&
		(errors.Is(reason, policy.ErrNotFound) || errors.Is(reason, policy.ErrResolve) || errors.Is(reason, policy.ErrDenied))
}

// due is a way to be probed.
type due struct {
	id  int16
	way Way
}

// Watch probes the ways to data centres until ctx ends: each about once in every,
// at times of its own, and one that is down when its outage may be over. Only
// those are probed that clients have asked for within a day: a relay that nobody
// uses says nothing to anybody, and neither does one whose clients are tests.
// A way over WebSocket that is second to addresses is left alone while it is not
// known to be down. Probes go one after the other: there is never a burst.
func (t *Table) Watch(ctx context.Context, dialer transport.Dialer, every time.Duration) {
	t.health.watching(+1)
	defer t.health.watching(-1)
	next := make(map[Way]time.Time)
	for {
		now, wait := t.due(next, every)
		for _, d := range now {
			if _ = t.probe(ctx, dialer, d); ctx.Err() != nil {
				return
			}
		}
		if len(now) > 0 {
			continue // that took its time
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-t.health.news:
			timer.Stop()
		}
	}
}

// due returns what is to be probed now, and how long it is until the next. next
// are the times of ways that are not known to be down.
func (t *Table) due(next map[Way]time.Time, every time.Duration) (list []due, wait time.Duration) {
	h := t.health
	h.mu.Lock()
	defer h.mu.Unlock()
	now, wait := time.Now(), every
	seen := make(map[Way]bool)
	for id, asked := range h.asked {
		ways := t.ways(id)
		if now.Sub(asked) > askedTime {
			continue
		}
		for _, w := range ways {
			o := h.down[w]
			if seen[w] || o == nil && w.Web() && !ways[0].Web() {
				continue
			}
			seen[w] = true
			if next[w].IsZero() {
				next[w] = now.Add(rand.N(every))
			}
			at := next[w]
			if o != nil {
				at = o.until
			} else if soon := h.probed[w].Add(retryTime); h.doubted[w] && soon.Before(at) {
				at = soon
			}
			if now.Before(at) {
				wait = min(wait, at.Sub(now))
				continue
			}
			if o != nil {
				o.claim(now)
			}
			next[w] = now.Add(every/2 + rand.N(every))
			h.probed[w] = now
			delete(h.doubted, w)
			list = append(list, due{id, w})
		}
	}
	return list, wait
}

// probe connects, asks what any client begins with, closes again, and notes what it finds:
// who sits on the way, or another relay, may take a connection and lead nowhere. Over
// WebSocket a server has proved itself before that.
func (t *Table) probe(ctx context.Context, dialer transport.Dialer, d due) error {
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := dialer.DialStream(limited, d.way.Target, nil)
	if err == nil {
		if d.way.Web() {
			_, err = d.way.open(limited, c, t.roots)
		} else {
			err = ask(limited, c, d.id)
		}
		_ = transport.Abort(c) // no reason to keep the port busy
	} else if !unusable(d.way, err) {
		return err
	}
	switch {
	case err == nil:
		t.health.reached(d.id, d.way)
	case ctx.Err() == nil:
		t.health.failed(d.id, t.ways(d.id), d.way, err)
	default:
		t.health.unprobed(d.way)
	}
	return err
}
