package transport_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"relay/relay/relaytest"
	"relay/transport"
)

// layer is a Conn around another, as a disguise is.
type layer struct{ transport.Conn }

func (l layer) Below() transport.Conn { return l.Conn }

// opaque is a Conn of which nothing more is known.
type opaque struct{ transport.Conn }

func TestAbort(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				name string
				wrap func(transport.Conn) transport.Conn
				want error
			}{
				{"bare", func(c transport.Conn) transport.Conn { return c }, syscall.ECONNRESET},
				{"through two layers", func(c transport.Conn) transport.Conn {
					return transport.NewPeeked(layer{c})
				}, syscall.ECONNRESET},
				{"unknown layer", func(c transport.Conn) transport.Conn { return opaque{c} }, io.EOF},
			} {
				a, b := pair(t)
				if err := transport.Abort(tt.wrap(a)); err != nil {
					t.Errorf("%s: Abort: got %v, want nil", tt.name, err)
				}
				if _, err := b.Read(make([]byte, 1)); !errors.Is(err, tt.want) {
					t.Errorf("%s: the peer's Read: got %v, want %v", tt.name, err, tt.want)
				}
				if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: Read after Abort: got %v, want net.ErrClosed", tt.name, err)
				}
			}
		})
	}
}

// pairs are the kinds of connection that everything here must work on.
var pairs = map[string]func(t testing.TB) (a, b transport.Conn){
	"memory": func(t testing.TB) (transport.Conn, transport.Conn) {
		a, b := relaytest.Pipe()
		t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
		return a, b
	},
	"tcp": tcpPair,
}

// tcpPair returns the two ends of a connection on loopback.
func tcpPair(t testing.TB) (client, server transport.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a.(transport.Conn), b.(transport.Conn)
}
