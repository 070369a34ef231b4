package h2_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// whileOpening is a context that does something once a request has an id and before it
// writes, which is when [h2.Conn.Open] first asks how long it may take.
type whileOpening struct {
	context.Context
	once sync.Once
	do   func()
}

func (c *whileOpening) Done() <-chan struct{} {
	c.once.Do(c.do)
	return c.Context.Done()
}

// TestEarliestAnswer: an answer may be there, and its reset, before the caller knows that
// the head of his request has gone, which another one's write may have taken along.
func TestEarliestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server := newScript(t, 1<<16)
		go func() {
			server.opening()
			for range 2 {
				id := until[*http2.HeadersFrame](server).StreamID
				server.answer(id, true)
				server.ok(server.WriteRSTStream(id, http2.ErrCodeNo))
			}
		}()
		ctx := &whileOpening{Context: t.Context()}
		ctx.do = func() {
			other := open(t, c, request("GET", "/"), nil, true)
			if status, _ := answer(t, other); status != 200 {
				t.Errorf("the other request: got %d, want 200", status)
			}
			synctest.Wait()
		}
		s, err := c.Open(ctx, request("POST", "/"), []byte("what nobody asks for"), false)
		if err != nil {
			t.Fatalf("Open: got %v, want a stream", err)
		}
		if status, body := answer(t, s); status != 200 || body != "" {
			t.Errorf("got %d %q, want 200", status, body)
		}
	})
}
