package site

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/splice"
	"relay/transport"
	"relay/transport/web"
	"relay/transport/websocket"
)

const streamPassword = "abcdefghijklmnopqrstuvwx"

// streams is a sink that joins what it gets with a target.
type streams struct {
	core *splice.Core
	to   string
	end  chan splice.End
}

func (s *streams) Stream(_ context.Context, _ auth.User, c transport.Conn) error {
	far, err := net.Dial("tcp4", s.to)
	if err != nil {
		return err
	}
	s.core.Join(c, far.(*net.TCPConn), splice.Limits{Fin: 50 * time.Millisecond}, nil, func(e splice.End) { s.end <- e })
	return nil
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// between returns both ends of a connection.
func between(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln := loopback(t)
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// TestParkedWebSocket leaves a WebSocket on the site alone, until nobody waits for
// it, and uses it again.
func TestParkedWebSocket(t *testing.T) {
	targets := loopback(t)
	sink := &streams{core: splice.New(10 * time.Millisecond), to: targets.Addr().String(), end: make(chan splice.End, 1)}
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		sink.core.Drain(ctx)
	}()
	h := web.New(web.Options{
		Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == streamPassword },
		Sink: sink,
	})
	s := newSite(t, Options{Claims: []Claim{h.Claim}})
	raw, given := between(t)
	s.Serve(given, time.Now(), closing(func() {}))
	c := tls.Client(raw, clientTLS(s, "http/1.1"))
	r, err := http.NewRequest(http.MethodGet, "https://"+siteName+"/"+streamPassword, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		r.Header.Set(name, value)
	}
	if err := r.Write(c); err != nil {
		t.Fatalf("request: got %v, want nil", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer: got %v, %v, want 101", res, err)
	}
	client := transport.NewCoded(tlsConn{c}, websocket.NewClient())
	target, err := targets.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	defer target.Close()
	for range 3 {
		waitParked(t)
		passes(t, client, target, "up the stream")
		waitParked(t)
		passes(t, target, client, "down again")
	}
	waitParked(t)
	// The site closes it at its end, and the core finds out.
	shutdown(t, s)
	if e := <-sink.end; e.Up != 39 || e.Down != 30 {
		t.Errorf("end: got %+v, want 39 bytes up and 30 down", e)
	}
}

// tlsConn is a client's.
type tlsConn struct{ *tls.Conn }

func passes(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, len(text))
	_, werr := io.WriteString(from, text)
	_, rerr := io.ReadFull(to, b)
	if err := errors.Join(werr, rerr); err != nil || string(b) != text {
		t.Fatalf("got %q, %v, want %q", b, err, text)
	}
}

// waitParked waits until no direction has a goroutine.
func waitParked(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b := stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(b, []byte("splice.(*pump)")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after 10 s there are goroutines of an idle flow:\n%s", b)
		}
	}
}
