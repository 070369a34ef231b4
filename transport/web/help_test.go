package web

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
