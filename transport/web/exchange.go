package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"relay/transport/h2"
)

// writeEach is how much of a piece is written at a time: less than this within stepTime
// is no line to send pieces on.
const writeEach = 16 << 10

// plainHead writes a request's head as a browser has it over HTTP/1.1: Chrome's fields
// in their order, whose names begin with capitals there unless they are hints (measured
// with WebSockets), and what HTTP/2 alone has is left out.
func plainHead(h h2.Head) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive\r\n", h.Method, h.Path, h.Authority)
	for _, f := range h.Fields {
		name := f.Name
		switch {
		case name == "priority" || name == "te":
			continue
		case !strings.HasPrefix(name, "sec-ch-"):
			name = http.CanonicalHeaderKey(name)
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, f.Value)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// errStale is what a connection that was idle has come to: nothing of an answer has come,
// so the request can be made again.
var errStale = errors.New("the connection has ended while nobody used it")

// exchange makes a request, and reads the head of its answer, for which it waits for
// limit once all is written. Whatever fails, the connection is of no more use.
func (k *plainConn) exchange(ctx context.Context, head h2.Head, body []byte, limit time.Duration) (answer, error) {
	stop := context.AfterFunc(ctx, func() { _ = k.SetDeadline(time.Unix(1, 0)) })
	k.limited.N = mostHead
	a, err := k.ask(ctx, head, body, limit)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	switch {
	case err == nil && a.status == http.StatusRequestTimeout && k.reused:
		return answer{}, errStale // so servers end what is idle
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answer{}, errFrozen
	case k.reused && k.limited.N == mostHead:
		return answer{}, fmt.Errorf("%w: %w", errStale, err)
	}
	return answer{}, err
}

func (k *plainConn) ask(ctx context.Context, head h2.Head, body []byte, limit time.Duration) (answer, error) {
	b := append(plainHead(head), body...)
	for len(b) > 0 && ctx.Err() == nil {
		n := min(len(b), writeEach)
		_ = k.SetWriteDeadline(time.Now().Add(stepTime))
		if _, err := k.Write(b[:n]); err != nil {
			return answer{}, err
		}
		b = b[n:]
	}
	_ = k.SetReadDeadline(time.Now().Add(limit))
	if ctx.Err() != nil {
		return answer{}, context.Cause(ctx)
	}
	a, err := k.head(head.Method)
	if err == nil {
		// The context's end may have set one meanwhile; exchange looks.
		_ = k.SetDeadline(time.Time{})
	}
	return a, err
}
