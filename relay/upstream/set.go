package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

// Options are what a [Set] is made of.
type Options struct {
	Ways []Way // at least one
	// Check judges a target as written: policy.Egress.Check.
	Check func(transport.Target) error
	// Direct is used where no way is; nil: never.
	Direct transport.Dialer
	// Memory is what worked before; nil: nothing is remembered.
	Memory *Memory
	Log    *slog.Logger
}

// Set is the way out through upstreams. It is safe for concurrent use, and ended by
// Close.
type Set struct {
	rules  atomic.Pointer[rules]
	memory *Memory
	log    *slog.Logger

	ctx      context.Context
	cancel   context.CancelCauseFunc
	tasks    sync.WaitGroup // grows under mu, while the set is not closed
	up, down atomic.Int64   // bytes of streams and datagrams

	mu      sync.Mutex
	closed  bool
	changed chan struct{} // closed when a way that has failed answers
	ways    []*way        // as written
	network string        // the one that the records are of
	looked  time.Time
	regain  *way // one that a probe has put before those which were in use; nil: none
}

var _ transport.PacketDialer = (*Set)(nil)

// rules are what a reload can change while streams go on.
type rules struct {
	check  func(transport.Target) error
	direct transport.Dialer
}

// Judge replaces Options.Check and Options.Direct.
func (s *Set) Judge(check func(transport.Target) error, direct transport.Dialer) {
	s.rules.Store(&rules{check, direct})
}

// Bytes are those of all streams and datagrams so far.
func (s *Set) Bytes() (up, down int64) { return s.up.Load(), s.down.Load() }

const (
	// dialTime bounds how long a stream looks for a way. SOCKS5 clients give up at
	// some 10 to 30 seconds, and an error says more than silence.
	dialTime = 15 * time.Second
	// mostHeld is how long a stream is held back when all ways have failed.
	mostHeld = 3 * time.Second
	// lookTime is within which the network is taken for the same.
	lookTime = 5 * time.Second
)

// New returns a Set. Nothing is connected before the first stream, or Warm.
func New(o Options) *Set {
	s := &Set{memory: o.Memory, log: o.Log, changed: make(chan struct{})}
	s.Judge(o.Check, o.Direct)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	for _, w := range o.Ways {
		s.ways = append(s.ways, &way{Way: w, asking: asking{need: 1}})
	}
	s.look()
	for _, w := range s.ways {
		if w.Ask != nil && w.Probe > 0 {
			s.tasks.Go(func() { s.probes(w) })
		}
	}
	return s
}

// Close ends all ways and what is on them, and waits for their attempts.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel(errStopped)
	for _, w := range s.ways {
		w.Close()
	}
	s.tasks.Wait()
}

// spawn runs f in a goroutine that Close waits for. false: it is too late.
func (s *Set) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Go(f)
	return true
}

// Warm makes a way ready before there is a stream for it.
func (s *Set) Warm(ctx context.Context) error {
	_, err := s.choose(ctx, nil)
	return err
}

// DialStream implements transport.Dialer. It returns when a way is ready; the target
// is not connected by then, and how that goes the stream tells.
func (s *Set) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	r := s.rules.Load()
	if err := r.check(to); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, dialTime, errNoAnswer)
	defer cancel()
	c, err := s.open(limited, to, early)
	switch {
	case err == nil:
		return c, nil
	case r.direct != nil && s.mayGoDirect(ctx, err):
		return r.direct.DialStream(ctx, to, early)
	}
	return nil, err
}

// mayGoDirect reports whether what has failed is finding a way.
func (s *Set) mayGoDirect(ctx context.Context, err error) bool {
	return errors.Is(err, errNoWay) && ctx.Err() == nil && s.ctx.Err() == nil
}

var (
	errNoAnswer = errors.New("no upstream has answered in time")
	errNoWay    = errors.New("no way out")
)

