package faketls

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"relay/auth"
	"relay/relay/splice"
	"relay/transport"
)

// tcp returns the two ends of a connection on loopback.
func tcp(t *testing.T) (a, b transport.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	return c.(transport.Conn), d.(transport.Conn)
}

// In the splice core, where the codec runs over the reactor's buffers: a client
// that ends its half first, more payload than any buffer holds, both ends in order.
func TestSpliced(t *testing.T) {
	s, err := NewServer(Options{Names: []string{testName}, Keys: crowd(1)})
	if err != nil {
		t.Fatalf("NewServer: got %v, want nil", err)
	}
	core := splice.New(0)
	defer core.Drain(context.Background())
	near, below := tcp(t)
	far, target := tcp(t)
	end := make(chan splice.End, 1)
	go func() {
		_ = serveOne(t.Context(), s, below, sinkFunc(func(_ context.Context, _ auth.User, c transport.Conn) error {
			core.Join(c, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
			return nil
		}))
	}()
	client, err := Client(near, testName, testKey, ClientOptions{})
	if err != nil {
		t.Fatalf("Client: got %v, want nil", err)
	}
	defer client.Close()
	defer target.Close()
	up, down := bytes.Repeat([]byte("upwards "), 1<<18), bytes.Repeat([]byte("down "), 1<<20)
	for _, way := range []struct {
		name     string
		from, to transport.Conn
		payload  []byte
	}{{"up", client, target, up}, {"down, after the other half has ended", target, client, down}} {
		go func() {
			_, _ = way.from.Write(way.payload)
			_ = way.from.CloseWrite()
		}()
		if got, err := io.ReadAll(way.to); !bytes.Equal(got, way.payload) || err != nil {
			t.Errorf("%s: got %d bytes, %v, want %d, nil", way.name, len(got), err, len(way.payload))
		}
	}
	want := splice.End{Status: transport.OK, Up: int64(len(up)), Down: int64(len(down))}
	if got := <-end; got != want {
		t.Errorf("end: got %+v, want %+v", got, want)
	}
}
