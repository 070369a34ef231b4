package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"relay/auth"
	"relay/transport"
)

// shared is one HTTP/2 connection, of the kind that the site serves, in fake time.
type shared struct {
	t *testing.T
	h *Handler
	//lint:ignore SA1019 until Go 1.27 makes them one
	conn *http2.ClientConn
}

func newShared(t *testing.T, near, far net.Conn, sink transport.Sink) *shared {
	t.Helper()
	h := New(Options{
		Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == password },
		Sink: sink,
	})
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.1:1234"
		if mine, ok := h.Claim(r); ok {
			mine.ServeHTTP(w, r)
		}
	})
	//lint:ignore SA1019 it is the site's
	srv, served := new(http2.Server), make(chan struct{})
	// Else it shares channels with other servers, in other tests' time.
	//lint:ignore SA1019 as above
	if err := http2.ConfigureServer(new(http.Server), srv); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(served)
		//lint:ignore SA1019 as above
		srv.ServeConn(far, &http2.ServeConnOpts{Handler: serve})
	}()
	//lint:ignore SA1019 as above
	conn, err := new(http2.Transport).NewClientConn(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		for _, c := range []net.Conn{near, far} {
			_ = c.Close()
		}
		<-served
		time.Sleep(time.Minute) // until timers have fired
	})
	return &shared{t, h, conn}
}

func (s *shared) do(ctx context.Context, method, rest string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://example.org/"+password+"/"+rest, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Referer", "https://example.org/?x_padding="+strings.Repeat("X", 100))
	return s.conn.RoundTrip(r)
}

// stallCase is an upload whose target takes nothing, and one beside it, on one
// connection.
type stallCase struct {
	name    string
	pending int
	after   time.Duration // the neighbour begins
	within  time.Duration // it is through
	reset   bool
}

// TestStall: the window of the connection is given back, up to a limit and then by a
// reset.
func TestStall(t *testing.T) {
	for _, tt := range []stallCase{
		{"what fits", 3 << 20, stallTick / 2, 2 * time.Second, false},
		{"what does not fit", 16 << 20, 4 * stallTick, stallTime, true},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

// stalling is a Sink with the two targets.
type stalling struct {
	goOn chan struct{} // closed: the stalled one takes what there is
	sum  chan [sha256.Size]byte
	err  chan error
	took chan time.Time // the other has all
}

func (k *stalling) Stream(_ context.Context, _ auth.User, c transport.Conn) error {
	go func() {
		word := make([]byte, 5)
		_, _ = io.ReadFull(c, word)
		if string(word) == "stall" {
			<-k.goOn
			sum := sha256.New()
			_, err := io.Copy(sum, c)
			k.err <- err
			k.sum <- [sha256.Size]byte(sum.Sum(nil))
		} else {
			if _, err := io.ReadFull(c, make([]byte, 1<<20)); err == nil {
				k.took <- time.Now()
			}
		}
		_ = c.CloseWrite()
		_ = c.Close()
	}()
	return nil
}

func (tt stallCase) run(t *testing.T) {
	k := &stalling{make(chan struct{}), make(chan [sha256.Size]byte, 1), make(chan error, 1), make(chan time.Time, 1)}
	near, far := link(10 * time.Millisecond)
	s := newShared(t, near, far, k)
	upload := func(word string, b []byte) *http.Response {
		res, err := s.do(t.Context(), "POST", "", io.MultiReader(strings.NewReader(word), strings.NewReader(string(b))))
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	payload := random(tt.pending)
	stalled := upload("stall", payload)
	time.Sleep(tt.after) // until the window is full
	began := time.Now()
	defer upload("taken", make([]byte, 1<<20)).Body.Close()
	most := int64(0)
	for ; len(k.took) == 0 && time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
		most = max(most, s.h.sessions.held.Load())
	}
	most = max(most, s.h.sessions.held.Load())
	if after := (<-k.took).Sub(began); after > tt.within {
		t.Errorf("the neighbour: got through after %v, want within %v", after, tt.within)
	}
	if most < 1<<20 || most > mostAhead+chunkSize+chunkCost {
		t.Errorf("got %d bytes held at most, want up to %d", most, mostAhead)
	}
	if tt.reset {
		var code http2.StreamError
		if _, err := io.ReadAll(stalled.Body); !errors.As(err, &code) {
			t.Errorf("the stalled one: got %v, want a reset", err)
		}
	}
	close(k.goOn)
	if err := <-k.err; (err != nil) != tt.reset {
		t.Errorf("the stalled one's target: got %v, want an error: %v", err, tt.reset)
	}
	if sum := <-k.sum; !tt.reset && sum != sha256.Sum256(payload) {
		t.Error("the stalled one: got other bytes than were sent")
	}
	_ = stalled.Body.Close()
	synctest.Wait()
	if n := s.h.sessions.held.Load(); n != 0 {
		t.Errorf("%d bytes are held at the end", n)
	}
}

// TestStallOver: a target that takes something again, however slow, gets what was read
// ahead and then what comes, and nothing more is read ahead for it.
func TestStallOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *shared
		const early = 1 << 20
		payload, got := random(4<<20), sha256.New()
		over := make(chan struct{})
		near, far := link(10 * time.Millisecond)
		s = newShared(t, near, far, joined(func(c transport.Conn) {
			defer close(over)
			buf := make([]byte, 16<<10)
			n, _ := io.ReadFull(c, buf[:5])
			got.Write(buf[:n])
			time.Sleep(4 * stallTick)
			const waited = waitSize + chunkCost // somebody has, for as much
			most := s.h.sessions.held.Load() + waited
			if most < early/2 {
				t.Errorf("got %d bytes read ahead, want about %d", most, early)
			}
			for {
				n, err := c.Read(buf)
				got.Write(buf[:n])
				now := s.h.sessions.held.Load()
				if now > most {
					t.Errorf("%d bytes are held, and were %d: the target takes something", now, most-waited)
				}
				most = min(most, now+waited)
				if err != nil {
					break
				}
				time.Sleep(stallTick * 4 / 5)
			}
			_ = c.CloseWrite()
			_ = c.Close()
		}))
		pr, pw := io.Pipe()
		go func() {
			_, _ = pw.Write(payload[:early])
			time.Sleep(6 * stallTick) // the target takes something by then
			_, _ = pw.Write(payload[early:])
			_ = pw.Close()
		}()
		res, err := s.do(t.Context(), "POST", "", pr)
		if err != nil {
			t.Fatal(err)
		}
		<-over
		_ = res.Body.Close()
		if [sha256.Size]byte(got.Sum(nil)) != sha256.Sum256(payload) {
			t.Error("got other bytes than were sent")
		}
	})
}

