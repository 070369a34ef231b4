package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// asking is what is asked of a way, and what has come of it; under the lock of its Set.
type asking struct {
	// Streams that have ended before anything came.
	ends    int       // in a row
	busy    bool      // it is being asked why
	known   time.Time // the other side has said that it knows the user
	verdict error     // it does not; nil: not that we know

	// Probes.
	probed  time.Time
	said    string    // what went wrong, for people
	good    int       // in a row
	need    int       // of these, before it is regained
	regains time.Time // when it was
}

const (
	// askTime bounds a question. What is not answered within it, no messenger waits for.
	askTime = 6 * time.Second
	// mostEnds is how many streams in a row may end before anything came until it is
	// asked whether that is the targets' fault.
	mostEnds = 3
	// knownTime is for how long it is taken to be theirs.
	knownTime = 10 * time.Minute
	// holdTime is how long a regained way must hold: one that does not, as probes pass
	// and what follows is frozen, needs twice as many good probes the next time, up
	// to mostNeed.
	holdTime = time.Hour
	mostNeed = 8
)

// probes asks an idle way now and then, while others are in use.
func (s *Set) probes(w *way) {
	var moved, opened int64
	for {
		// A half to three halves: no rhythm.
		select {
		case <-time.After(w.Probe/2 + rand.N(w.Probe)): //nolint:gosec // nothing secret
		case <-s.ctx.Done():
			return
		}
		before, own := moved, opened
		moved = s.up.Load() + s.down.Load()
		now := time.Now()
		s.mu.Lock()
		opened = w.opened
		idle := w.streams == 0 && opened == own && !w.retry.After(now)
		s.mu.Unlock()
		// A relay that nobody uses says nothing to anybody.
		if idle && moved != before {
			s.probe(w)
		}
	}
}

// probe asks a way on a connection of its own, which streams use if it works.
func (s *Set) probe(w *way) {
	s.look()
	ctx, cancel := context.WithTimeoutCause(s.ctx, readyTime+askTime, errSilent)
	defer cancel()
	err := s.ready(ctx, w)
	if err == nil {
		began := time.Now()
		if err = s.ask(ctx, w); err != nil {
			s.lost(w, began, err)
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &w.asking
	a.probed, a.said = now, ""
	if err != nil {
		a.said = plain(err)
		if w.blamed && slices.ContainsFunc(s.ways, func(o *way) bool { return o != w && o.Live() }) {
			w.blamed = false
			s.learn(w, false, now)
		}
		return
	}
	s.forgive(w)
	w.blamed, a.ends, a.verdict = false, 0, nil
	s.learn(w, true, now)
	if a.good++; a.good >= a.need && s.before(w, now) {
		s.regain, a.regains = w, now
		s.log.Info("upstream regained", "way", w.Name)
	}
}

// ask asks the other side.
func (s *Set) ask(ctx context.Context, w *way) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSilent)
	defer cancel()
	err := w.Ask(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrUser) {
		return context.Cause(ctx)
	}
	return err
}

// before reports whether w was written before the way that streams take; under mu.
func (s *Set) before(w *way, now time.Time) bool {
	others := slices.DeleteFunc(slices.Clone(s.ways), func(o *way) bool { return o == w || o.retry.After(now) })
	if len(others) == 0 {
		return false
	}
	s.sort(others, now)
	return slices.Index(s.ways, w) < slices.Index(s.ways, s.choice(others))
}

// sort puts the best ways first; under mu.
func (s *Set) sort(ways []*way, now time.Time) {
	slices.SortStableFunc(ways, func(a, b *way) int { return better(a, b, now) })
	if i := slices.Index(ways, s.regain); i > 0 {
		copy(ways[1:i+1], ways[:i])
		ways[0] = s.regain
	}
}

// pick returns the way that a stream takes: the first that is connected and knows the
// user, unless one that was regained is to be connected first.
func (s *Set) pick(order []*way) *way {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.choice(order)
}

// choice is pick under mu.
func (s *Set) choice(order []*way) *way {
	for _, w := range order {
		if w == s.regain || w.Live() && w.asking.verdict == nil {
			return w
		}
	}
	return order[0]
}

// trouble keeps a failure of a way; under mu.
func (s *Set) trouble(w *way, now time.Time, err error) {
	w.trouble(now, err)
	a := &w.asking
	a.good = 0
	if s.regain != w {
		return
	}
	s.regain = nil
	if now.Sub(a.regains) < holdTime {
		a.need = min(2*a.need, mostNeed)
	} else {
		a.need = 1
	}
}

// unanswered keeps that a stream has ended on w before anything came. A target may have
// refused it, or the other side does so for all: after some it is asked, as nothing else
// tells the two apart.
func (s *Set) unanswered(w *way) {
	if w == nil || w.Ask == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &w.asking
	a.ends++
	switch {
	case s.closed:
	case a.verdict != nil:
		s.trouble(w, now, a.verdict)
	case a.ends >= mostEnds && !a.busy && now.Sub(a.known) >= knownTime:
		a.busy = true
		s.tasks.Go(func() { s.doubt(w) })
	}
}

// doubt finds out why nothing comes on a way.
func (s *Set) doubt(w *way) {
	err := s.ask(s.ctx, w)
	if s.ctx.Err() != nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	a := &w.asking
	a.busy, a.ends = false, 0
	switch {
	case err == nil:
		a.known = now
	case errors.Is(err, ErrUser):
		a.verdict = err
		fallthrough
	default:
		s.trouble(w, now, err)
	}
	failures := w.failures
	s.mu.Unlock()
	if err != nil {
		s.complain("upstream refuses", w, failures, err)
	}
}
