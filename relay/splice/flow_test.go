package splice_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

func TestHalfClose(t *testing.T) {
	for name, clientFirst := range map[string]bool{"client first": true, "server first": false} {
		t.Run(name, func(t *testing.T) { onEveryPath(t, func(t *testing.T, h *harness) { halfClose(t, h, clientFirst) }) })
	}
}

func halfClose(t *testing.T, h *harness, clientFirst bool) {
	j := h.join(splice.Limits{Idle: 100 * h.unit, Fin: 100 * h.unit}, nil)
	defer j.close()
	first, second := j.client, j.server
	if !clientFirst {
		first, second = second, first
	}
	go func() {
		_ = send(first, 1, 100_000)
		_ = first.CloseWrite()
	}()
	if n, err := receive(second, 1); n != 100_000 || err != nil {
		t.Errorf("first direction: got %d bytes, %v, want 100000, nil", n, err)
	}
	time.Sleep(30 * h.unit)
	go func() {
		_ = send(second, 2, 50_000)
		_ = second.CloseWrite()
	}()
	if n, err := receive(first, 2); n != 50_000 || err != nil {
		t.Errorf("answer after the half-close: got %d bytes, %v, want 50000, nil", n, err)
	}
	up, down := int64(100_000), int64(50_000)
	if !clientFirst {
		up, down = down, up
	}
	j.want(t, transport.OK, up, down)
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{Idle: 60 * h.unit, Fin: h.unit}, nil)
		defer j.close()
		client, server, buf := j.client, j.server, make([]byte, 1)
		var began time.Time // before the byte is on its way
		for range 10 {      // a byte now up, now down, is not idleness
			time.Sleep(20 * h.unit)
			client, server = server, client
			began = time.Now()
			_, _ = client.Write(buf)
			if _, err := io.ReadFull(server, buf); err != nil {
				t.Fatalf("read: got %v, want nil", err)
			}
		}
		j.want(t, transport.Timeout, 5, 5)
		h.took("idle timeout", began, 60*h.unit, 62*h.unit)
	})
}

// The fin timeout counts idleness: a long answer after the client's half-close
// is not cut, however long it takes.
func TestFinTimeout(t *testing.T) {
	t.Parallel()
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{Idle: time.Hour, Fin: 40 * h.unit}, nil)
		defer j.close()
		time.Sleep(80 * h.unit) // no fin timeout while both directions are open
		_ = j.client.CloseWrite()
		buf, began := make([]byte, 1), time.Time{}
		for range 10 {
			time.Sleep(15 * h.unit)
			began = time.Now()
			_, _ = j.server.Write(buf)
			if _, err := io.ReadFull(j.client, buf); err != nil {
				t.Fatalf("read: got %v, want nil", err)
			}
		}
		j.want(t, transport.Timeout, 0, 10)
		h.took("fin timeout", began, 40*h.unit, 42*h.unit)
	})
}

func TestNoLimits(t *testing.T) {
	t.Parallel()
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{}, nil)
		_ = j.client.CloseWrite()
		time.Sleep(100 * h.unit)
		select {
		case e := <-j.end:
			t.Errorf("flow without limits: got the end %v, want none", e)
		default:
		}
		_ = j.server.CloseWrite()
		j.close()
		j.want(t, transport.OK, 0, 0)
	})
}

func TestReset(t *testing.T) {
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{}, nil)
		_ = transport.Abort(j.client)
		if _, err := j.server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("server after the client's reset: got %v, want ECONNRESET", err)
		}
		j.want(t, transport.ClientGone, 0, 0)
		j.close()
		j = h.join(splice.Limits{}, nil)
		_ = transport.Abort(j.server)
		if _, err := j.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client after the server's reset: got %v, want ECONNRESET", err)
		}
		j.want(t, transport.TargetGone, 0, 0)
		j.close()
	})
}

// A client that is gone in order gets a reset for what it did not want; the
// target learns that nobody listens.
func TestClientGoneInOrder(t *testing.T) {
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{}, nil)
		defer j.close()
		_ = j.client.CloseWrite()
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