// choose returns a way that is ready: the best, and one after the other beside it
// while that does not answer. except, if not nil, is the last choice.
func (s *Set) choose(ctx context.Context, except *way) (*way, error) {
	for until := time.Now().Add(mostHeld); ; {
		order, err := s.due(ctx, except, until)
		if err != nil {
			return nil, err
		}
		w := s.pick(order)
		if !w.Live() || w == except && len(order) > 1 {
			if w, err = s.race(ctx, order); err != nil {
				return nil, err
			}
		}
		if s.claim(w) {
			return w, nil
		}
	}
}

// due returns the ways that may be tried, the best first. If all of them have failed a
// moment ago, or are on trial, it waits, so that nobody's retries become a loop.
func (s *Set) due(ctx context.Context, except *way, until time.Time) ([]*way, error) {
	for {
		if s.ctx.Err() != nil {
			return nil, errStopped
		}
		order, first, changed := s.order(except)
		switch {
		case len(order) > 0:
			return order, nil
		case len(s.ways) == 0:
			return nil, fmt.Errorf("upstream: %w: there is none", errNoWay)
		case !time.Now().Before(until), s.rules.Load().direct != nil:
			return nil, s.failure()
		}
		if first.After(until) {
			first = until
		}
		timer := time.NewTimer(time.Until(first))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return nil, s.failure()
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}

// order returns the ways to try, the best first, or when there will be one, if nothing
// has changed before that.
func (s *Set) order(except *way) (order []*way, first time.Time, changed <-chan struct{}) {
	s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, w := range s.ways {
		next := w.retry
		if w.onTrial(now) {
			next = later(next, w.trial.Add(trialTime))
		}
		switch {
		case !next.After(now):
			order = append(order, w)
		case first.IsZero() || next.Before(first):
			first = next
		}
	}
	s.sort(order, now)
	if i := slices.Index(order, except); i >= 0 {
		order = append(slices.Delete(order, i, i+1), except)
	}
	return order, first, s.changed
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// look takes notice of another network. What failed in the last one says nothing here.
func (s *Set) look() {
	if s.memory == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	soon := now.Sub(s.looked) < lookTime
	if !soon {
		s.looked = now
	}
	s.mu.Unlock()
	if soon {
		return
	}
	network := s.memory.network()
	s.mu.Lock()
	same := network == "" || network == s.network
	s.mu.Unlock()
	if same {
		return
	}
	records := make([]record, len(s.ways))
	for i, w := range s.ways {
		records[i] = s.memory.known(network, w.Key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.network, s.regain = network, nil
	for i, w := range s.ways {
		w.failures, w.former, w.retry, w.blamed, w.worked, w.record = 0, 0, time.Time{}, false, time.Time{}, records[i]
	}
}

// race makes ways ready, the next beside one that has not answered, and returns the
// first that is.
func (s *Set) race(ctx context.Context, order []*way) (*way, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		w   *way
		err error
	}
	results := make(chan result, len(order))
	started, ended := 0, 0
	start := func() {
		w := order[started]
		started++
		if !s.spawn(func() { results <- result{w, s.ready(ctx, w)} }) {
			results <- result{w, errStopped}
		}
	}
	start()
	hedge := time.NewTimer(hedgeTime)
	defer hedge.Stop()
	for {
		select {
		case r := <-results:
			if r.err == nil {
				return r.w, nil
			}
			if ended++; ended == len(order) {
				return nil, s.failure()
			}
			if ended == started {
				start()
				hedge.Reset(hedgeTime)
			}
		case <-hedge.C:
			if started < len(order) {
				start()
				hedge.Reset(hedgeTime)
			}
		case <-ctx.Done():
			return nil, s.failure()
		case <-s.ctx.Done():
			return nil, errStopped
		}
	}
}

// failure says what is wrong with each way.
func (s *Set) failure() error {
	if s.ctx.Err() != nil {
		return errStopped
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, 0, len(s.ways))
	for _, w := range s.ways {
		why := "not tried yet"
		switch {
		case w.failures > 0:
			why = w.said
		case w.attempt != nil:
			why = "no answer yet"
		case !w.readied.IsZero():
			why = "was ready, but not in time"
		}
		all = append(all, w.Name+": "+why)
	}
	return fmt.Errorf("upstream: %w: %s", errNoWay, strings.Join(all, "; "))
}
