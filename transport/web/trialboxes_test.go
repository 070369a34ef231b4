package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/resolve"
)

// saying gives the way a name, about which the resolver says err.
func saying(err error) func(*testing.T, *ClientOptions) {
	return func(t *testing.T, o *ClientOptions) {
		o.Way.Connect = []Place{{Host: "relay.example", Port: 443}}
		o.Names = resolve.NewCache(0, failingNames{err})
		t.Cleanup(o.Names.Close)
	}
}

type failingNames struct{ err error }

func (f failingNames) Lookup(context.Context, string) (resolve.Answer, error) {
	return resolve.Answer{}, f.err
}

func to(d dial) func(*testing.T, *ClientOptions) {
	return func(t *testing.T, o *ClientOptions) { o.Connect = d }
}

func nobody(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) {
	return DialTCP(ctx, netip.MustParseAddrPort("127.0.0.1:1"))
}

func blackhole(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func failing(err error) dial {
	return func(context.Context, netip.AddrPort) (transport.Conn, error) {
		return nil, &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IP{127, 0, 0, 1}}, Err: err}
	}
}

// answering leads to somebody who reads a hello and then does f, for as long as the
// client is there.
func answering(f func(c *net.TCPConn)) dial {
	return func(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		go func() {
			defer ln.Close()
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.ReadAtLeast(c, make([]byte, 4<<10), 1000)
			f(c.(*net.TCPConn))
		}()
		return DialTCP(ctx, netip.MustParseAddrPort(ln.Addr().String()))
	}
}

func abort(c *net.TCPConn) { _ = c.SetLinger(0) }
func stay(c *net.TCPConn)  { _, _ = io.Copy(io.Discard, c) }
func leave(c *net.TCPConn) { _ = c.CloseWrite(); stay(c) }
func blockPage(c *net.TCPConn) {
	_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n<html>blocked")
	leave(c)
}

// freezing lets so many bytes of each connection through.
func freezing(limit int64) dial {
	return func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
		c, err := DialTCP(ctx, to)
		if err != nil {
			return nil, err
		}
		f := &frozen{Conn: c, closed: make(chan struct{})}
		f.left.Store(limit)
		return f, nil
	}
}

// short is a connection that ends after so many bytes.
type short struct {
	transport.Conn
	left atomic.Int64
	err  error
}

func (s *short) Read(b []byte) (int, error) {
	if s.left.Load() <= 0 {
		return 0, s.err
	}
	n, err := s.Conn.Read(b[:min(len(b), int(s.left.Load()))])
	s.left.Add(-int64(n))
	return n, err
}

func cut(limit int64, err error) dial {
	return func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
		c, e := DialTCP(ctx, to)
		if e != nil {
			return nil, e
		}
		s := &short{Conn: c, err: err}
		s.left.Store(limit)
		return s, nil
	}
}

// resetWhenAsked has a connection that is reset before anything comes of a user's stream.
func resetWhenAsked(name string) box {
	asked := new(atomic.Bool)
	connect := func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
		c, err := DialTCP(ctx, to)
		if err != nil {
			return nil, err
		}
		return &resettable{c, asked}, nil
	}
	sink := joined(func(c transport.Conn) { asked.Store(true); pour(c) })
	return box{name: name, set: to(connect), stage: StageRequest, cause: CauseReset, sink: sink}
}

type resettable struct {
	transport.Conn
	now *atomic.Bool
}

func (r *resettable) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if r.now.Load() {
		return 0, syscall.ECONNRESET
	}
	return n, err
}

// toTLS leads to another server.
func toTLS(config func(c *tls.Config), h http.Handler) func(*testing.T, *ClientOptions) {
	return func(t *testing.T, o *ClientOptions) {
		s := httptest.NewUnstartedServer(h)
		s.EnableHTTP2 = true
		if s.TLS = new(tls.Config); config != nil {
			config(s.TLS)
		}
		s.EnableHTTP2 = len(s.TLS.NextProtos) == 0
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		o.Connect = func(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) {
			return DialTCP(ctx, netip.MustParseAddrPort(s.Listener.Addr().String()))
		}
	}
}

func overHTTP1(d dial) func(*testing.T, *ClientOptions) {
	return func(_ *testing.T, o *ClientOptions) { o.Way.Version, o.Connect = HTTP1, d }
}

func alerting(c *tls.Config) {
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
}

func http1(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }

func status(n int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) })
}

func pins(all ...[32]byte) func(*testing.T, *ClientOptions) {
	return func(_ *testing.T, o *ClientOptions) { o.Way.Pins, o.Way.CertificateName = all, "example.com" }
}

// expired leads to a server with a certificate of last year.
func expired(t *testing.T, o *ClientOptions) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(cert)
	toTLS(func(c *tls.Config) { c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}} }, nil)(t, o)
	pins()(t, o)
}

// slowPage leads to a site whose page takes longer than a freeze.
func slowPage(t *testing.T, o *ClientOptions) {
	s := newStand(t, true, joined(echo))
	h := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			select {
			case <-time.After(frozenTime + time.Second):
			case <-r.Context().Done():
			}
		}
		h.ServeHTTP(w, r)
	})
	pin := sha256.Sum256(s.Certificate().Raw)
	pins(pin)(t, o)
	o.Connect = func(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) {
		return DialTCP(ctx, netip.MustParseAddrPort(s.Listener.Addr().String()))
	}
}

// Sinks: of a relay that says too much, knows no users, or has nothing to say.

func pour(c transport.Conn)       { _, _ = c.Write(make([]byte, 64<<10)); echo(c) }
func refuseUser(c transport.Conn) { _ = transport.Abort(c) }
func hold(c transport.Conn)       { _, _ = io.Copy(io.Discard, c); _ = c.Close() }
