package web

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
)

// link returns the ends of a connection on which a byte takes half a round trip.
func link(trip time.Duration) (client, server net.Conn) {
	client, a := net.Pipe()
	b, server := net.Pipe()
	type chunk struct {
		b  []byte
		at time.Time
	}
	carry := func(dst, src net.Conn) {
		chunks := make(chan chunk, 1<<10)
		go func() {
			defer dst.Close()
			for c := range chunks {
				time.Sleep(time.Until(c.at))
				if _, err := dst.Write(c.b); err != nil {
					return
				}
			}
		}()
		go func() {
			defer close(chunks)
			for {
				b := make([]byte, 16<<10)
				n, err := src.Read(b)
				if err != nil {
					return
				}
				chunks <- chunk{b[:n], time.Now().Add(trip / 2)}
			}
		}()
	}
	carry(b, a)
	carry(a, b)
	return client, server
}

// one is a listener with one connection.
type one struct {
	c    chan net.Conn
	done chan struct{}
}

func (o *one) Accept() (net.Conn, error) {
	select {
	case c := <-o.c:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}
func (o *one) Close() error   { close(o.done); return nil }
func (o *one) Addr() net.Addr { return &net.TCPAddr{} }

// TestTrips counts round trips from the first byte of TLS to the first byte that a
// target echoes, with payload in the first flight of the request: two, which with
// TCP's own makes three, and one for the next stream.
func TestTrips(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	certificates := cert.TLS.Certificates
	cert.Close()
	synctest.Test(t, func(t *testing.T) {
		const trip = 100 * time.Millisecond
		h := New(Options{
			Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == password },
			Sink: joined(echo),
		})
		srv := &http.Server{
			TLSConfig: &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.RemoteAddr = "192.0.2.1:1234"
				if mine, ok := h.Claim(r); ok {
					mine.ServeHTTP(w, r)
				}
			}),
		}
		near, far := link(trip)
		ln := &one{make(chan net.Conn, 1), make(chan struct{})}
		ln.c <- tls.Server(far, srv.TLSConfig)
		go func() { _ = srv.Serve(ln) }()
		defer srv.Close()

		began := time.Now()
		secure := tls.Client(near, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		conn := &http.Transport{
			ForceAttemptHTTP2: true,
			DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return secure, nil },
		}
		for _, tt := range []struct {
			mode  string
			trips time.Duration
		}{{"stream-one", 2}, {"stream-one", 1}, {"stream-up", 1}, {"packet-up", 1}} {
			pr, pw := io.Pipe()
			go func() { _, _ = io.WriteString(pw, "hello") }()
			request := func(method, rest string, body io.Reader) *http.Request {
				r, err := http.NewRequest(method, "https://example.org/"+password+"/"+rest, body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Referer", "https://example.org/?x_padding="+strings.Repeat("X", 100))
				return r
			}
			var r *http.Request
			switch tt.mode {
			case "stream-one":
				r = request("POST", "", pr)
			case "stream-up":
				r = request("GET", "up", nil)
				go func() { _, _ = conn.RoundTrip(request("POST", "up", pr)) }()
			default:
				r = request("GET", "packets", nil)
				go func() { _, _ = conn.RoundTrip(request("POST", "packets/0", strings.NewReader("hello"))) }()
			}
			res, err := conn.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 5)
			if _, err := io.ReadFull(res.Body, b); string(b) != "hello" || err != nil {
				t.Fatalf("%s: got %q, %v", tt.mode, b, err)
			}
			if took := time.Since(began); took != tt.trips*trip {
				t.Errorf("%s: took %v, want %d round trips of %v", tt.mode, took, tt.trips, trip)
			}
			_ = pw.Close()
			_ = res.Body.Close()
			synctest.Wait()
			began = time.Now()
		}
		conn.CloseIdleConnections()
		_ = secure.Close()
		_ = near.Close()
		_ = far.Close()
		time.Sleep(time.Minute) // until what is on its way has come, and timers have fired
	})
}
