package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"relay/transport"
)

// Way is one way to an upstream.
type Way struct {
	// Name is for people and for logs. It has neither addresses nor secrets.
	Name string
	// Key tells the way from others in what is remembered between runs: whatever
	// is the same for the same link and front. It is only kept as a keyed hash.
	Key string
	// Dialer opens streams and datagrams on the way.
	Dialer transport.PacketDialer
	// Ready returns when a stream could begin at once. It connects if need be.
	Ready func(ctx context.Context) error
	// Live reports whether Ready would return at once.
	Live func() bool
	// Close ends the connections of the way.
	Close func()
	// Ask finds out, on a connection of the way, whether the other side would serve
	// streams. Its error matches [ErrUser] if that does not know the user. nil: nobody
	// is asked.
	Ask func(ctx context.Context) error
	// Probe is about how often Ask is called while the way is idle and others are in
	// use; 0: never.
	Probe time.Duration
}

// ErrUser says that the other side answers, and does not know the user.
var ErrUser = errors.New("the server does not know the user")

const (
	// readyTime is how long a way may take for its connection: names, several
	// addresses, a handshake.
	readyTime = 12 * time.Second
	// hedgeTime is after how long the next way is tried beside one that has not
	// answered. Two seconds and a handshake are within three.
	hedgeTime = 2 * time.Second
	// mostBackoff is the longest time for which a way that failed is left alone. It is
	// how long somebody waits, at worst, when what was in the way is gone.
	mostBackoff = 20 * time.Second
	// forgetTime is after how long without a failure the failures count no more.
	forgetTime = 10 * time.Minute
	// keepTime is within which a success is not learned from again.
	keepTime = time.Minute
	// trialTime is how long a stream has for its answer on a way that has failed more
	// than once, before another one begins there: all those that have waited would be
	// a connection each.
	trialTime = time.Second
	// relapseTime is how long after a failure the failures count on where what has
	// answered since did not hold. It is longer than any back-off.
	relapseTime = time.Minute
)

// way is a Way with what is known of it; under the lock of its Set.
type way struct {
	Way
	record   record    // on this network
	worked   time.Time // when that was learned last
	blamed   bool      // it has failed, and nothing was learned from it yet
	failures int       // in a row
	former   int       // that were forgotten when something answered last
	trial    time.Time // a stream has begun, where failures count
	failed   time.Time // the last one
	retry    time.Time // not before
	err      error     // the last failure
	said     string    // the same, for people
	readied  time.Time // when Ready has made a connection last
	took     time.Duration
	attempt  *attempt // at Ready; nil: none
	streams  int
	opened   int64
	asking   asking
}

// attempt is one call of Ready that several wait for.
type attempt struct {
	done chan struct{}
	err  error
}

// trouble keeps a failure. The first one costs no wait: the next connection may be
// better, and there may be no other way.
func (w *way) trouble(now time.Time, err error) {
	w.failures, w.blamed = w.standing(now)+1, true
	if errors.Is(err, transport.ErrUnsound) && now.Sub(w.failed) < relapseTime {
		// An answer that is followed by this is no success.
		w.failures = max(w.failures, w.former+1)
	}
	w.failed, w.err, w.said = now, err, plain(err)
	w.retry = now
	if w.failures > 1 {
		wait := min(time.Second<<min(w.failures-2, 10), mostBackoff)
		// A half to three halves, so that the entries of a country do not
		// come back in the same second.
		w.retry = now.Add(wait/2 + rand.N(wait)) //nolint:gosec // nothing secret
	}
}

// mostSaid is how long a reason is.
const mostSaid = 300

// plain is an error for a terminal: some of it may be from who has answered.
func plain(err error) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(err.Error(), "?"))
	if len(text) > mostSaid {
		text = strings.ToValidUTF8(text[:mostSaid], "") + "…"
	}
	return text
}

