package web

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

const (
	// mostCarriers is how many connections of HTTP/2 a way has: a browser has one or
	// two for a site, and censors count.
	mostCarriers = 3
	// streamsEach is from how many streams on the emptiest connection another one is
	// worth it.
	streamsEach = 24
	// mostAlive counts those as well that take no new streams and have some that
	// last: one less than the six that a browser has at most, and censors allow.
	mostAlive = 5
	// mostLeft counts those as well that the server has ended with streams on them, as
	// a CDN does after some requests or minutes. A browser has another one at once, and
	// what is left of a stream in pieces may be waiting for that.
	mostLeft = 16
	// mostLimited is mostCarriers where connections freeze after some bytes, as each
	// carries little. Browsers have six over HTTP/1.1.
	mostLimited = 4
)

// How long a connection takes new streams, and how many requests: numbers are drawn,
// as connections that all end alike are a mark.
const (
	leastLife, mostLife         = 10 * time.Minute, 30 * time.Minute
	leastRequests, mostRequests = 600, 900
	// fullDown is from how many bytes that nobody reads a connection takes no more
	// streams: they close its window for all of them. A browser's is 15 MiB, and 6
	// for a stream.
	fullDown = 4 << 20
	// leastRest is after how long without a stream a connection is closed. The site
	// would end it after five minutes, and a browser does as well.
	leastRest, mostRest = 90 * time.Second, 270 * time.Second
)

// carrier is a connection that streams share.
type carrier struct {
	client *Client
	conn   *h2.Conn
	meter  *metered
	born   time.Time
	until  time.Time     // it takes new streams
	wake   chan struct{} // for watch: there is a new stream

	visited atomic.Bool // the site's page
	passes  atomic.Bool // an upload was answered before it ended

	// Under the lock of the client.
	opening  int // streams that are about to be opened
	requests int // that may still be made on it
	opened   bool
	visiting int   // requests of a visitor
	why      error // it was given up
}

// pending is a connection that is being made.
type pending struct {
	done chan struct{}
	k    *carrier
	err  error
}

const (
	// crowdedWait is how often a stream looks again where connections are limited and
	// each has a stream, and crowdedTime after how long it shares one all the same.
	crowdedWait = 50 * time.Millisecond
	crowdedTime = time.Second
)

// carrier returns a connection for a stream, which the caller leaves.
func (c *Client) carrier(ctx context.Context) (*carrier, error) {
	for began := time.Now(); ; {
		now := time.Now()
		k, p := c.take(now, now.Sub(began) >= crowdedTime)
		if k != nil {
			return k, nil
		}
		var done <-chan struct{}
		var again <-chan time.Time
		if p != nil {
			done = p.done
		} else {
			again = time.After(crowdedWait)
		}
		select {
		case <-done:
			if p.err != nil {
				return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, p.err)
			}
		case <-again:
		case <-ctx.Done():
			return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, context.Cause(ctx))
		case <-c.ctx.Done():
			return nil, fmt.Errorf("web: %w: closed", transport.ErrCarrier)
		}
	}
}

// held is an error while the last connection, a moment old, has been lost and no other is
// there: whether another hello is due is for who counts failures, by way of Ready.
func (c *Client) held() error {
	c.mu.Lock()
	k := c.last
	gone := k != nil && k.conn.Err() != nil && time.Since(k.born) < holdTime && c.pick(time.Now()) == nil
	c.mu.Unlock()
	if !gone {
		return nil
	}
	return k.lost(nil)
}

