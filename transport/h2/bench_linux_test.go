package h2_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"relay/transport/h2"
)

// bulk is what BenchmarkDown and BenchmarkUp move at once. Both speak to a peer in
// memory, so that what is counted is theirs and not the kernel's.
const bulk = 64 << 20

// client is one of the two that are compared. do sends up bytes and reads down.
type client interface {
	do(b *testing.B, up, down int)
}

type ours struct{ c *h2.Conn }

func (o ours) do(b *testing.B, up, down int) {
	head := request("POST", "/")
	s, err := o.c.Open(context.Background(), head, nil, up == 0)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	buf := make([]byte, h2.FullFrame)
	for ; up > 0; up -= len(buf) {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if status, _, err := s.Response(context.Background()); status != 200 {
		b.Fatal(status, err)
	}
	if n, err := drain(s, buf); n != int64(down) || err != nil {
		b.Fatal(n, err)
	}
}

func drain(r io.Reader, buf []byte) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
}

type theirs struct{ rt http.RoundTripper }

func (o theirs) do(b *testing.B, up, down int) {
	var body io.Reader
	buf := make([]byte, h2.FullFrame)
	if up > 0 {
		// Streams are written to: here that takes a pipe.
		r, w := io.Pipe()
		body = r
		go func() {
			for ; up > 0; up -= len(buf) {
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
			_ = w.Close()
		}()
	}
	r, err := http.NewRequest("POST", "http://www.example.org/", body)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36")
	w, err := o.rt.RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Body.Close()
	buf = make([]byte, h2.FullFrame)
	if n, err := drain(w.Body, buf); n != int64(down) || err != nil {
		b.Fatal(n, err)
	}
}

func compare(b *testing.B, up, down int) {
	b.Run("relay", func(b *testing.B) {
		conn := h2.NewConn(newPeer(down), chrome())
		defer conn.Close()
		run(b, ours{conn}, up, down)
	})
	b.Run("x-net", func(b *testing.B) {
		//lint:ignore SA1019 it is what others use
		rt := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
			return newPeer(down), nil
		}}
		//lint:ignore SA1019 as above
		defer rt.CloseIdleConnections()
		run(b, theirs{rt}, up, down)
	})
}

func run(b *testing.B, c client, up, down int) {
	b.SetBytes(int64(up + down))
	b.ReportAllocs()
	before := processTime()
	for b.Loop() {
		c.do(b, up, down)
	}
	b.ReportMetric(float64(processTime()-before)/float64(b.N), "cpu-ns/op")
}

func processTime() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkDown(b *testing.B)    { compare(b, 0, bulk) }
func BenchmarkUp(b *testing.B)      { compare(b, bulk, 0) }
func BenchmarkRequest(b *testing.B) { compare(b, 0, 100) }
