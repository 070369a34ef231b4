package browser_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"relay/transport"
	"relay/transport/browser"
)

// flight is a server that answers a hello with what it has. Where that looks like
// a ServerHello it gets the session id of the hello, without which nothing of it
// is read.
type flight struct {
	transport.Conn
	answer  []byte
	started bool
}

const (
	atSessionID = 5 + 4 + 2 + 32 + 1 // in a record with a hello of either side
	sessionID   = 32
)

func (f *flight) Write(b []byte) (int, error) {
	if !f.started && len(b) > atSessionID+sessionID && len(f.answer) > atSessionID+sessionID && f.answer[atSessionID-1] == sessionID {
		copy(f.answer[atSessionID:], b[atSessionID:atSessionID+sessionID])
	}
	f.started = true
	return len(b), nil
}

func (f *flight) Read(b []byte) (int, error) {
	if len(f.answer) == 0 {
		return 0, io.EOF
	}
	n := copy(b, f.answer)
	f.answer = f.answer[n:]
	return n, nil
}

func (*flight) Close() error         { return nil }
func (*flight) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// answered records what a server of crypto/tls answers to our hello.
func answered(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	config.Certificates = []tls.Certificate{newAuthority(t).server(t, name)}
	var out bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		_ = tls.Server(&answering{Conn: b, out: &out}, config).Handshake()
	}()
	_, _ = a.Write(firstFlight(t, browser.Bundled(), browser.Config{ServerName: name}))
	_, _ = a.Read(make([]byte, 1)) // what it writes is kept, whether we read it or not
	_ = a.Close()
	<-done
	return out.Bytes()
}

type answering struct {
	net.Conn
	out *bytes.Buffer
}

func (r *answering) Write(b []byte) (int, error) { r.out.Write(b); return r.Conn.Write(b) }

// FuzzServer: whoever answers first is not known yet. He must not get further than
// an error.
func FuzzServer(f *testing.F) {
	for _, config := range []*tls.Config{
		{}, {CurvePreferences: []tls.CurveID{tls.CurveP256}}, {CurvePreferences: []tls.CurveID{tls.X25519}}, {MaxVersion: tls.VersionTLS12},
	} {
		b := answered(f, config)
		if len(b) < 90 {
			f.Fatalf("answer: got %d bytes, want a ServerHello", len(b))
		}
		f.Add(b)
	}
	key := echConfig(f, 1, 0, "public.example.net")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []browser.Config{
			{ServerName: name, Sessions: new(browser.Sessions)},
			{ServerName: name, ECH: echList(key)},
		} {
			conn, err := browser.Bundled().Client(context.Background(), &flight{answer: bytes.Clone(b)}, c)
			if err == nil {
				_ = conn.Close()
				t.Fatal("got a connection, want an error")
			}
		}
	})
}
