package web

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// pieces is packet-up: the uplink is requests with a number each, which a CDN may
// collect, delay or send twice. Each is written before the next begins: frames of several
// at a time would take turns, and a server holds little of what comes before its turn.
type pieces struct {
	oneStream
	path    string
	on      *carrier        // of the last piece, for post
	ctx     context.Context // of the requests; it ends with the stream
	cancel  context.CancelFunc
	parting parting

	unposted
	seq   int
	asked int // pieces without an answer
}

const (
	// mostAsked is how many pieces of a stream have no answer yet. Servers keep 30
	// that come too early.
	mostAsked = 6
	// postTime bounds a piece and its answer.
	postTime = time.Minute
)

func (k *carrier) packetUp(ctx context.Context, first []byte) (transport.Conn, error) {
	c := k.client
	path := string(c.way.Path) + newSession()
	down, err := k.open(ctx, c.ask(http.MethodGet, path, c.profile.HTTP2.Get, -1), nil, true)
	if err != nil {
		return nil, err
	}
	k.visit()
	k.mind(down)
	p := &pieces{oneStream: oneStream{fetch: fetch{down: down, k: k}}, path: path, on: k}
	p.ctx, p.cancel = context.WithCancel(c.ctx)
	p.room.L, p.most, p.run, p.more = &p.mu, c.way.PostBytes.Most, p.post, c.tasks.Go
	if len(first) > 0 {
		if _, err := p.Write(first); err != nil {
			_ = p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Read implements net.Conn.
func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.oneStream.Read(b)
	p.parting.came.Add(int64(n))
	return n, p.why(err)
}

// WaitRead implements transport.ReadWaiter.
func (p *pieces) WaitRead() error { return p.why(p.oneStream.WaitRead()) }

// why is what has failed first, where that was a piece.
func (p *pieces) why(err error) error {
	if !errors.Is(err, net.ErrClosed) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.err, err)
}

// Write implements net.Conn. It returns when there is room for b in a piece to come.
func (p *pieces) Write(b []byte) (int, error) { return p.write(b) }

// post sends pieces while there are some, at the way's pace.
func (p *pieces) post() {
	pace := p.k.client.way.PostInterval
	for {
		body, path := p.next()
		if body == nil {
			return
		}
		began := time.Now()
		if err := p.send(path, body); err != nil {
			p.fail(err)
			continue
		}
		pause := time.NewTimer(between(pace.Least, pace.Most) - time.Since(began))
		select {
		case <-pause.C:
		case <-p.on.conn.Done():
			pause.Stop()
		}
	}
}

// next waits until a piece may go, and returns it; nil: there is none, and post ends.
func (p *pieces) next() (body *pieceBuffer, path string) {
	size := p.k.client.way.PostBytes.Draw()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.asked >= mostAsked {
		p.room.Wait()
	}
	if p.err != nil || p.waiting == nil {
		p.sending = false
		return nil, ""
	}
	body, p.waiting = p.waiting.cut(size)
	path = p.path + "/" + strconv.Itoa(p.seq)
	p.seq++
	p.asked++
	p.room.Broadcast()
	return body, path
}

// send writes a piece, whose answer somebody else waits for. It takes body over.
func (p *pieces) send(path string, body *pieceBuffer) error {
	c := p.k.client
	ctx, cancel := context.WithTimeout(p.ctx, postTime)
	m := &posted{path: path, pad: p.shape.piece(body.len()), body: body}
	err := p.choose()
	if err == nil {
		err = m.post(ctx, p.on)
	}
	for tries := 0; errors.Is(err, h2.ErrUnprocessed) && tries < mostAgain; tries++ {
		if err = p.choose(); err == nil {
			err = m.post(ctx, p.on)
		}
	}
	if err != nil {
		cancel()
		body.free()
		return err
	}
	m.keep()
	c.tasks.Go(func() {
		defer cancel()
		p.answered(m.settle(ctx))
	})
	return nil
}

// choose looks for another connection once that of the last piece has had its share of
// requests, or has ended. What is on its way there comes first. A share is no more than
// that: where there is no other connection, whose streams may be waiting for this one to
// end, the piece goes where the last one did.
func (p *pieces) choose() error {
	c := p.k.client
	c.mu.Lock()
	tired := p.on.requests <= 0 && c.budget == 0
	c.mu.Unlock()
	usable := p.on.conn.Usable()
	if !tired && usable {
		return nil
	}
	p.mu.Lock()
	for p.err == nil && p.asked > 1 {
		p.room.Wait()
	}
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return err
	}
	other, _ := c.take(time.Now(), true)
	if other == nil && !usable {
		ctx, cancel := context.WithTimeoutCause(c.ctx, postTime, errSilent)
		defer cancel()
		if other, err = c.carrier(ctx); err != nil {
			return err
		}
	}
	if other != nil {
		p.on = other
		c.leave(other)
	}
	return nil
}

// answered is called with what became of a piece.
func (p *pieces) answered(err error) {
	if err != nil {
		p.fail(err)
		return
	}
	p.mu.Lock()
	p.asked--
	p.room.Broadcast()
	p.mu.Unlock()
}

// fail ends the stream: what is missing cannot be had again.
func (p *pieces) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.room.Broadcast()
	p.mu.Unlock()
	p.cancel()
	_ = p.down.Close() // wakes the reader
}

// CloseWrite implements transport.Conn. In packet-up no piece is the last: the end of
// the uplink cannot be said, and the target hears of it with the stream's.
func (p *pieces) CloseWrite() error {
	p.parting.begin(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.sending || p.asked > 0
	}, func() { _ = p.down.Close() })
	return nil
}

// Close implements net.Conn. What was written and has not been sent is lost, as after
// a reset.
func (p *pieces) Close() error {
	p.end(net.ErrClosed)
	// What is on its way is not wanted any more, and would be in the way of others:
	// a connection has one window for all of its streams.
	p.cancel()
	return p.close()
}

// SetDeadline implements net.Conn.
func (p *pieces) SetDeadline(t time.Time) error {
	_ = p.SetWriteDeadline(t)
	return p.down.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (p *pieces) SetWriteDeadline(t time.Time) error {
	p.setDeadline(t)
	return nil
}
