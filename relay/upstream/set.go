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
	attempts sync.WaitGroup
	up, down atomic.Int64 // bytes of streams

	mu   sync.Mutex
	ways []*way // as written
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

// Bytes are those of all streams so far.
func (s *Set) Bytes() (up, down int64) { return s.up.Load(), s.down.Load() }

// dialTime bounds how long a stream looks for a way. SOCKS5 clients give up at some
// 10 to 30 seconds, and an error says more than silence.
const dialTime = 15 * time.Second

// New returns a Set. Nothing is connected before the first stream, or Warm.
func New(o Options) *Set {
	s := &Set{memory: o.Memory, log: o.Log}
	s.Judge(o.Check, o.Direct)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	for _, w := range o.Ways {
		s.ways = append(s.ways, &way{Way: w, rank: s.memory.last(w.Key)})
	}
	return s
}

// Close ends all ways and what is on them, and waits for their attempts.
func (s *Set) Close() {
	s.cancel(errStopped)
	for _, w := range s.ways {
		w.Close()
	}
	s.attempts.Wait()
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
	ctx, cancel := context.WithTimeoutCause(ctx, dialTime, errNoAnswer)
	defer cancel()
	w, err := s.choose(ctx, nil)
	if err != nil {
		if r.direct != nil && s.ctx.Err() == nil && ctx.Err() == nil {
			return r.direct.DialStream(ctx, to, early)
		}
		return nil, err
	}
	return s.open(ctx, w, to, early)
}

var errNoAnswer = errors.New("no upstream has answered in time")

// choose returns a way that is ready: the best, and one after the other beside it
// while that does not answer. except, if not nil, is the last choice.
func (s *Set) choose(ctx context.Context, except *way) (*way, error) {
	if s.ctx.Err() != nil {
		return nil, errStopped
	}
	order, wait := s.order(except)
	if len(order) == 0 {
		return nil, errors.New("upstream: there is no way")
	}
	if order[0].Live() {
		return order[0], nil
	}
	if wait > 0 {
		// All have failed a moment ago. Whoever asks again and again is held
		// back, so that nobody's retries become a loop.
		select {
		case <-time.After(min(wait, mostHeld)):
		case <-ctx.Done():
			return nil, s.failure()
		}
		if wait > mostHeld {
			return nil, s.failure()
		}
	}
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
		s.attempts.Go(func() { results <- result{w, s.ready(ctx, w)} })
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

// mostHeld is how long a stream is held back when all ways have failed.
const mostHeld = 3 * time.Second

// order returns the ways to try, the best first, and how long none of them should be.
func (s *Set) order(except *way) (order []*way, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var later []*way
	for _, w := range s.ways {
		if w.retry.After(now) && !w.Live() {
			later = append(later, w)
		} else {
			order = append(order, w)
		}
	}
	slices.SortStableFunc(order, better)
	if len(order) == 0 {
		first := slices.MinFunc(later, func(a, b *way) int { return a.retry.Compare(b.retry) })
		return later, first.retry.Sub(now)
	}
	if i := slices.Index(order, except); i >= 0 {
		order = append(slices.Delete(order, i, i+1), except)
	}
	return order, 0
}

// failure says what is wrong with each way.
func (s *Set) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, w := range s.ways {
		if w.err != nil {
			all = append(all, fmt.Sprintf("%s: %v", w.Name, w.err))
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("upstream: %w", errNoAnswer)
	}
	return fmt.Errorf("upstream: no way out: %s", strings.Join(all, "; "))
}

// State is what is known of a way.
type State struct {
	Name     string        `json:"name"`
	Live     bool          `json:"live"`               // it has a connection
	Streams  int           `json:"streams"`            // open on it
	Opened   int64         `json:"opened"`             // streams since the start
	Took     time.Duration `json:"took_ns"`            // of the last connection, names and handshake
	Failures int           `json:"failures,omitempty"` // in a row
	Trouble  string        `json:"trouble,omitempty"`  // the last failure
	Failed   time.Time     `json:"failed,omitzero"`    // when that was
}

// States are the ways, as they were written.
func (s *Set) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []State
	for _, w := range s.ways {
		st := State{Name: w.Name, Live: w.Live(), Streams: w.streams, Opened: w.opened, Took: w.took, Failures: w.failures, Failed: w.failed}
		if w.err != nil {
			st.Trouble = w.err.Error()
		}
		out = append(out, st)
	}
	return out
}