// take returns a connection for a stream, or the one that is being made, or neither:
// there are as many as there may be. share says that any will do.
func (c *Client) take(now time.Time, share bool) (*carrier, *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taking, alive := 0, 0
	c.carriers = slices.DeleteFunc(c.carriers, func(k *carrier) bool {
		takes := k.takes(now)
		if takes {
			taking++
		}
		if k.conn.Usable() {
			alive++
		}
		spent := !takes && k.load() == 0
		if spent {
			k.requests = 0
			c.tasks.Go(func() { _ = k.conn.Close() })
		}
		return spent
	})
	k := c.pick(now)
	// Where connections are limited a stream waits for one of its own.
	alone := c.budget > 0 && k != nil && k.load() > 0
	if k == nil || alone || k.load() >= streamsEach {
		if c.pending == nil && taking < c.most() && alive < c.alive() && len(c.carriers) < mostLeft && c.ctx.Err() == nil {
			p := &pending{done: make(chan struct{})}
			c.pending = p
			c.tasks.Go(func() { c.make(p) })
		}
	}
	if k == nil && c.pending == nil && (share || c.budget == 0) {
		// Streams that last hold all connections.
		k = c.best((*carrier).usable, func(a, b *carrier) bool {
			if c.budget > 0 {
				return a.meter.down.Load() < b.meter.down.Load()
			}
			return a.load() < b.load()
		})
	}
	if k == nil || alone && !(share && c.pending == nil) {
		return nil, c.pending
	}
	k.opening++
	k.opened = true
	return k, nil
}

func (c *Client) most() int {
	if c.budget > 0 {
		return mostLimited
	}
	return mostCarriers
}

// alive is mostAlive, and one for short streams where each has a connection.
func (c *Client) alive() int {
	if c.budget > 0 {
		return mostAlive + 1
	}
	return mostAlive
}

// leave says that the stream for which a connection was taken has been opened.
func (c *Client) leave(k *carrier) {
	c.mu.Lock()
	k.opening--
	c.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// load is how many streams a connection has.
func (k *carrier) load() int { return k.opening + k.conn.Streams() }

// pick returns the connection with the fewest streams that takes another; nil: there
// is none. Under mu.
func (c *Client) pick(now time.Time) *carrier {
	return c.best(func(k *carrier) bool { return k.takes(now) }, func(a, b *carrier) bool { return a.load() < b.load() })
}

// best returns the best connection of those that will do.
func (c *Client) best(will func(*carrier) bool, better func(a, b *carrier) bool) *carrier {
	var best *carrier
	for _, k := range c.carriers {
		if will(k) && (best == nil || better(k, best)) {
			best = k
		}
	}
	return best
}

// usable reports whether a stream could be opened at all. It may be two requests.
func (k *carrier) usable() bool { return k.conn.Usable() && k.conn.Room() > k.opening+1 }

// takes reports whether a connection takes another stream.
func (k *carrier) takes(now time.Time) bool {
	return k.usable() && k.conn.Unread() < fullDown && k.requests > 0 && now.Before(k.until) &&
		(k.client.budget == 0 || !k.opened || k.meter.down.Load()+roomLimited <= k.client.budget)
}

// make makes a connection.
func (c *Client) make(p *pending) {
	k, err := c.newCarrier(c.ctx)
	c.mu.Lock()
	c.pending = nil
	p.k, p.err = k, err
	if err == nil {
		if c.ctx.Err() != nil {
			k.conn.Abort()
		}
		c.carriers, c.last = append(c.carriers, k), k
		c.tasks.Go(k.watch)
	}
	c.mu.Unlock()
	close(p.done)
}

// connectTime bounds all of a connection.
const connectTime = 12 * time.Second

var errNotHTTP2 = errors.New("the server does not speak HTTP/2: is it another one's?")

func (c *Client) newCarrier(ctx context.Context) (*carrier, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTime, errSilent)
	defer cancel()
	conn, err := c.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	if p := conn.Protocol(); p != "h2" {
		_ = conn.Close()
		return nil, errNotHTTP2
	}
	now := time.Now()
	return &carrier{
		client: c, conn: h2.NewConn(conn, fingerprint(c.profile)), meter: conn.meter,
		born: now, until: now.Add(between(leastLife, mostLife)), wake: make(chan struct{}, 1),
		requests: between(leastRequests, mostRequests),
	}, nil
}

// between draws a number.
func between[T int | time.Duration](least, most T) T {
	return least + T(rand.Int64N(int64(most-least)+1)) //nolint:gosec // nothing secret
}

// drop forgets a connection.
func (c *Client) drop(k *carrier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.carriers, k); i >= 0 {
		c.carriers = slices.Delete(c.carriers, i, i+1)
	}
}
