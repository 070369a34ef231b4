package web

import (
	"context"
	"errors"
	"io"
	"os"
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

	// missingTime is how long pieces wait, where there is no more room for what comes
	// before its turn, for the piece in turn to begin: its request may be on another
	// connection, or here and not looked at.
	missingTime = 5 * time.Second
	// pieceTime is how long a piece may stand still on its way.
	pieceTime = time.Minute
)

var (
	errPieces = errors.New("more pieces before their turn than there is room for")
	errSlow   = errors.New("a piece that has come before does not end")
	errTwice  = errors.New("the session has its uplink")
)

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
	ready   line      // in order
	next    uint64    // the piece whose chunks go to ready
	turned  time.Time // when it became that
	pieces  map[uint64]*brought
	earlier int       // cost of pieces
	full    int       // who waits for room
	reads   int       // that have brought any
	stalled bool      // the target takes nothing: there is more room
	read    bool      // somebody reads
	tail    tail      // all that follows, if it comes in one piece
	notify  func()    // see notifyOnce
	until   time.Time // see setDeadline
	timer   *time.Timer
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

// room waits until another chunk of a piece may be held.
func (q *queue) room(ctx context.Context, seq uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var began time.Time
	var tick *time.Timer
	seen := q.reads
	for {
		has, most := q.earlier, mostEarlier
		if seq == q.next {
			has, most = q.ready.cost, mostReady
			if q.stalled {
				most = mostAhead
			}
		}
		if !q.read {
			most = mostUnread
		}
		switch now := time.Now(); {
		case q.err != nil:
			return q.err
		case ctx.Err() != nil:
			return ctx.Err()
		case has < most && (has < mostUnread || q.held.Load() < mostHeld):
			return nil
		case !q.read:
		case began.IsZero():
			began = now
			tick = time.AfterFunc(stallTick, q.wake)
			defer tick.Stop()
		case seq != q.next && q.pieces[q.next] == nil && now.Sub(began) >= missingTime && now.Sub(q.turned) >= missingTime:
			// Its bytes may be in the way of those that it waits for: one
			// connection can have one window for all of its streams. Where the
			// piece in turn has begun it is the target that all wait for.
			return errPieces
		case now.Sub(began) >= stallTime && q.reads != seen:
			// It is slow: only a piece out of turn waits for so long then.
			began, seen = now, q.reads
		case now.Sub(began) >= stallTime:
			return errStalled
		case seq == q.next && now.Sub(began) >= stallTick && !q.stalled:
			q.stalled = true // as with a body that lasts
			continue
		}
		if tick != nil {
			tick.Reset(stallTick)
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
	q.held.Add(int64(c.cost))
	if seq != q.next {
		q.earlier += c.cost
		p.chunks = append(p.chunks, c)
		return nil
	}
	q.ready.add(c)
	defer q.tell()
	for p := q.pieces[q.next]; p != nil; p = q.pieces[q.next] {
		for _, c := range p.chunks {
			q.earlier -= c.cost
			q.ready.add(c)
		}
		p.chunks = nil
		if !p.whole {
			break
		}
		delete(q.pieces, q.next)
		q.next++
		q.turned = time.Now()
	}
	return nil
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
	b, late := q.wait()
	q.mu.Unlock()
	if late {
		return os.ErrDeadlineExceeded
	}
	if b != nil {
		return b.WaitRead()
	}
	return nil
}

// wait waits for what there is to read; not nil: it is there. Under mu.
func (q *queue) wait() (t tail, late bool) {
	for !q.readable() {
		if !q.until.IsZero() && !time.Now().Before(q.until) {
			return nil, true
		}
		q.changed.Wait()
	}
	return q.tail, false
}

// readable reports whether who reads does not have to wait for the queue; under mu.
func (q *queue) readable() bool {
	if q.ready.empty() && q.err == nil && q.tail == nil && q.last && len(q.pieces) == 0 {
		q.err = io.EOF
	}
	return !q.ready.empty() || q.err != nil || q.tail != nil
}

// Read implements io.Reader.
func (q *queue) Read(b []byte) (n int, err error) {
	q.mu.Lock()
	tail, late := q.wait()
	if late {
		q.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	if tail != nil {
		q.mu.Unlock()
		return tail.Read(b)
	}
	defer q.mu.Unlock()
	n = q.ready.read(b, q.held)
	q.stalled = q.stalled && q.ready.cost >= mostReady
	if n == 0 {
		return 0, q.err
	}
	q.reads++
	if q.full > 0 {
		q.changed.Broadcast()
	}
	return n, nil
}

// lost implements uplink.
func (q *queue) lost() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err != nil && q.err != io.EOF || q.tail != nil && q.tail.lost()
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
		for _, c := range p.chunks {
			q.ready.add(c)
		}
	}
	q.ready.drop(q.held)
	q.pieces, q.earlier = nil, 0
	if q.tail != nil {
		_ = q.tail.fail(err)
	}
	if q.timer != nil {
		q.timer.Stop()
	}
	q.tell()
}

func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changed.Broadcast()
}
