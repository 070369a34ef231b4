package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"relay/auth"
	"relay/relay/splice"
	"relay/transport"
)

const (
	// packetIdle ends what carries datagrams and has carried none (RFC 4787,
	// REQ-5), unless the settings do so sooner. Nothing else tells that a call is
	// over, where the protocol has no end of its own.
	packetIdle = 5 * time.Minute
	// packetDrain is the same for a relay that is stopping: a call goes on until
	// the drain's own end.
	packetDrain = 3 * time.Second
	// packetPause is how long a datagram waits for the user's rate. What would
	// wait longer is dropped: a late one is worth less than none.
	packetPause = 50 * time.Millisecond
	// packetSockets is how many sockets carry a client's datagrams: one on either side.
	packetSockets = 2
)

// ErrFull says that the relay has as many connections as it may have. AcceptPackets
// wraps it when it gets no socket for the client.
var ErrFull = errors.New("the relay is full")

// packets is a client's datagrams on their way.
type packets struct {
	conn      *conn
	near, far transport.PacketConn
	sess      *auth.Session
	began     time.Time

	idle  atomic.Int64 // a time.Duration
	last  atomic.Int64 // when a datagram moved: a time.Duration since began
	timer *time.Timer
	moved [2]atomic.Int64 // bytes down, up

	once   sync.Once
	status transport.Status // why it ended; once done is closed
	done   chan struct{}
}

// connectPackets is connect for a request for datagrams. It hands them to two
// goroutines of their own: that of an opening has a stack which it took to read one.
func (c *conn) connectPackets(req transport.PacketRequest) error {
	sess, err := c.begin(req)
	if err != nil {
		return err
	}
	c.srv.packets.Add(1)
	near, far, err := c.openPackets(req)
	if err != nil {
		c.srv.packets.Add(-1)
		sess.End()
		return err
	}
	if c.srv.log.Enabled(c.srv.ctx, slog.LevelDebug) {
		c.srv.log.Debug("datagrams opened", "inbound", c.inbound)
	}
	c.carry(near, far, sess)
	return nil
}

// openPackets opens the way out and accepts the request.
func (c *conn) openPackets(req transport.PacketRequest) (near, far transport.PacketConn, err error) {
	if n, limit := c.srv.packets.Load()+c.srv.live.Load(), c.set.limits.Connections; limit > 0 && n > int64(limit) || !c.srv.hold(c, packetSockets) {
		return nil, nil, c.deny(req, ErrFull)
	}
	if err := transport.MayWait(c.raw); err != nil {
		return nil, nil, err
	}
	if far, err = c.dialPacket(); err != nil {
		return nil, nil, c.deny(req, dialError{c.cut.or(err)})
	}
	if err = c.allow(); err == nil {
		near, err = req.AcceptPackets(c.srv.ctx)
	}
	if err != nil {
		_ = far.Close()
		return nil, nil, c.cut.or(err)
	}
	return near, far, nil
}

// dialPacket opens the way out.
func (c *conn) dialPacket() (transport.PacketConn, error) {
	by, ok := c.set.dialer.(transport.PacketDialer)
	if !ok {
		return nil, transport.ErrNoPacket
	}
	ctx, cancel := context.WithCancelCause(c.srv.ctx)
	defer cancel(nil)
	c.cut.arm(func(why error) { cancel(why) })
	return by.DialPacket(ctx)
}

// carry moves datagrams from here on.
func (c *conn) carry(near, far transport.PacketConn, sess *auth.Session) {
	p := &packets{conn: c, near: near, far: far, sess: sess, began: time.Now(), done: make(chan struct{})}
	idle := packetIdle
	if limit := c.set.limits.Idle; limit > 0 {
		idle = min(idle, limit)
	}
	p.idle.Store(int64(idle))
	p.timer = time.AfterFunc(packetIdle, p.tick)
	p.timer.Reset(idle) // now that tick finds p.timer
	c.srv.serving.Add(1)
	c.srv.onDrain(p)
	// A cut that came in between has met nobody: arm calls again.
	c.cut.arm(func(error) { p.end(transport.Cut) })
	down := make(chan struct{})
	go func() {
		defer close(down)
		p.move(false)
	}()
	go func() {
		p.move(true)
		<-down
		p.over()
	}()
}

