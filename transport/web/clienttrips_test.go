package web

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/transport"
	"relay/transport/browser"
	"relay/transport/resolve"
)

// oneWay is a connection whose write half ends with the whole.
type oneWay struct{ net.Conn }

func (o oneWay) CloseWrite() error { return nil }

// TestClientTrips counts round trips until a target's answer is there: with TCP's, which
// the connection here does not have, three for the first stream and one for the next.
func TestClientTrips(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	certificates, pin := cert.TLS.Certificates, sha256.Sum256(cert.Certificate().Raw)
	cert.Close()
	for _, mode := range clientModes {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const trip = 100 * time.Millisecond
				h := New(Options{
					Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == password },
					Sink: joined(echo),
				})
				srv := &http.Server{
					TLSConfig: &tls.Config{Certificates: certificates, NextProtos: []string{"h2", "http/1.1"}},
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						r.RemoteAddr = "192.0.2.1:1234"
						if mine, ok := h.Claim(r); ok {
							mine.ServeHTTP(w, r)
						}
					}),
				}
				ln := &one{make(chan net.Conn, 8), make(chan struct{})}
				served := make(chan struct{})
				go func() { defer close(served); _ = srv.Serve(ln) }()
				names := resolve.NewCache(0)
				c := NewClient(ClientOptions{
					Way: Way{
						Connect: []Place{{Host: "127.0.0.1", Port: 443}}, SNI: "example.com", Authority: "example.com",
						Path: "/" + password + "/", Pins: [][32]byte{pin}, Version: H2, Mode: mode, Early: DefaultEarly,
						PostBytes: Bytes{1000000, 1000000}, PostInterval: Interval{30 * time.Millisecond, 30 * time.Millisecond},
					},
					Profile: browser.Bundled(), Names: names, Log: slog.New(slog.DiscardHandler),
					Connect: func(context.Context, netip.AddrPort) (transport.Conn, error) {
						near, far := link(trip)
						ln.c <- tls.Server(far, srv.TLSConfig)
						return oneWay{near}, nil
					},
				})
				for i, want := range []time.Duration{2, 1} {
					if i > 0 && mode == ModeWebSocket {
						break // each is a connection of its own
					}
					began := time.Now()
					s, err := c.Open(t.Context(), []byte("hello"))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
						t.Fatal(err)
					}
					if got := time.Since(began); got/trip != want || got%trip > 5*time.Millisecond {
						t.Errorf("stream %d: got the answer after %v, want %d round trips of %v", i+1, got, want, trip)
					}
					_ = s.Close()
				}
				c.Close()
				names.Close()
				_ = srv.Close()
				<-served
				time.Sleep(time.Minute) // until what is on its way has come
			})
		})
	}
}
