package web

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// mostPieces is how many pieces of an uplink may come before their turn, as
	// at Xray's servers.
	mostPieces = 30
	// mostPiece is how long one may be: what Xray's clients send at most.
	mostPiece = 1_000_000
	// mostReady is what may wait for the target before the client has to; it waits
	// with what fits into its window, which its other streams miss then.
	mostReady = 1 << 20
	// mostEarlier is what may wait for pieces that should have come before.
	mostEarlier = 4 << 20
	// mostUnread is all of it for a session that nobody reads from yet.
	mostUnread = 64 << 10
	// mostHeld is what all sessions may hold beyond mostUnread each.
	mostHeld = 64 << 20

	chunkSize = 16 << 10
	// chunkCost is what a chunk takes beside its memory. These limits count what is
	// taken: a piece of a byte is a hundred times as much.
	chunkCost = 96

	// pieceTime is how long a piece may stand still on its way.
	pieceTime = time.Minute
)

var (
	errPieces = errors.New("more pieces before their turn than there is room for")
	errSlow   = errors.New("a piece that has come before does not end")
	errTwice  = errors.New("the session has its uplink")
)

var chunks = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// chunk is memory with bytes in it, from the pool or not.
type chunk struct {
	b      []byte
	pooled *[]byte
	cost   int
}

func (c chunk) free() {
	if c.pooled != nil {
		chunks.Put(c.pooled)
	}
}

// brought is a piece that is here, or on its way.
type brought struct {
	chunks []chunk // before its turn
	whole  bool
}

// queue puts the pieces of an uplink in order. One goroutine reads it. It holds no
// memory for bytes while there are none.
type queue struct {
	held *atomic.Int64 // by all queues

	mu      sync.Mutex
	changed sync.Cond
	ready   []chunk // in order
	next    uint64  // the piece whose chunks go to ready
	pieces  map[uint64]*brought
	waits   int   // cost of ready
	earlier int   // cost of pieces
	full    int   // who waits for room
	read    bool  // somebody reads
	tail    *body // all that follows, if it comes in one piece
	last    bool  // no more pieces are waited for
	err     error // why nothing follows
}

func newQueue(held *atomic.Int64) *queue {
	q := &queue{held: held, pieces: make(map[uint64]*brought)}
	q.changed.L = &q.mu
	return q
}

// bring takes a piece from its body: as it comes, if it is the next one, and as
// fast as what came before is read. A piece that has been brought before is read
// and forgotten: a proxy on the way has tried again.
func (q *queue) bring(ctx context.Context, seq uint64, body io.Reader) error {
	p, err := q.expect(seq)
	if err != nil {
		return err
	}
	if p == nil {
		return forget(body)
	}
	stop := context.AfterFunc(ctx, q.wake)
	defer stop()
	for total := 0; ; {
		if err := q.room(ctx, seq); err != nil {
			return q.fail(err)
		}
		c, err := readChunk(body)
		if total += len(c.b); total > mostPiece {
			err = errPieces
		}
		if err != nil && err != io.EOF {
			c.free()
			return q.fail(err)
		}
		if e := q.add(seq, p, c, err == io.EOF); e != nil || err == io.EOF {
			return e
		}
	}
}

// forget reads a piece that is here already.
func forget(body io.Reader) error {
	until := time.Now().Add(pieceTime)
	for total := 0; total <= mostPiece && time.Now().Before(until); {
		c, err := readChunk(body)
		c.free()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		total += len(c.b)
	}
	return errSlow
}

// hurried is the body of a piece, which has to go on: sessions end, and whoever
// waits for a body with them.
type hurried struct {
	io.Reader
	timer *time.Timer
}

func newHurried(body io.Reader, ctl *control) *hurried {
	h := &hurried{body, time.AfterFunc(pieceTime, ctl.stopReading)}
	h.timer.Stop()
	return h
}

// Read implements io.Reader.
func (h *hurried) Read(b []byte) (int, error) {
	h.timer.Reset(pieceTime)
	defer h.timer.Stop()
	return h.Reader.Read(b)
}

// expect makes a place for a piece; nil if there is one already.
func (q *queue) expect(seq uint64) (*brought, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return nil, q.err
	case q.tail != nil:
		return nil, errTwice
	case seq < q.next || q.pieces[seq] != nil:
		return nil, nil
	case len(q.pieces) > mostPieces:
		q.fails(errPieces)
		return nil, errPieces
	}
	p := new(brought)
	q.pieces[seq] = p
	return p, nil
}

// readChunk reads once. Most pieces are small: what waits should not cost more
// than it is.
func readChunk(body io.Reader) (chunk, error) {
	b := chunks.Get().(*[]byte)
	n, err := body.Read(*b)
	if n > chunkSize/4 {
		return chunk{b: (*b)[:n], pooled: b, cost: chunkSize + chunkCost}, err
	}
	small := append([]byte(nil), (*b)[:n]...)
	chunks.Put(b)
	return chunk{b: small, cost: cap(small) + chunkCost}, err
}

