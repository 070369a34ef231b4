package browser_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/hello"
)

// firstFlight is the hello that a profile sends first.
func firstFlight(t testing.TB, p *browser.Profile, c browser.Config) []byte {
	t.Helper()
	r := new(recorder)
	_, err := p.Client(context.Background(), r, c)
	if err == nil || !errors.Is(err, io.EOF) {
		t.Fatalf("client: got %v, want the end of the stream", err)
	}
	record, n, ok := hello.Record(nil, r.wire)
	if !ok || n != len(r.wire) {
		t.Fatalf("first flight: got %d bytes, %d of them a hello, want a hello", len(r.wire), n)
	}
	return record
}

// recorder takes what is written and ends when it is read from.
type recorder struct {
	transport.Conn
	wire []byte
}

func (r *recorder) Write(b []byte) (int, error) { r.wire = append(r.wire, b...); return len(b), nil }
func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) Close() error                { return nil }
func (r *recorder) CloseWrite() error           { return nil }
func (r *recorder) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

// TestCaptureEnds: nothing of a capture stays when it is given up.
func TestCaptureEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := browser.NewCapture(func(string) {})
		if err != nil {
			t.Fatalf("got %v, want nil", err)
		}
		a, b := net.Pipe()
		ln := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
		ln.conns <- a
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = b.Write(recorded(t, "page")[:500]) // and no more of it
			synctest.Wait()
			cancel()
		}()
		if _, err := c.Serve(ctx, ln); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("visitor: got %v, want the end", err)
		}
	})
}

type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
