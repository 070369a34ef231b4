package h2_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"relay/relay/relaytest"
	"relay/transport/h2"
)

// TestServed: connections that change hands serve our client, Go's and curl, and those
// that do not are the other server's.
func TestServed(t *testing.T) {
	relaytest.LeakCheck(t)
	theirs := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "theirs %s %q", r.Method, body)
	})
	svc := h2.Service{Handle: asHandler(func(s *h2.Stream, body []byte) (int, string) {
		return 200, fmt.Sprintf("ours %s %q", s.Head().Method, body)
	})}
	h := newHost(t, theirs, svc)
	for _, tt := range []struct{ path, whose string }{{"/ours", "ours"}, {"/theirs", "theirs"}} {
		t.Run(tt.whose, func(t *testing.T) {
			c := h2.NewConn(h.dial(t), chrome())
			defer c.Close()
			client := h.client(t)
			// A second path does not change hands again.
			for _, path := range []string{tt.path, "/other", "/ours/2"} {
				for _, body := range []string{"", "hello"} {
					want := fmt.Sprintf("%s POST %q", tt.whose, body)
					s := open(t, c, request("POST", path), []byte(body), true)
					if status, got := answer(t, s); status != 200 || got != want {
						t.Errorf("our client, %s: got %d %q, want %q", path, status, got, want)
					}
					res, err := client.Post(h.URL+path, "text/plain", bytes.NewReader([]byte(body)))
					if err != nil {
						t.Fatalf("Go's client, %s: got %v, want an answer", path, err)
					}
					got, err := io.ReadAll(res.Body)
					if _ = res.Body.Close(); err != nil || string(got) != want {
						t.Errorf("Go's client, %s: got %q, %v, want %q", path, got, err, want)
					}
				}
			}
			curl(t, h.URL+tt.path, fmt.Sprintf("%s POST %q", tt.whose, "hello"))
		})
	}
	if got := len(h.conns); got != 3 {
		t.Errorf("connections that have changed hands: got %d, want 3", got)
	}
}

// curl has curl ask twice on one connection.
func curl(t *testing.T, url, want string) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("curl is not there: not tried")
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "curl", "-sSk", "--http2", "--noproxy", "*", "-d", "hello", url, url).CombinedOutput()
	if err != nil || string(out) != want+want {
		t.Errorf("curl: got %q, %v, want %q twice", out, err, want)
	}
}

// TestServedBulk: bodies of many windows go both ways at the same time, with our
// client and with Go's.
func TestServedBulk(t *testing.T) {
	relaytest.LeakCheck(t)
	size := 16 << 20
	if testing.Short() {
		size = 3 << 20
	}
	budget := h2.NewBudget(64 << 20)
	h := newHost(t, http.NotFoundHandler(), h2.Service{Handle: echoes, Ahead: budget})
	body := make([]byte, size)
	_, _ = rand.Read(body)
	c := h2.NewConn(h.dial(t), chrome())
	defer c.Close()
	client := h.client(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := c.Open(t.Context(), request("POST", "/ours"), nil, false)
			if err != nil {
				t.Errorf("Open: got %v, want a stream", err)
				return
			}
			defer s.Close()
			wg.Go(func() {
				_, err := s.Write(body)
				if err := errors.Join(err, s.CloseWrite()); err != nil {
					t.Errorf("our client %d: Write: got %v, want nil", i, err)
				}
			})
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, body) {
				t.Errorf("our client %d: got %d bytes and %v, want what was sent", i, len(got), err)
			}
		})
		wg.Go(func() {
			res, err := client.Post(h.URL+"/ours", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Errorf("Go's client %d: got %v, want an answer", i, err)
				return
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, body) {
				t.Errorf("Go's client %d: got %d bytes and %v, want what was sent", i, len(got), err)
			}
		})
	}
	wg.Wait()
	if got := c.Streams(); got != 0 {
		t.Errorf("Streams: got %d, want 0", got)
	}
}

// TestServedDisorder: streams that end in all ways at all times leave nothing behind,
// and harm no other.
func TestServedDisorder(t *testing.T) {
	relaytest.LeakCheck(t)
	budget := h2.NewBudget(1 << 20)
	h := newHost(t, http.NotFoundHandler(), h2.Service{Handle: echoes, Ahead: budget})
	c := h2.NewConn(h.dial(t), chrome())
	defer c.Close()
	if status, _ := answer(t, open(t, c, request("GET", "/ours"), nil, true)); status != 200 {
		t.Fatalf("first answer: got %d, want 200", status)
	}
	conn := <-h.conns
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			random := mathRand(uint64(i))
			for range 20 {
				disorder(t, c, random)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(c.Err(), conn.Err()); err != nil {
		t.Fatalf("Err: got %v, want nil", err)
	}
	if _, body := answer(t, open(t, c, request("POST", "/"), []byte("still"), true)); body != "still" {
		t.Errorf("answer: got %q, want still", body)
	}
	for end := time.Now().Add(10 * time.Second); conn.Streams() > 0 || conn.Unread() != 0 || h2.BudgetLeft(budget) != 1<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left: got %d streams, %d bytes unread and %d of the budget, want 0, 0 and all", conn.Streams(), conn.Unread(), h2.BudgetLeft(budget))
		}
	}
}