// standing is how many failures in a row still count.
func (w *way) standing(now time.Time) int {
	if now.Sub(w.failed) > forgetTime {
		return 0
	}
	return w.failures
}

// forgive lets streams begin again on a way that has answered; under the lock.
func (s *Set) forgive(w *way) {
	if w.failures > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	w.failures, w.former, w.retry = 0, w.failures, time.Time{}
}

// onTrial reports whether a way is left to the stream that has begun on it last.
func (w *way) onTrial(now time.Time) bool {
	return w.standing(now) > 1 && now.Sub(w.trial) < trialTime
}

// claim makes it the caller's to begin a stream on a way that choose has found. false:
// somebody else was faster.
func (s *Set) claim(w *way) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if w.onTrial(now) {
		return false
	}
	w.trial = now
	return true
}

// better orders ways: those that do not fail first, then by how well they did on this
// network, then as they were written (the caller's order).
func better(a, b *way, now time.Time) int {
	if d := a.standing(now) - b.standing(now); d != 0 {
		return d
	}
	return b.record.step(now) - a.record.step(now)
}

// ready makes the way ready, or waits for whoever is at it.
func (s *Set) ready(ctx context.Context, w *way) error {
	if w.Live() {
		return nil
	}
	s.mu.Lock()
	a := w.attempt
	switch {
	case a != nil:
	case w.retry.After(time.Now()):
		// It has failed since the caller has chosen it.
		defer s.mu.Unlock()
		return w.err
	case s.closed:
		s.mu.Unlock()
		return errStopped
	default:
		a = &attempt{done: make(chan struct{})}
		w.attempt = a
		s.tasks.Go(func() { s.try(w, a) })
	}
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try is one attempt. It goes on when the one who asked has gone: the next will ask.
func (s *Set) try(w *way, a *attempt) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, readyTime, errSilent)
	defer cancel()
	began := time.Now()
	err := w.Ready(ctx)
	now := time.Now()
	s.mu.Lock()
	w.attempt, a.err = nil, err
	switch {
	case err == nil:
		// Failures count until a stream has been answered: a connection that
		// ends with the first request is none.
		w.took, w.readied, w.retry = now.Sub(began), now, time.Time{}
	case s.ctx.Err() == nil:
		s.trouble(w, now, err)
	}
	failures := w.failures
	s.mu.Unlock()
	close(a.done)
	switch {
	case err == nil:
		s.log.Info("upstream ready", "way", w.Name, "after", now.Sub(began).Round(time.Millisecond))
	case s.ctx.Err() == nil:
		s.complain("upstream failed", w, failures, err)
	}
}

// complain logs trouble. Errors may have names in them; relay status shows them.
func (s *Set) complain(what string, w *way, failures int, err error) {
	s.log.Warn(what, "way", w.Name, "failures", failures)
	s.log.Debug(what, "way", w.Name, "error", err)
}

// lost keeps that a connection of the way has died with something on it that began at
// since.
func (s *Set) lost(w *way, since time.Time, err error) {
	if w == nil {
		return // direct
	}
	s.mu.Lock()
	now := time.Now()
	// What was on it finds out one after the other, some when there is another
	// connection already.
	again := s.closed || since.Before(w.failed) || since.Before(w.readied)
	if !again {
		s.trouble(w, now, err)
	}
	failures := w.failures
	s.mu.Unlock()
	if !again {
		s.complain("upstream lost", w, failures, err)
	}
}

// worked keeps that the other side has answered on a way.
func (s *Set) worked(w *way) {
	if w == nil {
		return // direct
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	w.asking.ends, w.asking.verdict = 0, nil
	if w.failures == 0 && now.Sub(w.worked) < keepTime {
		return
	}
	s.forgive(w)
	w.worked = now
	s.learn(w, true, now)
	s.blame(w, now)
}

var (
	errStopped = errors.New("upstream: the relay is stopping")
	errSilent  = errors.New("no answer")
)