// TestStallPieces is TestStall with uploads in pieces, the last of which stand in the
// window; and when the targets are gone, what still comes of them does not.
func TestStallPieces(t *testing.T) {
	for _, pieces := range []int{2, 3} {
		synctest.Test(t, func(t *testing.T) {
			k := &stalling{make(chan struct{}), make(chan [sha256.Size]byte, 2), make(chan error, 2), make(chan time.Time, 2)}
			near, far := link(10 * time.Millisecond)
			s := newShared(t, near, far, k)
			var sent sync.WaitGroup
			post := func(rest string, b []byte) {
				sent.Go(func() {
					if res, err := s.do(t.Context(), "POST", rest, strings.NewReader(string(b))); err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
					}
				})
			}
			for _, sid := range []string{"a", "b"} {
				res, err := s.do(t.Context(), "GET", sid, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				for i := range pieces {
					b := make([]byte, mostPiece)
					copy(b, "stall")
					post(fmt.Sprint(sid, "/", i), b)
					time.Sleep(30 * time.Millisecond)
				}
			}
			time.Sleep(stallTick / 2) // until the window is full
			began := time.Now()
			post("", append([]byte("taken"), make([]byte, 1<<20)...))
			if after := (<-k.took).Sub(began); after > 2*time.Second {
				t.Errorf("%d pieces: the neighbour got through after %v, want within 2s", pieces, after)
			}
			if n := s.h.sessions.held.Load(); n < mostReady || n > 2*(mostAhead+mostEarlier) {
				t.Errorf("%d pieces: got %d bytes held", pieces, n)
			}
			close(k.goOn)
			synctest.Wait()
			for _, sid := range []string{"a", "b"} {
				ses := s.h.sessions.all[sessionKey{1, sid}]
				_ = ses.queue.fail(errGone)
				s.h.sessions.remove(ses)
				for i := range 3 {
					post(fmt.Sprint(sid, "/", pieces+i), make([]byte, mostPiece))
				}
			}
			time.Sleep(stallTick / 2)
			began = time.Now()
			post("", append([]byte("taken"), make([]byte, 1<<20)...))
			if after := (<-k.took).Sub(began); after > 2*time.Second {
				t.Errorf("%d pieces: beside those that come late, got through after %v, want within 2s", pieces, after)
			}
			sent.Wait()
			if n := s.h.sessions.held.Load(); n != 0 {
				t.Errorf("%d bytes are held at the end", n)
			}
		})
	}
}