// TestServedHalves: either half ends first, and the other goes on.
func TestServedHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *h2.Stream, 4)
		c, s, _ := newServed(t, 0, begun(), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
		one := <-streams
		s.ok(s.WriteData(1, true, []byte("all")))
		if b, err := io.ReadAll(one); string(b) != "all" || err != nil {
			t.Errorf("Read: got %q, %v, want all and the end", b, err)
		}
		_ = one.Answer(200, nil, false)
		if _, err := one.Write([]byte("late")); err != nil {
			t.Errorf("Write behind the end of the request: got %v, want nil", err)
		}
		if f := until[*http2.DataFrame](s); string(f.Data()) != "late" {
			t.Errorf("DATA: got %q, want late", f.Data())
		}
		_ = one.CloseWrite()
		if f := until[*http2.DataFrame](s); !f.StreamEnded() || c.Streams() != 0 {
			t.Errorf("end: got %v and %d streams, want the end and none", f, c.Streams())
		}
		s.ok(s.ask(3, false))
		two := <-streams
		_ = two.Answer(200, nil, true)
		s.ok(s.WriteData(3, true, []byte("after")))
		if b, err := io.ReadAll(two); string(b) != "after" || err != nil {
			t.Errorf("Read behind the answer: got %q, %v, want after and the end", b, err)
		}
		// A server that has answered and needs no more says so in order.
		s.ok(s.ask(5, false))
		three := <-streams
		_ = three.Answer(200, nil, false)
		_ = three.Finish()
		if f := until[*http2.RSTStreamFrame](s); f.StreamID != 5 || f.ErrCode != http2.ErrCodeNo {
			t.Errorf("RST_STREAM: got %v, want NO_ERROR for 5", f)
		}
		if three.Lost() {
			t.Error("Lost: got true behind an answer, want false")
		}
	})
}

// TestServedResets: a reset reaches who reads, who writes and who does neither.
func TestServedResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *h2.Stream, 4)
		_, s, _ := newServed(t, 1<<20, begun(), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
		one := <-streams
		lost, told := make(chan struct{}), make(chan struct{})
		one.OnLost(func() { close(lost) })
		one.Notify(func() { close(told) })
		_ = one.Answer(200, nil, false)
		wrote := make(chan error)
		go func() {
			_, err := one.Write(make([]byte, 100000))
			wrote <- err
		}()
		s.ok(s.WriteRSTStream(1, http2.ErrCodeCancel))
		<-lost
		<-told
		var reset *h2.ResetError
		if err := <-wrote; !errors.As(err, &reset) || !one.Lost() {
			t.Errorf("Write: got %v, want a reset", err)
		}
		if _, err := one.Read(make([]byte, 1)); !errors.As(err, &reset) {
			t.Errorf("Read: got %v, want a reset", err)
		}
		_ = one.Close()
		s.ok(s.ask(3, false))
		two := <-streams
		_ = two.Close()
		if f := until[*http2.RSTStreamFrame](s); f.StreamID != 3 || f.ErrCode != http2.ErrCodeCancel {
			t.Errorf("RST_STREAM: got %v, want CANCEL for 3", f)
		}
		// What is on its way for it is not the end of the connection.
		s.ok(s.WriteData(3, true, make([]byte, 1000)))
		s.ok(s.ask(5, true))
		<-streams
	})
}

// TestServedWindows: a client gets the windows that the other server has announced, of
// a stream and of all, and no more before somebody reads.
func TestServedWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *h2.Stream, 4)
		c, s, _ := newServed(t, 4<<20, begun(), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
		one := <-streams
		for range 64 {
			s.ok(s.WriteData(1, false, make([]byte, 16384)))
		}
		synctest.Wait()
		if c.Unread() != 1<<20 || c.Err() != nil {
			t.Fatalf("Unread: got %d, %v, want a whole window", c.Unread(), c.Err())
		}
		if _, err := io.ReadFull(one, make([]byte, 1<<20)); err != nil {
			t.Fatalf("Read: got %v, want nil", err)
		}
		opened := map[uint32]uint32{}
		for opened[0] < 1<<19 || opened[1] < 1<<19 {
			f := until[*http2.WindowUpdateFrame](s)
			opened[f.StreamID] += f.Increment
		}
		s.ok(s.WriteData(1, true, make([]byte, 1<<19)))
		if n, err := io.Copy(io.Discard, one); n != 1<<19 || err != nil {
			t.Errorf("Read: got %d, %v, want %d", n, err, 1<<19)
		}
	})
}

// TestServedTrailers: fields behind a request end it.
func TestServedTrailers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *h2.Stream, 1)
		_, s, _ := newServed(t, 0, begun(), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
		s.ok(s.WriteData(1, false, []byte("body")))
		s.ok(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.block("a", "b"), EndHeaders: true, EndStream: true}))
		if b, err := io.ReadAll(<-streams); string(b) != "body" || err != nil {
			t.Errorf("Read: got %q, %v, want body and the end", b, err)
		}
	})
}
