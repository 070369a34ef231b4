package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

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
}

const (
	// readyTime is how long a way may take for its connection: names, several
	// addresses, a handshake.
	readyTime = 12 * time.Second
	// hedgeTime is after how long the next way is tried beside one that has not
	// answered. Two seconds and a handshake are within three.
	hedgeTime = 2 * time.Second
	// mostBackoff is the longest time for which a way that failed is left alone.
	mostBackoff = time.Minute
	// forgetTime is after how long without a failure the failures count no more.
	forgetTime = 10 * time.Minute
)

// way is a Way with what is known of it; under the lock of its Set.
type way struct {
	Way
	rank     time.Time // when it worked last on this network; zero: never
	failures int       // in a row
	failed   time.Time // the last one
	retry    time.Time // not before
	err      error     // the last failure
	took     time.Duration
	attempt  *attempt // at Ready; nil: none
	streams  int
	opened   int64
}

// attempt is one call of Ready that several wait for.
type attempt struct {
	done chan struct{}
	err  error
}

// trouble keeps a failure. The first one costs no wait: the next connection may be
// better, and there may be no other way.
func (w *way) trouble(now time.Time, err error) {
	if now.Sub(w.failed) > forgetTime {
		w.failures = 0
	}
	w.failures++
	w.failed, w.err = now, err
	w.retry = now
	if w.failures > 1 {
		wait := min(time.Second<<min(w.failures-2, 10), mostBackoff)
		// A half to three halves, so that the entries of a country do not
		// come back in the same second.
		w.retry = now.Add(wait/2 + rand.N(wait)) //nolint:gosec // nothing secret
	}
}

// worked keeps a success.
func (w *way) worked(now time.Time) {
	w.failures, w.retry, w.rank = 0, time.Time{}, now
}

// better orders ways: those that do not fail first, then the one that worked last on
// this network, then as they were written (the caller's order).
func better(a, b *way) int {
	switch {
	case a.failures != b.failures:
		return a.failures - b.failures
	case a.rank.Equal(b.rank):
		return 0
	case a.rank.After(b.rank):
		return -1
	}
	return 1
}

// ready makes the way ready, or waits for whoever is at it.
func (s *Set) ready(ctx context.Context, w *way) error {
	if w.Live() {
		return nil
	}
	s.mu.Lock()
	a := w.attempt
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		w.attempt = a
		s.attempts.Go(func() { s.try(w, a) })
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
	ctx, cancel := context.WithTimeout(s.ctx, readyTime)
	defer cancel()
	began := time.Now()
	err := w.Ready(ctx)
	now := time.Now()
	s.mu.Lock()
	w.attempt, a.err = nil, err
	switch {
	case err == nil:
		w.took = now.Sub(began)
		w.worked(now)
	case s.ctx.Err() == nil:
		w.trouble(now, err)
	}
	s.mu.Unlock()
	close(a.done)
	switch {
	case err == nil:
		s.memory.worked(w.Key, now)
		s.log.Info("upstream ready", "way", w.Name, "after", now.Sub(began).Round(time.Millisecond))
	case s.ctx.Err() == nil:
		s.log.Warn("upstream failed", "way", w.Name, "error", err)
	}
}

// lost keeps that a connection of the way has died with streams on it.
func (s *Set) lost(w *way, err error) {
	s.mu.Lock()
	now := time.Now()
	// Its streams find out one after the other.
	again := now.Sub(w.failed) < time.Second
	if !again {
		w.trouble(now, err)
	}
	s.mu.Unlock()
	if !again {
		s.log.Warn("upstream lost", "way", w.Name, "error", err)
	}
}

var errStopped = errors.New("upstream: the relay is stopping")
