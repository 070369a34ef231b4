package browser_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/hello"
)

const name = "www.example.org"

// authority is a root with a certificate for names below it.
type authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.root = a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("key: got %v, want one", err)
	}
	return key
}

func (a *authority) issue(t testing.TB, c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.root
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), a.key)
	if err != nil {
		t.Fatalf("certificate: got %v, want one", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("certificate: got %v, want one", err)
	}
	return cert
}

// server is the certificate of name, with the root behind it.
func (a *authority) server(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	cert := a.issue(t, &x509.Certificate{DNSNames: names}, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw, a.root.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// visit is one connection: what the server saw and what became of it.
type visit struct {
	wire  []byte // all that the client sent before the server answered
	state tls.ConnectionState
	err   error
}

// serve answers connections with what is sent to it, and hands out what it saw.
func serve(t testing.TB, config *tls.Config) (address string, visits <-chan visit) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	out := make(chan visit, 300)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
				tap := &tapped{Conn: raw}
				c := tls.Server(tap, config)
				v := visit{err: c.Handshake(), state: c.ConnectionState()}
				v.wire = tap.seen.Bytes()
				out <- v
				if v.err == nil {
					_, _ = io.Copy(c, c)
					_ = c.Close()
				}
			}()
		}
	}()
	return ln.Addr().String(), out
}

// tapped keeps what was read up to the first write.
type tapped struct {
	net.Conn
	seen  bytes.Buffer
	wrote bool
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if !t.wrote {
		t.seen.Write(b[:n])
	}
	return n, err
}

func (t *tapped) Write(b []byte) (int, error) { t.wrote = true; return t.Conn.Write(b) }

func (v visit) hello(t testing.TB) browser.Seen {
	t.Helper()
	record, _, ok := hello.Record(nil, v.wire)
	if !ok {
		t.Fatalf("hello: got %d bytes that are none", len(v.wire))
	}
	s, err := browser.Inspect(hello.Message(record))
	if err != nil {
		t.Fatalf("hello: got %v, want nil", err)
	}
	return s
}

func dial(t testing.TB, address string) transport.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	return c.(*net.TCPConn)
}

func client(t testing.TB, address string, c browser.Config) (*browser.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return browser.Bundled().Client(ctx, dial(t, address), c)
}

// echo sends bytes through and wants them back.
func echo(t testing.TB, c transport.Conn, n int) {
	t.Helper()
	want := make([]byte, n)
	_, _ = rand.Read(want)
	go func() {
		_, _ = c.Write(want)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("echo: got %d bytes and %v, want the %d that were sent", len(got), err, n)
	}
}

func TestServers(t *testing.T) {
	a := newAuthority(t)
	cert := a.server(t, name)
	for _, tt := range []struct {
		name     string
		server   *tls.Config
		client   browser.Config
		group    tls.CurveID
		version  uint16
		protocol string
	}{
		{name: "as it is", server: &tls.Config{NextProtos: []string{"h2"}}, group: tls.X25519MLKEM768, protocol: "h2"},
		{name: "without the hybrid", server: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, group: tls.X25519},
		{name: "another hello for P-256", server: &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, group: tls.CurveP256},
		{name: "another hello for P-384", server: &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, group: tls.CurveP384},
		{name: "TLS 1.2", server: &tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}, version: tls.VersionTLS12, protocol: "h2"},
		{name: "a WebSocket", server: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, client: browser.Config{WebSocket: true}, protocol: "http/1.1"},
		{name: "another protocol", server: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, client: browser.Config{Protocols: []string{"http/1.1"}}, protocol: "http/1.1"},
		{name: "no name in the hello", server: new(tls.Config), client: browser.Config{ServerName: "-", VerifyName: name}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Certificates = []tls.Certificate{cert}
			address, visits := serve(t, tt.server)
			tt.client.Roots = a.pool()
			switch tt.client.ServerName {
			case "":
				tt.client.ServerName = name
			case "-":
				tt.client.ServerName = ""
			}
			c, err := client(t, address, tt.client)
			if err != nil {
				t.Fatalf("handshake: got %v, want nil; the server's: %v", err, (<-visits).err)
			}
			defer c.Close()
			v := <-visits
			if tt.group != 0 && v.state.CurveID != tt.group {
				t.Errorf("group: got %v, want %v", v.state.CurveID, tt.group)
			}
			if tt.version != 0 && v.state.Version != tt.version {
				t.Errorf("version: got %x, want %x", v.state.Version, tt.version)
			}
			if c.Protocol() != tt.protocol {
				t.Errorf("protocol: got %q, want %q", c.Protocol(), tt.protocol)
			}
			if v.state.ServerName != tt.client.ServerName {
				t.Errorf("name: got %q, want %q", v.state.ServerName, tt.client.ServerName)
			}
			echo(t, c, 200_000)
		})
	}
}

func TestCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	cert := a.server(t, name)
	address, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	leaf, root, foreign := sha256.Sum256(cert.Certificate[0]), sha256.Sum256(a.root.Raw), sha256.Sum256(other.root.Raw)
	for _, tt := range []struct {
		name   string
		config browser.Config
		want   string // in the error; empty: none
	}{
		{"right", browser.Config{ServerName: name, Roots: a.pool()}, ""},
		{"unknown authority", browser.Config{ServerName: name, Roots: other.pool()}, "unknown authority"},
		{"authorities of the system", browser.Config{ServerName: name}, "unknown authority"},
		{"another name", browser.Config{ServerName: "www.example.net", Roots: a.pool()}, "www.example.net"},
		{"a front", browser.Config{ServerName: "www.example.net", VerifyName: name, Roots: a.pool()}, ""},
		{"a front that is not the one", browser.Config{ServerName: name, VerifyName: "www.example.net", Roots: a.pool()}, "www.example.net"},
		{"no name", browser.Config{Roots: a.pool()}, "there is no name"},
		{"pin", browser.Config{ServerName: "www.example.net", Pins: [][32]byte{foreign, leaf}}, ""},
		{"pin and no name", browser.Config{Pins: [][32]byte{leaf}}, ""},
		{"pin of another", browser.Config{ServerName: name, Pins: [][32]byte{foreign}, Roots: a.pool()}, "the pin"},
		{"pin of the authority", browser.Config{ServerName: name, Pins: [][32]byte{root}, Roots: other.pool()}, ""},
		{"pin of the authority, another name", browser.Config{ServerName: "www.example.net", Pins: [][32]byte{root}}, "www.example.net"},
		{"pin of the authority, no name", browser.Config{Pins: [][32]byte{root}}, "there is no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client(t, address, tt.config)
			switch {
			case err == nil && tt.want == "":
				echo(t, c, 10)
				_ = c.Close()
			case err == nil:
				t.Errorf("got a connection, want an error with %q", tt.want)
				_ = c.Close()
			case tt.want == "" || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	raw := dial(t, ln.Addr().String())
	if _, err := browser.Bundled().Client(ctx, raw, browser.Config{ServerName: name}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if _, err := raw.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("connection: got %v, want it closed", err)
	}
}