// What the target has said before it closed must arrive, even though it does
// not read what the client still sends: "413 Content Too Large".
func TestAnswerSurvivesRefusedUpload(t *testing.T) {
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{Fin: time.Minute}, nil)
		defer j.close()
		_, _ = j.server.Write([]byte("413"))
		_ = j.server.CloseWrite()
		_ = j.server.Close()
		_, _ = j.client.Write([]byte("upload"))
		if got, err := io.ReadAll(j.client); string(got) != "413" || err != nil {
			t.Errorf("answer: got %q, %v, want 413 and an orderly end", got, err)
		}
	})
}

// early is a layer that has read ahead.
type early struct {
	transport.Conn
	unread string
}

func (e early) Detach() (transport.Conn, transport.Codec, []byte) {
	return e.Conn, nil, []byte(e.unread)
}

func TestEarlyBytesGoFirst(t *testing.T) {
	onEveryPath(t, func(t *testing.T, h *harness) {
		near, client := h.pair(t)
		far, server := h.pair(t)
		defer client.Close()
		defer server.Close()
		end := make(chan splice.End, 1)
		_, _ = client.Write([]byte("three "))
		_, _ = server.Write([]byte("answer"))
		// The outer layer has read before the inner one.
		h.Join(early{early{near, "two "}, "one "}, early{far, "early "}, splice.Limits{}, nil, func(e splice.End) { end <- e })
		_ = client.CloseWrite()
		_ = server.CloseWrite()
		up, _ := io.ReadAll(server)
		down, _ := io.ReadAll(client)
		if string(up) != "one two three " || string(down) != "early answer" {
			t.Errorf("bytes: got %q and %q, want the early ones first, the outer layer's before the inner one's", up, down)
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
	moves   atomic.Int64 // up
}

func (m *meter) Moved(up bool, n int) time.Duration {
	if up {
		m.up.Add(int64(n))
		m.moves.Add(1)
	} else {
		m.down.Add(int64(n))
	}
	return m.pause
}

func (m *meter) Limited() bool { return m.limited }

func TestPause(t *testing.T) {
	t.Parallel()
	onEveryPath(t, func(t *testing.T, h *harness) {
		pause := 20 * h.unit
		m := &meter{pause: pause, limited: true}
		j := h.join(splice.Limits{Idle: 10 * h.unit, Fin: 10 * h.unit}, m)
		defer j.close()
		began := time.Now()
		go func() {
			_ = send(j.client, 3, 3*splice.BufferSize)
			_ = j.client.CloseWrite()
		}()
		go func() {
			// The other direction is alive meanwhile, and pauses as well.
			_, _ = j.server.Write([]byte("x"))
			_, _ = j.server.Write([]byte("y"))
			_ = j.server.CloseWrite()
		}()
		if n, err := receive(j.server, 3); n != 3*splice.BufferSize || err != nil {
			t.Errorf("received: got %d, %v, want %d: a pause is no idleness", n, err, 3*splice.BufferSize)
		}
		moves := time.Duration(m.moves.Load())
		if moves < 3 {
			t.Errorf("moves under a rate limit: got %d, want small ones", moves)
		}
		// An end that was read with the last bytes does not wait for their pause.
		h.took("pauses", began, (moves-1)*pause, moves*pause)
		_, _ = io.ReadAll(j.client)
		j.want(t, transport.OK, m.up.Load(), m.down.Load())
	})
}

func TestCutInPause(t *testing.T) {
	t.Parallel()
	onEveryPath(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{}, &meter{pause: time.Hour})
		defer j.close()
		_, _ = j.client.Write([]byte("x"))
		if _, err := io.ReadFull(j.server, make([]byte, 1)); err != nil {
			t.Fatalf("read: got %v, want nil", err)
		}
		h.settle()
		began := time.Now()
		j.flow.Cut(transport.Cut)
		j.want(t, transport.Cut, 1, 0)
		h.took("Cut in a pause", began, 0, 0)
	})
}

// Cut works in every state, and the first reason counts.
func TestCut(t *testing.T) {
	for name, prepare := range map[string]func(j *joined){
		"idle":        func(*joined) {},
		"half closed": func(j *joined) { _ = j.client.CloseWrite() },
		"sink is full": func(j *joined) {
			go func() { _ = send(j.client, 1, 64<<20) }()
			go func() { _ = send(j.server, 1, 64<<20) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryPath(t, func(t *testing.T, h *harness) {
				j := h.join(splice.Limits{Idle: time.Hour}, nil)
				prepare(j)
				h.settle()
				j.flow.Cut(transport.Cut)
				j.flow.Cut(transport.Drained)
				j.want(t, transport.Cut, -1, -1)
				j.flow.Cut(transport.Drained)
				for _, c := range []transport.Conn{j.client, j.server} {
					err := drain(c)
					// Linux tells of a reset once, and a writer may have been told.
					if told := !h.fake && name != "idle"; !told && !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("peer after Cut: got %v, want ECONNRESET", err)
					}
				}
				h.settle()
				if len(j.end) != 0 {
					t.Errorf("done: got a second call with %v, want one", <-j.end)
				}
				j.close()
			})
		})
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	onEveryPath(t, func(t *testing.T, h *harness) {
		if got := h.Drain(t.Context()); got != 0 {
			t.Errorf("Drain without flows: got %d, want 0", got)
		}
		var finished atomic.Int32
		open := func() (client, server transport.Conn) {
			near, client := h.pair(t)
			far, server := h.pair(t)
			h.Join(near, far, splice.Limits{}, nil, func(splice.End) {
				time.Sleep(h.unit) // accounting takes its time
				finished.Add(1)
			})
			return client, server
		}
		defer closeBoth(open()) // one stays until it is cut
		client, server := open()
		time.AfterFunc(30*h.unit, func() { closeBoth(client, server) })
		if got := h.Len(); got != 2 {
			t.Errorf("Len: got %d, want 2", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*h.unit)
		defer cancel()
		if got := h.Drain(ctx); got != 1 {
			t.Errorf("Drain: got %d flows cut, want 1", got)
		}
		if got := finished.Load(); got != 2 {
			t.Errorf("done calls that were over when Drain returned: got %d, want 2", got)
		}
		if got := h.Len(); got != 0 {
			t.Errorf("Len after Drain: got %d, want 0", got)
		}
	})
}

func closeBoth(client, server transport.Conn) {
	_ = client.Close()
	_ = server.Close()
}

// What the core runs on ends with Drain, without waiting for its next tick.
func TestDrainLeavesNothing(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			relaytest.LeakCheck(t)
			c := p.core(time.Hour)
			for range 2 { // the core can be used again
				j := p.join(t, c, splice.Limits{Idle: time.Hour}, nil)
				_ = j.client.Close()
				_ = j.server.Close()
				<-j.end
				c.Drain(t.Context())
			}
		})
	}
}

