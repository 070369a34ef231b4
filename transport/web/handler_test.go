package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/auth"
	"relay/transport"
)

const password = "abcdefghijklmnopqrstuvwx"

// streams is a Sink that hands what it gets to a function of the test's.
type streams func(c transport.Conn) error

func (f streams) Stream(_ context.Context, u auth.User, c transport.Conn) error {
	if u.Name != "alice" {
		return errors.New("the wrong user")
	}
	return f(c)
}

// joined is a Sink that, as the splice core does, goes on when Stream has returned.
func joined(f func(c transport.Conn)) streams {
	return func(c transport.Conn) error { go f(c); return nil }
}

func echo(c transport.Conn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
	_ = c.Close()
}

// stand is a site with the handler, over TLS.
type stand struct {
	*httptest.Server
	t      *testing.T
	h      *Handler
	client *http.Client
}

func newStand(t *testing.T, h2 bool, sink transport.Sink) *stand {
	t.Helper()
	h := New(Options{
		Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == password },
		Sink: sink,
	})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mine, ok := h.Claim(r); ok {
			mine.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	client := s.Client()
	client.Transport.(*http.Transport).TLSClientConfig.NextProtos = nil
	t.Cleanup(client.CloseIdleConnections)
	return &stand{Server: s, t: t, h: h, client: client}
}

func (s *stand) request(method, rest string, body io.Reader) *http.Request {
	r, err := http.NewRequest(method, s.URL+"/"+password+"/"+rest, body)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Referer", s.URL+"/?x_padding="+strings.Repeat("X", 100))
	return r
}

func (s *stand) do(method, rest string, body io.Reader) *http.Response {
	s.t.Helper()
	res, err := s.client.Do(s.request(method, rest, body))
	if err != nil {
		s.t.Error(err)
		return &http.Response{Body: http.NoBody}
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// send is do for a request whose answer is of no interest but for its status, from
// any goroutine.
func (s *stand) send(method, rest string, body io.Reader) {
	res, err := s.client.Do(s.request(method, rest, body))
	if err != nil {
		s.t.Errorf("%s %s: %v", method, rest, err)
		return
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		s.t.Errorf("%s %s: got %d, %v", method, rest, res.StatusCode, err)
	}
}

// each runs a test over HTTP/1.1 and HTTP/2.
func each(t *testing.T, f func(t *testing.T, h2 bool)) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP1", true: "HTTP2"}[h2], func(t *testing.T) { f(t, h2) })
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

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

// TestEnds says how each end reaches the other side.
func TestEnds(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		t.Run("half close", func(t *testing.T) {
			// The answer comes after the end of the request.
			s := newStand(t, h2, joined(func(c transport.Conn) {
				defer c.Close()
				b, err := io.ReadAll(c)
				if err != nil {
					t.Errorf("got %v", err)
				}
				_, _ = fmt.Fprintf(c, "%d bytes", len(b))
			}))
			var sent sync.WaitGroup
			for _, rest := range []string{"", "sid"} {
				res := (*http.Response)(nil)
				if rest == "" {
					res = s.do("POST", rest, strings.NewReader("twelve bytes"))
				} else {
					res = s.do("GET", rest, nil)
					sent.Go(func() { s.send("POST", rest, strings.NewReader("twelve bytes")) })
				}
				if b, err := io.ReadAll(res.Body); string(b) != "12 bytes" || err != nil {
					t.Errorf("%q: got %q, %v", rest, b, err)
				}
				sent.Wait()
			}
		})
		t.Run("packets end with the answer", func(t *testing.T) {
			ended := make(chan error, 1)
			s := newStand(t, h2, joined(func(c transport.Conn) {
				_ = c.CloseWrite()
				b, err := io.ReadAll(c)
				if string(b) != "hello" {
					err = errors.Join(err, fmt.Errorf("got %q", b))
				}
				ended <- err
				_ = c.Close()
			}))
			s.do("POST", "sid/0", strings.NewReader("hello"))
			res := s.do("GET", "sid", nil)
			if b, err := io.ReadAll(res.Body); len(b) > 0 || err != nil {
				t.Errorf("got %q, %v", b, err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		t.Run("a piece whose end comes behind the stream's", func(t *testing.T) {
			s := newStand(t, h2, joined(func(c transport.Conn) {
				_, _ = io.ReadFull(c, make([]byte, 5))
				_ = c.CloseWrite()
				_ = c.Close()
			}))
			pr, pw := io.Pipe()
			res := s.do("GET", "sid", nil)
			go func() {
				_, _ = io.WriteString(pw, "hello")
				_, _ = io.ReadAll(res.Body)
				_ = pw.Close()
			}()
			s.send("POST", "sid/0", pr)
		})
		t.Run("reset", func(t *testing.T) {
			s := newStand(t, h2, joined(func(c transport.Conn) {
				_, _ = c.Write([]byte("half of an"))
				_ = transport.Abort(c)
			}))
			if b, err := io.ReadAll(s.do("GET", "sid", nil).Body); err == nil {
				t.Errorf("got %q and an orderly end, want an error", b)
			}
		})
		t.Run("client gone", func(t *testing.T) {
			ended := make(chan error, 1)
			s := newStand(t, h2, joined(func(c transport.Conn) {
				_, err := io.Copy(io.Discard, c)
				ended <- err
				_ = c.Close()
			}))
			ctx, cancel := context.WithCancel(t.Context())
			res, err := s.client.Do(s.request("GET", "sid", nil).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			cancel()
			if err := <-ended; err == nil {
				t.Error("a client that has gone has ended in order")
			}
		})
		t.Run("deadline", func(t *testing.T) {
			s := newStand(t, h2, streams(func(c transport.Conn) error {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
				_, err := c.Read(make([]byte, 1))
				if e, ok := err.(net.Error); !ok || !e.Timeout() {
					t.Errorf("got %v, want a time-out", err)
				}
				return err
			}))
			for _, rest := range []string{"", "sid"} {
				pr, pw := io.Pipe()
				defer pw.Close()
				method := map[string]string{"": "POST", "sid": "GET"}[rest]
				var body io.Reader
				if method == "POST" {
					body = pr
				}
				if _, err := io.ReadAll(s.do(method, rest, body).Body); err == nil {
					t.Errorf("%q: an orderly end after a time-out", rest)
				}
			}
		})
	})
}

// TestUnread: over HTTP/1.1, what is left of a request when its answer is complete
// must not be taken for another request. Behind a proxy that would be anybody's.
func TestUnread(t *testing.T) {
	for _, rest := range []string{"", "sid"} {
		s := newStand(t, false, joined(func(c transport.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 5))
			_ = c.CloseWrite()
			_ = c.Close()
		}))
		c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is ours
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		r := s.request("POST", rest, nil)
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nReferer: %s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", r.URL.Path, r.Header.Get("Referer"))
		if rest != "" {
			_, _ = io.Copy(io.Discard, s.do("GET", rest, nil).Body)
		}
		br := bufio.NewReader(c)
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("%q: got %v, want the end of the answer", rest, err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if again, err := http.ReadResponse(br, nil); err == nil {
			t.Errorf("%q: got another answer, %s, want the end of the connection", rest, again.Status)
		}
	}
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

var _ = tls.VersionTLS13
