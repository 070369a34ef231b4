package web

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"relay/transport"
)

// gate is a socket that can be told not to wait.
type gate struct {
	*net.TCPConn
	noWait bool
}

func (g *gate) NoWait(on bool)  { g.noWait = on }
func (g *gate) WaitRead() error { return transport.WaitRead(g.TCPConn) }
func (g *gate) Read(b []byte) (int, error) {
	if g.noWait {
		return transport.TryRead(g.TCPConn, b)
	}
	return g.TCPConn.Read(b)
}

// piecemeal writes a few bytes at a time, so that records come in pieces.
type piecemeal struct{ net.Conn }

func (p piecemeal) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = p.Conn.Write(b[n:min(n+7, len(b))])
		n += m
		time.Sleep(50 * time.Microsecond)
	}
	return n, err
}

// TestSecuredDeadline goes on after deadlines that come at any point of a record.
func TestSecuredDeadline(t *testing.T) {
	site := httptest.NewTLSServer(nil)
	defer site.Close()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	sent := random(5000)
	go func() {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			return
		}
		client := tls.Client(piecemeal{c}, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test
		for b := sent; len(b) > 0; b = b[1000:] {
			_, _ = client.Write(b[:1000])
		}
		_ = client.Close()
	}()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	g := &gate{TCPConn: raw.(*net.TCPConn)}
	secure := tls.Server(g, site.TLS)
	if err := secure.Handshake(); err != nil {
		t.Fatalf("handshake: got %v, want nil", err)
	}
	s, stop := newSecured(secure), atomic.Bool{}
	defer s.Close()
	defer stop.Store(true)
	go func() {
		for !stop.Load() {
			_ = g.SetReadDeadline(past)
			time.Sleep(200 * time.Microsecond)
		}
	}()
	var got []byte
	met := 0
	for b := make([]byte, 300); ; {
		err, n := s.WaitRead(), 0
		if err == nil {
			n, err = s.Read(b)
		}
		got = append(got, b[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if met++; met > 1_000_000 {
				t.Fatalf("got %d bytes and only deadlines after that, want %d", len(got), len(sent))
			}
			_ = g.SetReadDeadline(time.Time{})
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("read after %d deadlines: got %v, want nil", met, err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, want the %d that were sent", len(got), len(sent))
	}
	if met < 10 {
		t.Errorf("got %d deadlines, want many", met)
	}
}
