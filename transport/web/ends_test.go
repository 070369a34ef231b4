package web

import (
	"bufio"
	"context"
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
		if !res.Close {
			t.Errorf("%q: the answer does not say that the connection ends with it: a proxy may use it again before it notices", rest)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if again, err := http.ReadResponse(br, nil); err == nil {
			t.Errorf("%q: got another answer, %s, want the end of the connection", rest, again.Status)
		}
	}
}

// lateEnd is a body whose reader learns of its end late.
type lateEnd struct {
	io.ReadCloser
	ended, told chan struct{}
}

func (l lateEnd) Read(b []byte) (int, error) {
	n, err := l.ReadCloser.Read(b)
	if err == io.EOF {
		close(l.ended)
		<-l.told
	}
	return n, err
}

// TestEndAtOnce ends a stream at the moment in which its request ends: over HTTP/1.1 the
// connection, behind a proxy, must not be taken for another request that then is cancelled.
func TestEndAtOnce(t *testing.T) {
	ended, told := make(chan struct{}), make(chan struct{})
	h := New(Options{
		Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == password },
		Sink: joined(func(c transport.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 5))
			go func() { _, _ = c.Read(make([]byte, 1)) }()
			select {
			case <-ended:
			case <-t.Context().Done():
			}
			_ = c.Close()
			close(told)
		}),
	})
	cancelled := make(chan error, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mine, ok := h.Claim(r); ok {
			r.Body = lateEnd{r.Body, ended, told}
			mine.ServeHTTP(w, r)
			return
		}
		cancelled <- r.Context().Err()
	}))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = fmt.Fprintf(c, "POST /%s/?x_padding=%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", password, strings.Repeat("X", 100))
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "0\r\n\r\n")
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("got %v, want the end of the answer", err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if again, err := http.ReadResponse(br, nil); err == nil {
		t.Errorf("got another answer, %s, and %v before it, want the end of the connection", again.Status, <-cancelled)
	}
}