// over accounts for the end.
func (p *packets) over() {
	c := p.conn
	p.timer.Stop()
	if p.status == transport.Cut || p.status == transport.Drained {
		_ = transport.Abort(c.raw) // nothing reaches anybody any more
	}
	_ = p.near.Close()
	_ = p.far.Close()
	p.sess.End()
	c.srv.packets.Add(-1)
	c.ended(splice.End{Status: p.status, Up: p.moved[1].Load(), Down: p.moved[0].Load()})
	c.srv.offDrain(p)
	c.srv.serving.Done()
}

// end ends both directions; the first reason counts. It does not wait.
func (p *packets) end(why transport.Status) {
	p.once.Do(func() {
		p.status = why
		close(p.done)
		_ = p.near.SetDeadline(longAgo)
		_ = p.far.SetDeadline(longAgo)
	})
}

// drain implements drainer.
func (p *packets) drain(now bool) {
	if now {
		p.end(transport.Drained)
		return
	}
	p.idle.Store(min(p.idle.Load(), int64(packetDrain)))
	p.timer.Reset(0)
}

// tick ends what is idle.
func (p *packets) tick() {
	idle := time.Duration(p.idle.Load())
	since := time.Since(p.began) - time.Duration(p.last.Load())
	switch {
	case p.isOver():
	case since < idle:
		p.timer.Reset(idle - since)
	case p.conn.srv.isStopped():
		p.end(transport.Drained)
	default:
		p.end(transport.Timeout)
	}
}

func (p *packets) isOver() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// move takes datagrams one way until reading fails. A buffer is held only while
// there is a datagram, where the side that is read can wait without one.
func (p *packets) move(up bool) {
	src, dst := p.far, p.near
	if up {
		src, dst = p.near, p.far
	}
	waiter, _ := src.(transport.ReadWaiter)
	var free time.Time // before this, what comes is over the user's rate
	for {
		if waiter != nil {
			if err := waiter.WaitRead(); err != nil {
				p.endRead(up, err)
				return
			}
		}
		b := transport.PacketBuffer()
		n, peer, err := src.ReadPacket(*b)
		var pause time.Duration
		if err == nil {
			pause = p.pass(up, dst, (*b)[:n], peer, &free)
		}
		transport.FreePacketBuffer(b)
		if err != nil {
			p.endRead(up, err)
			return
		}
		p.wait(pause)
	}
}

// pass writes one datagram, or drops it, and returns the pause that the user's rate
// asks for.
func (p *packets) pass(up bool, dst transport.PacketConn, b []byte, peer transport.Target, free *time.Time) time.Duration {
	now := time.Now()
	if now.Before(*free) {
		p.conn.srv.dropped.Add(1)
		return 0
	}
	// An error is about this one: whether the way is over, reading tells.
	if err := dst.WritePacket(b, peer); err != nil {
		p.conn.srv.dropped.Add(1)
		return 0
	}
	p.last.Store(int64(now.Sub(p.began)))
	way := 0
	if up {
		way = 1
	}
	p.moved[way].Add(int64(len(b)))
	pause := p.sess.Moved(up, len(b))
	if pause > packetPause {
		*free = now.Add(pause)
		return 0
	}
	return pause
}

func (p *packets) wait(pause time.Duration) {
	if pause <= 0 {
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.done:
	}
}

// endRead names the end of a side that could not be read any more.
func (p *packets) endRead(up bool, err error) {
	switch {
	case p.conn.srv.ctx.Err() != nil:
		p.end(transport.Drained)
	case up && errors.Is(err, io.EOF):
		p.end(transport.OK)
	case up && !errors.Is(err, os.ErrDeadlineExceeded):
		p.end(transport.ClientGone)
	case up:
		p.end(transport.Timeout)
	default:
		p.end(transport.TargetGone)
	}
}
