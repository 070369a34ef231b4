package web

import (
	"errors"
	"fmt"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// A censor's way to end a connection is to let nothing more through, without a word
// to either side. What a carrier has to say for itself when it is silent is a PING.
// quietTime, at most two looks and answerWait are less than five seconds.
const (
	// quietTime is for how long a carrier with something under way may be silent.
	// It doubles while nothing happens, up to mostQuiet: streams that rest are not to
	// be known by a rhythm.
	quietTime = time.Second
	mostQuiet = 40 * time.Second
	// answerWait is how long a PING may take. Within it any byte will do: what
	// is in front of the answer may take longer than that on a slow line.
	answerWait = 2800 * time.Millisecond
	// lookEach is how often a carrier with streams is looked at.
	lookEach = time.Second
	// holdTime is how old a carrier is that has held. It is less than finding a freeze
	// takes: where connections freeze, the next one is worth its hello.
	holdTime = 2 * time.Second
)

var errFrozen = errors.New("nothing comes any more, and nobody says why: frozen on the way")

// Where connections freeze after some bytes: adversary's "16 kB".
const (
	// leastFrozen and mostFrozen are the bytes down at which a freeze is taken for
	// such a limit.
	leastFrozen, mostFrozen = 6 << 10, 64 << 10
	// surelyFree is what passes where the limit is drawn for each connection: from 14
	// to 20 kB.
	surelyFree = 14 << 10
	// roomLimited is how much has to be left for a stream to be put on a connection
	// that another has used: a small answer.
	roomLimited = 9 << 10
	// limitedTime is after how long it is tried again without the limit.
	limitedTime = 10 * time.Minute
)

// watch looks after a connection until it has ended.
func (k *carrier) watch() {
	defer k.client.drop(k)
	rest := between(leastRest, mostRest)
	timer := time.NewTimer(rest)
	defer timer.Stop()
	quiet, used := quietTime, time.Now() // the last stream
	var asked time.Time                  // the last PING
	var heard int64
	for {
		select {
		case <-k.conn.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		now := time.Now()
		if k.load2() == 0 {
			if k.rest(now, used.Add(rest)) {
				return
			}
			timer.Reset(max(lookEach, used.Add(rest).Sub(now)))
			continue
		}
		used = now
		at, n := k.conn.Heard()
		if n != heard || k.conn.Sent().After(asked) {
			// More than the answer to a PING.
			quiet, heard = quietTime, n
		}
		k.client.lift(k.meter.down.Load())
		if now.Sub(at) >= quiet && now.Sub(asked) >= quiet {
			if !k.ask() {
				return
			}
			asked = time.Now()
			_, heard = k.conn.Heard()
			quiet = min(2*quiet, mostQuiet)
		}
		timer.Reset(lookEach)
	}
}

// load2 is load, for who does not hold the lock.
func (k *carrier) load2() int {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	return k.load()
}

// rest closes a connection without streams when its time has come, or at once if it
// takes no more.
func (k *carrier) rest(now, until time.Time) bool {
	c := k.client
	c.mu.Lock()
	if k.load() > 0 || k.takes(now) && now.Before(until) {
		c.mu.Unlock()
		return false
	}
	k.requests = 0 // nobody takes it from here on
	c.mu.Unlock()
	_ = k.conn.Close()
	return true
}

// ask sends a PING, and gives the connection up if nothing comes.
func (k *carrier) ask() bool {
	_, before := k.conn.Heard()
	done := make(chan error, 1)
	k.client.tasks.Go(func() { done <- k.conn.Ping(k.client.ctx) })
	timer := time.NewTimer(answerWait)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return true
		case <-k.conn.Done():
			return false
		case <-timer.C:
		}
		_, after := k.conn.Heard()
		if after == before {
			k.client.frozen(k)
			return false
		}
		before = after
		timer.Reset(answerWait)
	}
}

// frozen gives a connection up, and keeps after how much.
func (c *Client) frozen(k *carrier) {
	down := k.meter.down.Load()
	c.mu.Lock()
	k.why = errFrozen
	c.learn(down)
	c.mu.Unlock()
	c.log.Debug("carrier frozen", "down", down)
	k.conn.Abort()
}

// learn keeps after how many bytes a connection froze, if that may be a limit; under mu.
func (c *Client) learn(down int64) {
	// The next one may freeze sooner than this one.
	if safe := min(down, surelyFree); down >= leastFrozen && down <= mostFrozen && (c.budget == 0 || safe <= c.budget) {
		c.budget, c.learned = safe, time.Now()
	}
}

// lift forgets the limit of connections if one is over it, or it is old.
func (c *Client) lift(down int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.budget > 0 && (down > 2*c.budget+roomLimited || time.Since(c.learned) > limitedTime) {
		c.budget = 0
	}
}

// Limited reports whether connections freeze after some bytes: a stream is better off
// with a WebSocket of its own then.
func (c *Client) Limited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.budget > 0 && time.Since(c.learned) <= limitedTime
}

// lost says of an error of a stream whether it is its connection's.
func (k *carrier) lost(err error) error {
	k.client.mu.Lock()
	why := k.why
	k.client.mu.Unlock()
	if why == nil {
		why = k.conn.Err()
	}
	switch _, violated := errors.AsType[*h2.ViolationError](why); {
	case why == nil:
		return err
	case violated, why != errFrozen && time.Since(k.born) < holdTime:
		return fmt.Errorf("web: %w: %w", transport.ErrUnsound, reason(why))
	}
	return fmt.Errorf("web: %w: %w", transport.ErrCarrier, reason(why))
}
