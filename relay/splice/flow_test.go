package splice_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// inBubble runs f with fake time and a fresh core whose tick is a second. The
// flows must end when f closes what it holds.
func inBubble(t *testing.T, f func(t *testing.T, c *splice.Core)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := splice.New(0)
		f(t, c)
		c.Drain(context.Background())
	})
}

func TestHalfClose(t *testing.T) {
	for _, clientFirst := range []bool{true, false} {
		inBubble(t, func(t *testing.T, c *splice.Core) {
			j := join(t, c, "memory", splice.Limits{Idle: time.Minute, Fin: time.Minute}, nil)
			defer j.close()
			first, second := j.client, j.server
			if !clientFirst {
				first, second = second, first
			}
			_ = send(first, 1, 100_000)
			_ = first.CloseWrite()
			if n, err := receive(second, 1); n != 100_000 || err != nil {
				t.Errorf("first direction: got %d bytes, %v, want 100000, nil", n, err)
			}
			time.Sleep(30 * time.Second)
			_ = send(second, 2, 50_000)
			_ = second.CloseWrite()
			if n, err := receive(first, 2); n != 50_000 || err != nil {
				t.Errorf("answer after the half-close: got %d bytes, %v, want 50000, nil", n, err)
			}
			up, down := int64(100_000), int64(50_000)
			if !clientFirst {
				up, down = down, up
			}
			j.want(t, transport.OK, up, down)
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		j := join(t, c, "memory", splice.Limits{Idle: time.Minute, Fin: time.Second}, nil)
		defer j.close()
		buf := make([]byte, 1)
		for range 10 { // a byte every 50 s, now up, now down, is not idleness
			time.Sleep(50 * time.Second)
			j.client, j.server = j.server, j.client
			_, _ = j.client.Write(buf)
			if _, err := io.ReadFull(j.server, buf); err != nil {
				t.Fatalf("read: got %v, want nil", err)
			}
		}
		began := time.Now()
		j.want(t, transport.Timeout, 5, 5)
		if got := time.Since(began); got < time.Minute || got > time.Minute+2*time.Second {
			t.Errorf("idle timeout: got %v, want a minute and at most two ticks", got)
		}
	})
}

// The fin timeout counts idleness: a long answer after the client's half-close
// is not cut, however long it takes.
func TestFinTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		j := join(t, c, "memory", splice.Limits{Idle: time.Hour, Fin: 10 * time.Second}, nil)
		defer j.close()
		time.Sleep(5 * time.Minute) // no fin timeout while both directions are open
		_ = j.client.CloseWrite()
		buf := make([]byte, 1)
		for range 30 {
			time.Sleep(8 * time.Second)
			_, _ = j.server.Write(buf)
			if _, err := io.ReadFull(j.client, buf); err != nil {
				t.Fatalf("read: got %v, want nil", err)
			}
		}
		began := time.Now()
		j.want(t, transport.Timeout, 0, 30)
		if got := time.Since(began); got < 10*time.Second || got > 12*time.Second {
			t.Errorf("fin timeout: got %v, want 10 s and at most two ticks", got)
		}
	})
}

func TestNoLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		j := join(t, c, "memory", splice.Limits{}, nil)
		_ = j.client.CloseWrite()
		time.Sleep(10 * time.Hour)
		select {
		case e := <-j.end:
			t.Errorf("flow without limits: got the end %v, want none", e)
		default:
		}
		j.close()
		j.want(t, transport.OK, 0, 0)
	})
}

func TestReset(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			c := splice.New(0)
			j := join(t, c, kind, splice.Limits{}, nil)
			_ = transport.Abort(j.client)
			if _, err := j.server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("server after the client's reset: got %v, want ECONNRESET", err)
			}
			j.want(t, transport.ClientGone, 0, 0)
			j.close()
			j = join(t, c, kind, splice.Limits{}, nil)
			_ = transport.Abort(j.server)
			if _, err := j.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("client after the server's reset: got %v, want ECONNRESET", err)
			}
			j.want(t, transport.TargetGone, 0, 0)
			j.close()
			c.Drain(t.Context())
		})
	}
}

// A client that is gone in order gets a reset for what it did not want; the
// target learns that nobody listens.
func TestClientGoneInOrder(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			j := join(t, splice.New(0), kind, splice.Limits{}, nil)
			defer j.close()
			_ = j.client.Close()
			if n, err := receive(j.server, 0); n != 0 || err != nil {
				t.Errorf("server: got %d bytes, %v, want the end", n, err)
			}
			for err := error(nil); err == nil; {
				_, err = j.server.Write(make([]byte, 1000))
			}
			j.want(t, transport.ClientGone, 0, -1)
		})
	}
}

// What the target has said before it closed must arrive, even though it does
// not read what the client still sends: "413 Content Too Large".
func TestAnswerSurvivesRefusedUpload(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		j := join(t, c, "memory", splice.Limits{Fin: time.Minute}, nil)
		defer j.close()
		_, _ = j.server.Write([]byte("413"))
		_ = j.server.Close()
		_, _ = j.client.Write([]byte("upload"))
		if got, err := io.ReadAll(j.client); string(got) != "413" || err != nil {
			t.Errorf("answer: got %q, %v, want 413 and an orderly end", got, err)
		}
	})
}

type early struct {
	transport.Conn
	unread string
}

func (e early) Detach() (transport.Conn, []byte) { return e.Conn, []byte(e.unread) }

func TestEarlyBytesGoFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		near, client := memoryPair()
		far, server := memoryPair()
		end := make(chan splice.End, 1)
		_, _ = client.Write([]byte("three "))
		_, _ = server.Write([]byte("answer"))
		// The outer layer has read before the inner one.
		c.Join(early{early{near, "two "}, "one "}, early{far, "early "}, splice.Limits{}, nil, func(e splice.End) { end <- e })
		_ = client.CloseWrite()
		_ = server.CloseWrite()
		up, _ := io.ReadAll(server)
		down, _ := io.ReadAll(client)
		if string(up) != "two one three " && string(up) != "one two three " || string(down) != "early answer" {
			t.Errorf("bytes: got %q and %q, want the early ones first", up, down)
		}
		if string(up) != "one two three " {
			t.Errorf("layers: got %q, want the outer layer's bytes first", up)
		}
		if e := <-end; e.Up != 14 || e.Down != 12 {
			t.Errorf("counted: got %d up, %d down, want 14 and 12, early bytes included", e.Up, e.Down)
		}
	})
}

// meter is an Account with a fixed pause after every move.
type meter struct {
	pause   time.Duration
	limited bool
	up      atomic.Int64
	down    atomic.Int64
}

func (m *meter) Moved(up bool, n int) time.Duration {
	if up {
		m.up.Add(int64(n))
	} else {
		m.down.Add(int64(n))
	}
	return m.pause
}

func (m *meter) Limited() bool { return m.limited }

func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		m := &meter{pause: time.Hour, limited: true}
		j := join(t, c, "memory", splice.Limits{Idle: time.Minute, Fin: time.Minute}, m)
		defer j.close()
		began := time.Now()
		_ = send(j.client, 3, 3*splice.BufferSize)
		_ = j.client.CloseWrite()
		go func() {
			// The other direction is alive meanwhile, and pauses as well.
			_, _ = j.server.Write([]byte("x"))
			_, _ = j.server.Write([]byte("y"))
			_ = j.server.CloseWrite()
		}()
		if n, err := receive(j.server, 3); n != 3*splice.BufferSize || err != nil {
			t.Errorf("received: got %d, %v, want %d: a pause is no idleness", n, err, 3*splice.BufferSize)
		}
		// The last pause comes before the end of the stream is seen.
		if got := time.Since(began); got != 3*time.Hour {
			t.Errorf("three moves took %v, want three pauses of an hour", got)
		}
		_, _ = io.ReadAll(j.client)
		j.want(t, transport.OK, m.up.Load(), m.down.Load())
	})
}

func TestCutInPause(t *testing.T) {
	inBubble(t, func(t *testing.T, c *splice.Core) {
		j := join(t, c, "memory", splice.Limits{}, &meter{pause: time.Hour})
		defer j.close()
		_, _ = j.client.Write([]byte("x"))
		synctest.Wait()
		began := time.Now()
		j.flow.Cut(transport.Cut)
		j.want(t, transport.Cut, 1, 0)
		if got := time.Since(began); got != 0 {
			t.Errorf("Cut in a pause took %v, want no time", got)
		}
	})
}

// Cut works in every state, and the first reason counts.
func TestCut(t *testing.T) {
	for name, prepare := range map[string]func(j *joined){
		"idle":        func(*joined) {},
		"half closed": func(j *joined) { _ = j.client.CloseWrite() },
		"sink is full": func(j *joined) {
			go func() { _ = send(j.client, 1, 1<<20) }()
			go func() { _ = send(j.server, 1, 1<<20) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *splice.Core) {
				j := join(t, c, "memory", splice.Limits{Idle: time.Hour}, nil)
				prepare(j)
				synctest.Wait()
				j.flow.Cut(transport.Cut)
				j.flow.Cut(transport.Drained)
				j.want(t, transport.Cut, -1, -1)
				j.flow.Cut(transport.Drained)
				for _, c := range []transport.Conn{j.client, j.server} {
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("peer after Cut: got %v, want ECONNRESET", err)
					}
				}
				synctest.Wait()
				if len(j.end) != 0 {
					t.Errorf("done: got a second call with %v, want one", <-j.end)
				}
				j.close()
			})
		})
	}
}

func TestDrain(t *testing.T) {
	relaytest.LeakCheck(t)
	inBubble(t, func(t *testing.T, c *splice.Core) {
		if got := c.Drain(t.Context()); got != 0 {
			t.Errorf("Drain without flows: got %d, want 0", got)
		}
		var finished atomic.Int32
		open := func() (client, server transport.Conn) {
			near, client := memoryPair()
			far, server := memoryPair()
			c.Join(near, far, splice.Limits{}, nil, func(splice.End) {
				time.Sleep(time.Second) // accounting takes its time
				finished.Add(1)
			})
			return client, server
		}
		open() // one stays until it is cut
		client, server := open()
		time.AfterFunc(30*time.Second, func() { _ = client.Close(); _ = server.Close() })
		if got := c.Len(); got != 2 {
			t.Errorf("Len: got %d, want 2", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got := c.Drain(ctx); got != 1 {
			t.Errorf("Drain: got %d flows cut, want 1", got)
		}
		if got := finished.Load(); got != 2 {
			t.Errorf("done calls that were over when Drain returned: got %d, want 2", got)
		}
		if got := c.Len(); got != 0 {
			t.Errorf("Len after Drain: got %d, want 0", got)
		}
	})
}

// The sweeper ends with Drain, without waiting for its next tick.
func TestDrainLeavesNoGoroutine(t *testing.T) {
	relaytest.LeakCheck(t)
	c := splice.New(time.Hour)
	j := join(t, c, "memory", splice.Limits{Idle: time.Hour}, nil)
	j.close()
	<-j.end
	c.Drain(t.Context())
	// And the core can be used again.
	j = join(t, c, "memory", splice.Limits{Idle: time.Hour}, nil)
	j.close()
	<-j.end
	c.Drain(t.Context())
}
