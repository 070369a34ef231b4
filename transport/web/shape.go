package web

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// A handshake inside of ours has a shape of its own: a hello up, a flight down, a short
// answer up. Whoever watches sizes knows it (SPEC.md, Section 8), so the beginning of a
// stream is given another one: short writes grow to the size of requests, and requests
// of a page's visitor come in between. What is large stays as it is.
const (
	// shapedWrites is how many writes of a stream are shaped.
	shapedWrites = 8
	// leastShaped and usualShaped are what a short write becomes: the sizes of
	// requests with their heads, less than any hello of TLS 1.3 and more than any
	// answer to a flight. A longer one becomes anything up to mostShaped.
	leastShaped, usualShaped, mostShaped = 350, 480, 1400
	// mostFramePad is what a DATA frame has at most.
	mostFramePad = 255
	// mostVisits is how many requests of a visitor go beside the beginning of a
	// stream, one after the other, and mostVisiting how many streams have some at a
	// time on a connection.
	mostVisits, mostVisiting = 3, 2
	// What a request of a visitor is padded with: the first of a stream, which makes
	// the hello beside it longer, and those that follow it.
	leastBeside, mostBeside = 1000, 2400
	leastVisit, mostVisit   = 60, 220
	// leastPieced and mostPieced are what a short piece of a stream's beginning becomes
	// with its padding: a request of 1 kB. Between the hellos without and with ML-KEM
	// that rules know there is room for that size, and less so for the usual one.
	leastPieced, mostPieced = 770, 880
	// mostPiecePad is with leastPadding what other pieces are padded with, so that a
	// short one is a short request, and pieceShaping what a stream is given beyond it.
	mostPiecePad = 220
	pieceShaping = 2000
	// visitTime bounds one, and mostRead what is read of its answer.
	visitTime = 10 * time.Second
	mostRead  = 64 << 10
)

var longPadding = strings.Repeat("X", mostBeside)

// shaper shapes the writes of one stream, for who writes.
type shaper struct {
	left   int
	k      *carrier // for a visit; nil: there is none
	looked int      // writes that may have been a hello
	pieced int      // bytes of pieceShaping that are gone
}

// lateHello is among how many writes a hello is looked for that did not come with the
// request: a program may take longer for it than a stream waits.
const lateHello = 2

// paddable is a stream that takes padding.
type paddable interface {
	io.Writer
	WritePadded(b []byte, pad uint8) (int, error)
}

// write writes b to s.
func (h *shaper) write(s paddable, b []byte) (int, error) {
	if h.looked < lateHello {
		h.looked++
		if h.k != nil && len(b) > usualShaped {
			h.k.visit()
		}
	}
	if h.left == 0 || len(b) >= mostShaped {
		return s.Write(b)
	}
	h.left--
	most := usualShaped
	if len(b) > most {
		most = mostShaped
	}
	more := between(max(leastShaped, len(b)), most) - len(b)
	n, err := s.WritePadded(b, uint8(min(more, mostFramePad)))
	for more -= mostFramePad; err == nil && more > 0; more -= mostFramePad {
		_, err = s.WritePadded(nil, uint8(min(more, mostFramePad)))
	}
	return n, err
}

// piece draws the padding of a piece of n bytes.
func (h *shaper) piece(n int) int {
	usual := between(leastPadding, mostPiecePad)
	more := between(leastPieced, mostPieced) - n - usual
	if more <= 0 || h.pieced+more > pieceShaping {
		return usual
	}
	h.pieced += more
	return usual + more
}

// visit makes requests as a visitor of the site does, beside the beginning of a stream:
// their answers are the site's page, or padding.
func (k *carrier) visit() {
	c := k.client
	c.mu.Lock()
	// Where connections are limited each byte down counts.
	ok := k.visiting < mostVisiting && c.budget == 0 && k.requests > mostVisits
	if ok {
		k.visiting++
	}
	c.mu.Unlock()
	if ok {
		c.tasks.Go(k.visits)
	}
}

// visits are those of one stream. The first goes with the request of the stream and
// each of the others when the one before is answered, so they stand between a hello and
// what a target says to it, which is a way farther from the exit.
func (k *carrier) visits() {
	c := k.client
	defer func() {
		c.mu.Lock()
		k.visiting--
		c.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(c.ctx, visitTime)
	defer cancel()
	pad := between(leastBeside, mostBeside)
	for range between(1, mostVisits) {
		if k.visitOnce(ctx, pad) != nil {
			return
		}
		pad = between(leastVisit, mostVisit)
	}
}

// visitOnce returns when the answer begins.
func (k *carrier) visitOnce(ctx context.Context, pad int) error {
	c := k.client
	method, path, fields := http.MethodGet, "/", c.profile.HTTP2.Page
	if k.visited.Swap(true) {
		method, path, fields = http.MethodOptions, string(c.way.Path), c.profile.HTTP2.Get
	}
	s, err := k.open(ctx, c.askPadded(method, path, fields, -1, pad), nil, true)
	if err != nil {
		return err
	}
	_, _, err = s.Response(ctx)
	if err != nil {
		_ = s.Close()
		return err
	}
	c.tasks.Go(func() {
		defer s.Close()
		if d, ok := ctx.Deadline(); ok {
			_ = s.SetReadDeadline(d)
		}
		_, _ = io.CopyN(io.Discard, s, mostRead)
	})
	return nil
}