// late is a connection whose Write comes back some time after it has written.
type late struct {
	transport.Conn
	by time.Duration
}

func (l late) Write(b []byte) (int, error) {
	defer time.Sleep(l.by)
	return l.Conn.Write(b)
}

// TestLateWriteCounts is that what a client has read is in the totals, though he was gone
// before it could be counted; and that nobody waits for a write that does not come back.
func TestLateWriteCounts(t *testing.T) {
	for by, want := range map[time.Duration]int64{500 * time.Millisecond: 5, time.Minute: 0} {
		inBubble(t, func(t *testing.T, c *splice.Core) {
			near, client := relaytest.Pipe()
			far, server := relaytest.Pipe()
			ended := make(chan splice.End, 2)
			c.Join(late{near, by}, far, splice.Limits{}, nil, func(e splice.End) { ended <- e })
			time.Sleep(800 * time.Millisecond) // the sweeper comes each second
			_, _ = io.WriteString(server, "hello")
			_, _ = io.ReadFull(client, make([]byte, 5))
			_ = transport.Abort(client)
			began := time.Now()
			e := <-ended
			if took := time.Since(began); e.Status != transport.ClientGone || e.Down != want || took > 3*time.Second {
				t.Errorf("a write that takes %v: got %+v after %v, want client_gone and %d down", by, e, took, want)
			}
			_ = server.Close()
		})
	}
}
