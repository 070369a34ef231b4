package web

import (
	"fmt"
	"net"
	"time"

	"relay/transport"
)

// HTTP/1.1 has no PING. Whether a download that says nothing is frozen is asked by who
// speaks through the stream, if the far end has answered that before, and by the kernel
// otherwise: TCP's keep-alives are answered by the server's, or a front's.

// plainLook is how often a download is looked at, and answerLook how often while an answer
// is due: a question has a way of its own, as a piece, and all has to be less than five
// seconds (watch.go).
const (
	plainLook  = lookEach / 4
	answerLook = answerWait / 32
)

// heardStep is more than the time of the last packet is off by when it is read twice.
const heardStep = 100 * time.Millisecond

var _ transport.Asked = (*plainPieces)(nil)

// AskBy implements transport.Asked.
func (p *plainPieces) AskBy(ask func() bool) { p.asker.Store(&ask) }

// watch looks after a download until the stream has left it, as that of a WebSocket does.
func (p *plainPieces) watch() {
	look := time.NewTicker(plainLook)
	defer look.Stop()
	m, quiet := p.k.meter, newSilence()
	for {
		select {
		case <-p.gone:
			return
		case <-p.ctx.Done():
			return
		case <-look.C:
		}
		p.client.lift(m.down.Load())
		if !quiet.long(m.down.Load(), p.taken.Load(), p.reading.Load()) {
			continue
		}
		blamed := p.k
		if ask := p.asker.Load(); ask != nil {
			blamed = p.ask(*ask)
		} else if p.k.lives(p.gone) {
			blamed = nil
		}
		if blamed != nil {
			p.client.frozenPlain(blamed)
			p.fail(fmt.Errorf("web: %w: %w", transport.ErrCarrier, errFrozen))
			return
		}
		quiet.answered(m.down.Load(), p.taken.Load())
	}
}

// underway is a piece on its way.
type underway struct {
	k        *plainConn
	patience time.Duration // for its answer: it may be collected, and go on slowly
}

// onWay is how far what a stream has sent has come.
type onWay struct {
	posted, up int64
	unsent     int
}

func (p *plainPieces) onWay(piece *underway) onWay {
	if piece == nil {
		return onWay{posted: p.posted.Load()}
	}
	return onWay{p.posted.Load(), piece.k.meter.up.Load(), unsent(piece.k.meter.Conn)}
}

// ask has the far end say something, and returns the connection that is frozen; nil: none.
// What stands in front of the question is waited for while it moves, and nobody answers
// that.
func (p *plainPieces) ask(ask func() bool) (frozen *plainConn) {
	before := p.k.meter.down.Load()
	asked := make(chan bool, 1)
	p.client.tasks.Go(func() { asked <- ask() })
	look := time.NewTicker(answerLook)
	defer look.Stop()
	was := onWay{posted: -1} // nobody has looked
	var behind int64         // the question's end, of what was taken
	waited := true
	for until := time.Now().Add(answerWait); ; {
		select {
		case <-p.gone:
			return nil
		case <-p.ctx.Done():
			return nil
		case ok := <-asked:
			if !ok {
				return nil
			}
			asked, behind = nil, p.taken.Load()
			continue
		case <-look.C:
		}
		if p.k.meter.down.Load() != before || !p.reading.Load() {
			return nil
		}
		piece := p.piece.Load()
		waits := asked != nil || p.posted.Load() < behind
		if now := p.onWay(piece); waited && (!waits || piece == nil || now != was) {
			was, until = now, time.Now().Add(answerWait)
			if waits && piece != nil {
				until = until.Add(piece.patience)
			}
		}
		waited = waits
		switch {
		case time.Now().Before(until):
		case waits && piece != nil:
			return piece.k
		default:
			return p.k
		}
	}
}

// lives has the kernel ask the other end's, and reports whether that answers, or
// something comes: true if that cannot be told.
func (k *plainConn) lives(gone <-chan struct{}) bool {
	t, ok := k.meter.Conn.(*net.TCPConn)
	if !ok {
		return true
	}
	last, ok := heardOf(t)
	if !ok {
		return true
	}
	before := k.meter.down.Load()
	_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: quietTime, Interval: quietTime})
	defer func() { _ = t.SetKeepAliveConfig(keepAlive) }()
	look := time.NewTicker(answerLook)
	defer look.Stop()
	for until := time.Now().Add(answerWait); time.Now().Before(until); {
		select {
		case <-gone:
			return true
		case <-look.C:
		}
		now, _ := heardOf(t)
		if now.Sub(last) > heardStep || k.meter.down.Load() != before {
			return true
		}
	}
	return false
}

// frozenPlain keeps after how much a connection froze.
func (c *Client) frozenPlain(k *plainConn) {
	down := k.meter.down.Load()
	c.mu.Lock()
	c.learn(down)
	c.mu.Unlock()
	c.log.Debug("carrier frozen", "down", down)
}
