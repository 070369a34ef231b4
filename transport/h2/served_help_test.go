//lint:file-ignore SA1019 what takes its place is the other HTTP/2, until Go 1.27 makes them one

package h2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/relay/relaytest"
	"relay/transport/h2"
)

// goSettings are those of golang.org/x/net's server, and goWindow by how much it
// opens that of the connection.
var goSettings = []h2.Setting{
	{ID: h2.SettingMaxFrameSize, Value: 1 << 20},
	{ID: h2.SettingMaxConcurrentStreams, Value: 250},
	{ID: h2.SettingMaxHeaderListSize, Value: 1<<20 + 320},
	{ID: h2.SettingHeaderTableSize, Value: 4096},
	{ID: h2.SettingInitialWindowSize, Value: 1 << 20},
}

const goWindow = 1<<20 - 65535

// begun is a connection whose first request, on stream 1, goes on.
func begun(peer ...h2.Setting) *h2.Begun {
	return &h2.Begun{Settings: goSettings, Window: goWindow, Peer: peer, Decoder: hpack.NewDecoder(4096, nil),
		Stream: 1, Fields: requestFields("POST", "/")}
}

func requestFields(method, path string) []h2.Field {
	return []h2.Field{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "www.example.org"}, {Name: ":path", Value: path}}
}

// newServed returns a server's end and its client, which does what a test says. Both
// end with the test; ended has what Serve returns.
func newServed(t *testing.T, buffer int, b *h2.Begun, svc h2.Service) (c *h2.Conn, s *script, ended <-chan error) {
	t.Helper()
	far, s := newClient(t, buffer)
	c = h2.NewServer(far, b, svc)
	done := make(chan error, 1)
	go func() { done <- c.Serve() }()
	t.Cleanup(func() { _ = c.Close() })
	return c, s, done
}

// newClient returns a client that does what a test says, and the server's end.
func newClient(t *testing.T, buffer int) (far net.Conn, s *script) {
	near, far := relaytest.PipeSize(buffer)
	s = &script{Framer: http2.NewFramer(near, near), t: t, conn: near}
	s.AllowIllegalWrites = true
	s.enc = hpack.NewEncoder(&s.buf)
	t.Cleanup(func() { _ = near.Close() })
	return far, s
}

// ask sends the head of a request.
func (s *script) ask(id uint32, end bool) error {
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end,
		BlockFragment: s.block(":method", "POST", ":scheme", "https", ":authority", "www.example.org", ":path", "/")})
}

// echoes answers a stream with what it is sent, while it is.
func echoes(s *h2.Stream) {
	go func() {
		defer s.Close()
		if err := s.Answer(http.StatusOK, nil, false); err != nil {
			return
		}
		if _, err := io.Copy(s, s); err == nil {
			_ = s.Finish()
		}
	}()
}

// host is a web server with TLS whose connections are ours when their first request
// is for /ours.
type host struct {
	*httptest.Server
	conns chan *h2.Conn // those that are ours
}

func newHost(t testing.TB, theirs http.Handler, svc h2.Service) *host {
	t.Helper()
	h := &host{httptest.NewUnstartedServer(theirs), make(chan *h2.Conn, 100)}
	other := new(http2.Server)
	h.TLS = &tls.Config{NextProtos: []string{"h2"}}
	//lint:ignore SA1019 as in package site
	if err := http2.ConfigureServer(h.Config, other); err != nil {
		t.Fatalf("ConfigureServer: got %v, want nil", err)
	}
	h.Config.TLSNextProto["h2"] = func(_ *http.Server, c *tls.Conn, handler http.Handler) {
		f := h2.NewFork(c, func(head h2.Head) bool { return strings.HasPrefix(head.Path, "/ours") })
		//lint:ignore SA1019 as in package site
		other.ServeConn(&stated{f, c.ConnectionState()}, &http2.ServeConnOpts{Handler: handler})
		if b := f.Taken(); b != nil {
			conn := h2.NewServer(c, b, svc)
			h.conns <- conn
			_ = conn.Serve()
		}
	}
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

// stated is what golang.org/x/net's server sees of a TLS connection.
type stated struct {
	*h2.Fork
	state tls.ConnectionState
}

func (s *stated) ConnectionState() tls.ConnectionState { return s.state }

func (h *host) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", h.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatalf("dial: got %v, want a connection", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// client is golang.org/x/net's, with one connection to h.
func (h *host) client(t testing.TB) *http.Client {
	tr := &http2.Transport{DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
		return h.dial(t), nil
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// asHandler serves streams with a handler that writes whole answers.
func asHandler(f func(s *h2.Stream, body []byte) (status int, answer string)) func(*h2.Stream) {
	return func(s *h2.Stream) {
		go func() {
			defer s.Close()
			body, err := io.ReadAll(s)
			if err != nil {
				return
			}
			status, answer := f(s, body)
			_ = s.Answer(status, []h2.Field{{Name: "content-type", Value: "text/plain"}}, false)
			_, _ = io.Copy(s, bytes.NewReader([]byte(answer)))
			_ = s.Finish()
		}()
	}
}

func mathRand(seed uint64) *mathrand.Rand { return mathrand.New(mathrand.NewPCG(3, seed)) }