// room waits until another chunk of a piece may be held.
func (q *queue) room(ctx context.Context, seq uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		has, most := q.earlier, mostEarlier
		if seq == q.next {
			has, most = q.waits, mostReady
		}
		if !q.read {
			most = mostUnread
		}
		switch {
		case q.err != nil:
			return q.err
		case ctx.Err() != nil:
			return ctx.Err()
		case has < most && (has < mostUnread || q.held.Load() < mostHeld):
			return nil
		case seq != q.next && q.read:
			// Its bytes may be in the way of those that it waits for: one
			// connection has one window for all of its streams.
			return errPieces
		}
		q.full++
		q.changed.Wait()
		q.full--
	}
}

// add puts a chunk of a piece where it belongs; it is the last one if whole.
func (q *queue) add(seq uint64, p *brought, c chunk, whole bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		c.free()
		return q.err
	}
	p.whole = whole
	if len(c.b) == 0 {
		c.free()
		c = chunk{}
	}
	q.held.Add(int64(c.cost))
	if seq != q.next {
		q.earlier += c.cost
		p.chunks = append(p.chunks, c)
		return nil
	}
	q.append(c)
	for p := q.pieces[q.next]; p != nil; p = q.pieces[q.next] {
		for _, c := range p.chunks {
			q.earlier -= c.cost
			q.append(c)
		}
		p.chunks = nil
		if !p.whole {
			break
		}
		delete(q.pieces, q.next)
		q.next++
	}
	q.changed.Broadcast()
	return nil
}

// append is for bytes whose turn it is; under mu.
func (q *queue) append(c chunk) {
	if len(c.b) == 0 {
		return
	}
	q.waits += c.cost
	q.ready = append(q.ready, c)
}

// follow takes all of the uplink from b.
func (q *queue) follow(b *body) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return q.err
	case q.tail != nil || q.next > 0 || len(q.pieces) > 0:
		return errTwice
	}
	q.tail = b
	q.changed.Broadcast()
	return nil
}

// lend gives f to the handler of the only request of the uplink.
func (q *queue) lend(f func()) bool {
	q.mu.Lock()
	b := q.tail
	q.mu.Unlock()
	return b != nil && b.lend(f)
}

// finish ends the uplink when what is here of it has been read. Pieces have no last
// one: a client that has been told the end of the downlink sends no more, as its own
// end is the end of the stream to it.
func (q *queue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = true
	q.changed.Broadcast()
}

// reader says that there is somebody who reads.
func (q *queue) reader() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.read = true
	q.changed.Broadcast()
}

// WaitRead waits until there is something to read, or an end.
func (q *queue) WaitRead() error {
	q.mu.Lock()
	b := q.wait()
	q.mu.Unlock()
	if b != nil {
		return b.WaitRead()
	}
	return nil
}

// wait waits for what there is to read; not nil: it is there. Under mu.
func (q *queue) wait() *body {
	for len(q.ready) == 0 && q.err == nil && q.tail == nil {
		if q.last && len(q.pieces) == 0 {
			q.err = io.EOF
			break
		}
		q.changed.Wait()
	}
	return q.tail
}

// Read implements io.Reader.
func (q *queue) Read(b []byte) (n int, err error) {
	q.mu.Lock()
	if tail := q.wait(); tail != nil {
		q.mu.Unlock()
		return tail.Read(b)
	}
	defer q.mu.Unlock()
	for n < len(b) && len(q.ready) > 0 {
		c := &q.ready[0]
		m := copy(b[n:], c.b)
		n += m
		if c.b = c.b[m:]; len(c.b) > 0 {
			break
		}
		c.free()
		q.waits -= c.cost
		q.held.Add(-int64(c.cost))
		if q.ready = q.ready[1:]; len(q.ready) == 0 {
			q.ready = nil
		}
	}
	if n == 0 {
		return 0, q.err
	}
	if q.full > 0 {
		q.changed.Broadcast()
	}
	return n, nil
}

// fail ends the uplink at once: what is missing cannot be had again.
func (q *queue) fail(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fails(err)
	return err
}

func (q *queue) fails(err error) {
	if q.err != nil {
		return
	}
	q.err = err
	for _, p := range q.pieces {
		q.ready = append(q.ready, p.chunks...)
	}
	for _, c := range q.ready {
		c.free()
	}
	q.held.Add(-int64(q.waits + q.earlier))
	q.ready, q.pieces, q.waits, q.earlier = nil, nil, 0, 0
	if q.tail != nil {
		_ = q.tail.fail(err)
	}
	q.changed.Broadcast()
}

func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changed.Broadcast()
}
