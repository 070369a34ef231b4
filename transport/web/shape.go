package web

import (
	"context"
	"io"
	"net/http"
	"time"
)

// A handshake inside of ours has a shape of its own: a hello up, a flight down, a short
// answer up. Whoever watches sizes knows it (SPEC.md, Section 8), so the beginning of a
// stream is given another one: short writes grow to the size of requests, and requests
// of a page's visitor come in between. What is large stays as it is.
const (
	// shapedWrites is how many writes of a stream are shaped.
	shapedWrites = 8
	// leastShaped and mostShaped are what a short write becomes: the sizes of
	// requests with their heads.
	leastShaped, mostShaped = 350, 1400
	// mostFramePad is what a DATA frame has at most.
	mostFramePad = 255
	// mostVisits is how many requests of a visitor go beside the beginning of a
	// stream, and mostVisiting how many of them are under way on a connection.
	mostVisits, mostVisiting = 2, 2
	// visitTime bounds one, and mostVisit what is read of its answer.
	visitTime = 10 * time.Second
	mostVisit = 64 << 10
)

// shaper shapes the writes of one stream, for who writes.
type shaper struct{ left int }

// paddable is a stream that takes padding.
type paddable interface {
	io.Writer
	WritePadded(b []byte, pad uint8) (int, error)
}

// write writes b to s.
func (h *shaper) write(s paddable, b []byte) (int, error) {
	if h.left == 0 || len(b) >= mostShaped {
		return s.Write(b)
	}
	h.left--
	more := between(max(leastShaped, len(b)), mostShaped) - len(b)
	n, err := s.WritePadded(b, uint8(min(more, mostFramePad)))
	for more -= mostFramePad; err == nil && more > 0; more -= mostFramePad {
		_, err = s.WritePadded(nil, uint8(min(more, mostFramePad)))
	}
	return n, err
}

// visit makes requests as a visitor of the site does, beside the beginning of a stream:
// their answers are the site's page, or padding.
func (k *carrier) visit() {
	c := k.client
	for range between(0, mostVisits) {
		c.mu.Lock()
		// Where connections are limited each byte down counts.
		ok := k.visiting < mostVisiting && c.budget == 0 && k.requests > 1
		if ok {
			k.visiting++
		}
		c.mu.Unlock()
		if ok {
			c.tasks.Go(k.visitOnce)
		}
	}
}

func (k *carrier) visitOnce() {
	c := k.client
	defer func() {
		c.mu.Lock()
		k.visiting--
		c.mu.Unlock()
	}()
	// Not always in the same place of the stream.
	wait := time.NewTimer(between(0, 150*time.Millisecond))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-k.conn.Done():
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, visitTime)
	defer cancel()
	method, path, fields := http.MethodGet, "/", c.profile.HTTP2.Page
	if k.visited.Swap(true) {
		method, path, fields = http.MethodOptions, string(c.way.Path), c.profile.HTTP2.Get
	}
	s, err := k.open(ctx, c.ask(method, path, fields, -1), nil, true)
	if err != nil {
		return
	}
	defer s.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = s.SetReadDeadline(d)
	}
	_, _ = io.CopyN(io.Discard, s, mostVisit)
}
