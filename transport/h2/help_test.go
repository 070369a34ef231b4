package h2_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"relay/transport/h2"
)

// chrome is how Chromium 156 speaks.
func chrome() *h2.Fingerprint {
	return &h2.Fingerprint{
		Settings: []h2.Setting{
			{ID: h2.SettingHeaderTableSize, Value: 65536},
			{ID: h2.SettingEnablePush, Value: 0},
			{ID: h2.SettingInitialWindowSize, Value: 6 << 20},
			{ID: h2.SettingMaxHeaderListSize, Value: 256 << 10},
		},
		Window:   15<<20 - 65535,
		Pseudo:   []string{":method", ":authority", ":scheme", ":path"},
		Priority: &h2.Priority{Exclusive: true, Chain: true, Weight: 219},
		Apart:    true,
		Ping:     10 * time.Second,
	}
}

// request is the head of one as a browser's.
func request(method, path string) h2.Head {
	return h2.Head{Method: method, Scheme: "https", Authority: "www.example.org", Path: path, Fields: []h2.Field{
		{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
		{Name: "accept", Value: "*/*"},
		{Name: "accept-encoding", Value: "gzip, deflate, br, zstd"},
	}}
}

// dialTLS connects to a net/http server with TLS.
func dialTLS(t testing.TB, h http.Handler) net.Conn {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatalf("dial: got %v, want a connection", err)
	}
	return c
}

// open opens a stream that is closed with the test.
func open(t testing.TB, c *h2.Conn, head h2.Head, body []byte, end bool) *h2.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := c.Open(ctx, head, body, end)
	if err != nil {
		t.Fatalf("Open: got %v, want a stream", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// answer waits for the head and the whole body of an answer.
func answer(t testing.TB, s *h2.Stream) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	status, _, err := s.Response(ctx)
	if err != nil {
		t.Fatalf("Response: got %v, want an answer", err)
	}
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatalf("Read: got %v after %d bytes, want the end", err, len(b))
	}
	return status, string(b)
}
