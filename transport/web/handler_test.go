package web

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/transport"
)

// TestEcho sends some megabytes around in each mode.
func TestEcho(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		payload := random(3<<20 + 17)
		s := newStand(t, h2, joined(echo))
		want := sha256.Sum256(payload)
		check := func(name string, res *http.Response) {
			t.Helper()
			got := sha256.New()
			n, err := io.Copy(got, res.Body)
			if err != nil || int(n) != len(payload) || !bytes.Equal(got.Sum(nil), want[:]) {
				t.Errorf("%s: got %d bytes, %v, want %d", name, n, err, len(payload))
			}
			if n := len(res.Header.Get("X-Padding")); res.StatusCode != 200 || n < leastPadding || n > mostPadding {
				t.Errorf("%s: got status %d and %d of padding", name, res.StatusCode, n)
			}
		}
		check("one", s.do("POST", "", bytes.NewReader(payload)))

		res := s.do("GET", "stream-up", nil)
		var sent sync.WaitGroup
		sent.Go(func() { s.send("POST", "stream-up", bytes.NewReader(payload)) })
		check("up", res)
		sent.Wait()

		res = s.do("GET", "packets", nil)
		var wg sync.WaitGroup
		const size = 300_000
		order := []int{}
		for i := 0; i*size < len(payload); i++ {
			order = append(order, i)
		}
		order[0], order[2], order[4] = order[4], order[0], order[2]
		for _, i := range order {
			wg.Go(func() {
				s.send("POST", fmt.Sprintf("packets/%d", i), bytes.NewReader(payload[i*size:min(len(payload), (i+1)*size)]))
			})
			time.Sleep(5 * time.Millisecond)
		}
		got := make([]byte, len(payload))
		if _, err := io.ReadFull(res.Body, got); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("packets: got %v and other bytes", err)
		}
		wg.Wait()
		if n := s.h.sessions.held.Load(); n != 0 {
			t.Errorf("%d bytes are held after all were read", n)
		}
	})
}

// TestNotClaimed has requests that are almost right.
func TestNotClaimed(t *testing.T) {
	s := newStand(t, true, joined(echo))
	long := strings.Repeat("X", 100)
	for _, tt := range []struct {
		method, path, referer string
		want                  int
	}{
		{"GET", "/", long, http.StatusTeapot},
		{"GET", "/" + password, long, http.StatusTeapot},
		{"GET", "/" + password + "/", long, http.StatusTeapot},
		{"GET", "/" + password[1:] + "/sid", long, http.StatusTeapot},
		{"GET", "/" + password + "x/sid", long, http.StatusTeapot},
		{"GET", "//" + password + "/sid", long, http.StatusTeapot},
		{"GET", "/" + strings.ToUpper(password) + "/sid", long, http.StatusTeapot},
		{"GET", "/" + password + "/sid", "", http.StatusTeapot},
		{"GET", "/" + password + "/sid", long[1:], http.StatusTeapot},
		{"GET", "/" + password + "/sid", strings.Repeat("X", 1001), http.StatusTeapot},
		{"GET", "/" + password + "/s%20d", long, http.StatusTeapot},
		{"GET", "/" + password + "/sid/0", long, http.StatusTeapot},
		{"GET", "/" + password + "/" + strings.Repeat("s", 65), long, http.StatusTeapot},
		{"HEAD", "/" + password + "/sid", long, http.StatusTeapot},
		{"PUT", "/" + password + "/sid", long, http.StatusTeapot},
		{"POST", "/" + password + "/sid/x", long, http.StatusTeapot},
		{"POST", "/" + password + "//0", long, http.StatusTeapot},
		{"POST", "/" + password + "/sid/-1", long, http.StatusTeapot},
		{"POST", "/" + password + "/sid/1/2", long, http.StatusTeapot},
		{"POST", "/" + password + "/sid/99999999999999999999", long, http.StatusTeapot},
		{"OPTIONS", "/" + password + "/sid", "", http.StatusOK},
		{"POST", "/" + password + "/sid/0", long, http.StatusOK},
	} {
		r, err := http.NewRequest(tt.method, s.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.referer != "" {
			r.Header.Set("Referer", s.URL+"/?x_padding="+tt.referer)
		}
		res, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, res.StatusCode, tt.want)
		}
	}
}

// TestBounds has what a user may not do.
func TestBounds(t *testing.T) {
	s := newStand(t, true, joined(func(c transport.Conn) { <-t.Context().Done(); _ = c.Close() }))
	if got := s.do("POST", "a/0", bytes.NewReader(make([]byte, mostPiece+1))).StatusCode; got != http.StatusRequestEntityTooLarge {
		t.Errorf("a long piece: got %d", got)
	}
	if got := s.do("POST", "b/0", io.MultiReader(bytes.NewReader(make([]byte, 100)))).StatusCode; got != 200 {
		t.Errorf("a piece of unknown length: got %d", got)
	}
	res := s.do("GET", "b", nil)
	if got := s.do("GET", "b", nil).StatusCode; got != http.StatusConflict {
		t.Errorf("a second downlink: got %d", got)
	}
	_ = res.Body.Close()
	for i := 0; ; i++ {
		if got := s.do("POST", fmt.Sprintf("early%d/0", i), strings.NewReader("x")).StatusCode; got != 200 {
			if got != http.StatusServiceUnavailable || i+1 < mostEarlyOfUser-2 || i > mostEarlyOfUser {
				t.Errorf("session %d without a downlink: got %d", i, got)
			}
			break
		}
	}
	for i := 2; ; i++ {
		if got := s.do("POST", fmt.Sprintf("early0/%d", i), strings.NewReader("x")).StatusCode; got != 200 {
			if i < mostPieces || i > mostPieces+3 {
				t.Errorf("%d pieces before their turn: got %d", i, got)
			}
			break
		}
	}
}

// TestSlowTarget has a target that takes nothing: the client has to wait, and the
// memory is bounded.
func TestSlowTarget(t *testing.T) {
	open := make(chan struct{})
	s := newStand(t, true, joined(func(c transport.Conn) { <-open; _, _ = io.Copy(io.Discard, c); _ = c.Close() }))
	s.do("GET", "sid", nil)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			s.send("POST", fmt.Sprintf("sid/%d", i), bytes.NewReader(make([]byte, mostPiece/2)))
		})
		time.Sleep(20 * time.Millisecond)
	}
	if n := s.h.sessions.held.Load(); n < mostReady/2 || n > mostReady+mostEarlier+1<<20 {
		t.Errorf("%d bytes are held", n)
	}
	close(open)
	wg.Wait()
}

// TestExpiry: a session that nobody reads from ends.
func TestExpiry(t *testing.T) {
	h := New(Options{})
	ses, err := h.sessions.uplink(sessionKey{1, "sid"}, true)
	if err != nil {
		t.Fatal(err)
	}
	h.sessions.expire(ses)
	if err := ses.queue.bring(t.Context(), 0, strings.NewReader("x")); !errors.Is(err, errExpired) {
		t.Errorf("got %v", err)
	}
	if len(h.sessions.all) != 0 || h.sessions.wait != 0 || len(h.sessions.early) != 0 {
		t.Error("an expired session is still there")
	}
	if ses, err = h.sessions.downlink(sessionKey{1, "other"}); err != nil {
		t.Fatal(err)
	}
	h.sessions.expire(ses)
	if len(h.sessions.all) != 1 {
		t.Error("a session with a downlink has expired")
	}
}
