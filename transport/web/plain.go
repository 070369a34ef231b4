package web

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"relay/transport"
)

// Over HTTP/1.1 a connection has one request at a time. So a stream of packet-up takes
// one for its downlink, and its pieces share the others, as a browser's fetches do.
const (
	// mostPlain is how many connections a browser has to a host over HTTP/1.1, and
	// mostPlainDown how many of them may be downlinks: pieces have to get through.
	mostPlain     = 6
	mostPlainDown = mostPlain - 1
	// roomPiece is what the answer to a piece takes of what connections may carry, where
	// they freeze after some bytes.
	roomPiece = 2 << 10
	// plainWait is for how long a stream waits for a downlink, where others have all.
	plainWait = 5 * time.Second
	// stepTime is for how long nothing of a request may go, and nothing of an answer
	// that is due at once may come.
	stepTime = 5 * time.Second
)

var errAllTaken = errors.New("all connections of HTTP/1.1 are taken by other streams")

// plainConns are the connections of a way of XHTTP over HTTP/1.1, under the lock of the
// client.
type plainConns struct {
	all   int // those that are being made among them
	downs int // that are downlinks
	idle  []*plainConn
	open  map[*plainConn]struct{}
	freed chan struct{} // closed when one has become free; nil: nobody waits
}

// plainConn is one of them. It has an owner, but while it is idle.
type plainConn struct {
	*connected
	answers
	until  time.Time // it takes new requests
	down   bool
	reused bool // it was idle
	rest   *time.Timer
}

// plain reports whether the way is one of XHTTP over HTTP/1.1.
func (c *Client) plain() bool { return c.way.Version == HTTP1 && c.way.Mode == ModePacketUp }

// takePlain returns a connection: the one that was used last, or a new one, which fresh
// asks for.
func (c *Client) takePlain(ctx context.Context, down, fresh bool) (*plainConn, error) {
	var limit <-chan time.Time
	if down {
		limit = time.After(plainWait)
	}
	for {
		k, may, wait := c.tryPlain(down, fresh)
		switch {
		case k != nil:
			return k, nil
		case may:
			return c.newPlain(ctx, down)
		}
		select {
		case <-wait:
		case <-limit:
			return nil, errAllTaken
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.ctx.Done():
			return nil, errClosed
		}
	}
}

var errClosed = errors.New("closed")

// tryPlain returns an idle connection, or says that one may be made, or what to wait
// for.
func (c *Client) tryPlain(down, fresh bool) (k *plainConn, may bool, wait <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.plains
	at := len(p.idle) - 1
	for at >= 0 && !c.roomy(p.idle[at], down) {
		at--
	}
	fresh = fresh || at < 0
	if fresh && p.all >= mostPlain && len(p.idle) > 0 {
		c.dropPlain(p.idle[0])
	}
	if !down || p.downs < mostPlainDown {
		if !fresh {
			k = p.idle[at]
			p.idle = slices.Delete(p.idle, at, at+1)
			k.rest.Stop()
			k.reused, k.down = true, down
		} else if p.all < mostPlain {
			p.all++
			may = true
		}
		if down && (k != nil || may) {
			p.downs++
		}
	}
	if p.freed == nil {
		p.freed = make(chan struct{})
	}
	return k, may, p.freed
}

// roomy reports whether a connection may carry an answer more, or a download. Where they
// freeze after some bytes a download that is larger than there is room freezes. Under mu.
func (c *Client) roomy(k *plainConn, down bool) bool {
	room := int64(roomPiece)
	if down {
		room = roomLimited
	}
	return c.budget == 0 || k.meter.down.Load()+room <= c.budget
}

// newPlain makes a connection that is counted already.
func (c *Client) newPlain(ctx context.Context, down bool) (*plainConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTime, errSilent)
	defer cancel()
	conn, err := c.connect(ctx, true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.ctx.Err() != nil {
		_ = conn.Close()
		err = errClosed
	}
	if err != nil {
		c.proven = time.Time{}
		c.plains.leave(down)
		return nil, err
	}
	k := &plainConn{connected: conn, answers: newAnswers(conn), until: time.Now().Add(between(leastLife, mostLife)), down: down}
	c.plains.open[k] = struct{}{}
	c.proven = time.Now()
	return k, nil
}

// leave counts a connection no more, and wakes who waits for one.
func (p *plainConns) leave(down bool) {
	p.all--
	if down {
		p.downs--
	}
	p.wake()
}

func (p *plainConns) wake() {
	if p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
}

// keepPlain has a connection back whose answer has been read to its end.
func (c *Client) keepPlain(k *plainConn) {
	_ = k.SetDeadline(time.Time{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proven = time.Now()
	if _, open := c.plains.open[k]; !open {
		return // the client has been closed
	}
	if time.Now().After(k.until) || !c.roomy(k, false) {
		c.dropPlain(k)
		return
	}
	if k.down {
		k.down = false
		c.plains.downs--
	}
	k.rest = time.AfterFunc(between(leastRest, mostRest), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, idle := range c.plains.idle {
			if idle == k {
				c.dropPlain(k)
				break
			}
		}
	})
	c.plains.idle = append(c.plains.idle, k)
	c.plains.wake()
}

// closePlain gives a connection up. Its reader, if there is one, is woken.
func (c *Client) closePlain(k *plainConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropPlain(k)
}

// dropPlain is closePlain under the lock.
func (c *Client) dropPlain(k *plainConn) {
	p := &c.plains
	if _, open := p.open[k]; !open {
		return
	}
	delete(p.open, k)
	end := func() { _ = transport.Abort(k.connected) }
	for i, idle := range p.idle {
		if idle == k {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			k.rest.Stop()
			end = func() { _ = k.Close() } // as a browser does; nothing is under way
			break
		}
	}
	p.leave(k.down)
	c.tasks.Go(end)
}

// readyPlain makes a connection for the next stream, unless one is there.
func (c *Client) readyPlain(ctx context.Context) error {
	if c.Live() {
		return nil
	}
	k, err := c.takePlain(ctx, false, false)
	if err != nil {
		return fmt.Errorf("web: %w: %w", transport.ErrCarrier, err)
	}
	c.keepPlain(k)
	return nil
}
