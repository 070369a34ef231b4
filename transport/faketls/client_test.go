package faketls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

// echo is a sink that sends back what comes, to the end.
var echo = sinkFunc(func(_ context.Context, _ auth.User, c transport.Conn) error {
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if _, err := c.Write(b); err != nil {
		return err
	}
	return c.CloseWrite()
})

// serveOne does what the flow does with a connection; strangers are told so.
func serveOne(ctx context.Context, s *Server, below transport.Conn, sink transport.Sink) error {
	raw := transport.NewPeeked(below)
	for n := 1; ; {
		prefix, err := raw.Peek(n)
		if err != nil {
			return err
		}
		switch s.Match(prefix) {
		case transport.Yes:
			return s.Serve(ctx, raw, sink)
		case transport.No:
			return transport.ErrNotOurs
		}
		n = len(prefix) + 1
	}
}

func TestClient(t *testing.T) {
	for name, through := range map[string]func(transport.Conn) transport.Conn{
		"plain":               func(c transport.Conn) transport.Conn { return c },
		"one byte at a time":  func(c transport.Conn) transport.Conn { return dribble{c} },
		"through two Peekeds": func(c transport.Conn) transport.Conn { return transport.NewPeeked(c) },
	} {
		for _, shape := range []Shape{Chrome, Safari, Classic} {
			synctest.Test(t, func(t *testing.T) {
				s, err := NewServer(Options{Names: []string{testName}, Keys: crowd(3)})
				if err != nil {
					t.Fatalf("NewServer: got %v, want nil", err)
				}
				a, b := relaytest.Pipe()
				served := make(chan error, 1)
				go func() { served <- serveOne(t.Context(), s, through(b), echo) }()
				conn, err := Client(a, testName, testKey, ClientOptions{Shape: shape})
				if err != nil {
					t.Fatalf("%s, shape %d: Client: got %v, want nil", name, shape, err)
				}
				defer conn.Close()
				sent := bytes.Repeat([]byte("0123456789"), 10_000)
				go func() {
					_, _ = conn.Write(sent)
					_ = conn.CloseWrite()
				}()
				got, err := io.ReadAll(conn)
				if !bytes.Equal(got, sent) || err != nil {
					t.Errorf("%s, shape %d: echo: got %d bytes, %v, want %d, nil", name, shape, len(got), err, len(sent))
				}
				if err := <-served; err != nil {
					t.Errorf("%s, shape %d: Serve: got %v, want nil", name, shape, err)
				}
			})
		}
	}
}

func TestClientRefuses(t *testing.T) {
	clock := time.Unix(1795336000, 0)
	flight := func(key [16]byte) []byte {
		v := newVisit()
		v.key = key
		b, err := v.answer(Cover{Sizes: []int{500}})
		if err != nil {
			t.Fatalf("answer: got %v, want nil", err)
		}
		return b
	}
	good := flight(testKey)
	ccs := bytes.LastIndex(good, []byte{20, 3, 3, 0, 1, 1})
	for _, tt := range []struct {
		name   string
		flight []byte
		want   error
	}{
		{"the flight to another hello", good, ErrNoProof},
		{"another key", flight([16]byte{1}), ErrNoProof},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), errFlight},
		{"an alert", []byte{21, 3, 3, 0, 2, 2, 40}, errFlight},
		{"no ChangeCipherSpec", append(bytes.Clone(good[:ccs]), good[ccs+6:]...), errFlight},
		{"cut off", good[:len(good)-1], io.ErrUnexpectedEOF},
		{"a long record", append(bytes.Clone(good[:ccs+6]), 23, 3, 3, 0x28, 1), errFlight},
		{"nothing", nil, io.EOF},
	} {
		a, b := relaytest.Pipe()
		_, _ = b.Write(tt.flight)
		_ = b.CloseWrite()
		_, err := Client(a, testName, testKey, ClientOptions{Now: func() time.Time { return clock }})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		_ = a.Close()
		_ = b.Close()
	}
}

// What the client sends looks as tdlib's does: a hello, then ChangeCipherSpec and
// records of at most 2,878 bytes.
func TestClientRecords(t *testing.T) {
	c := &codec{records: &clientRecords, now: time.Now, client: true}
	wire, _ := c.Encode(nil, make([]byte, 6000))
	if !bytes.Equal(wire[:6], []byte{20, 3, 3, 0, 1, 1}) {
		t.Fatalf("first: got % x, want ChangeCipherSpec", wire[:6])
	}
	more, _ := c.Encode(nil, make([]byte, 10))
	got := append(sizesOf(t, wire[6:]), sizesOf(t, more)...)
	if want := []int{2878, 2878, 244, 10}; len(got) != 4 || got[0] != want[0] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("records: got %v, want %v", got, want)
	}
}
