package mtproto

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/relay/policy"
	"relay/transport"
)

// front is a server for WebSocket over TLS, in front of a data centre. Its
// handshake is made here, so that it can be broken.
type front struct {
	t     *testing.T
	ln    *net.TCPListener
	conf  *tls.Config
	leaf  *x509.Certificate
	roots *x509.CertPool
	// answer, if not nil, changes the head of the answer.
	answer func(head string) string
	early  []byte // goes with the answer
}

func newFront(t *testing.T) *front {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"kws2.web.telegram.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, new(x509.Certificate), &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, ln: listen(t), leaf: leaf, roots: x509.NewCertPool()}
	f.roots.AddCert(leaf)
	f.conf = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1", "h2"}}
	return f
}

func (f *front) url() string { return "wss://" + f.ln.Addr().String() + "/apiws?a=b" }

func (f *front) way() Way {
	w, err := ParseWay(f.url())
	if err != nil {
		f.t.Fatal(err)
	}
	return w
}

// accept serves one handshake. It is for another goroutine than the test's too.
func (f *front) accept() (*served, error) {
	raw, err := f.ln.AcceptTCP()
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(limit))
	c := tls.Server(raw, f.conf)
	br := bufio.NewReader(c)
	req, err := http.ReadRequest(br)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	h := req.Header
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		return nil, errors.New("ALPN: " + got)
	}
	if req.Method != "GET" || req.RequestURI != "/apiws?a=b" || req.Host != f.ln.Addr().String() ||
		h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" || h.Get("Sec-WebSocket-Version") != "13" ||
		h.Get("Sec-WebSocket-Protocol") != "binary" || len(h.Get("Sec-WebSocket-Key")) != 24 {
		return nil, errors.New("not the request that is wanted: " + req.RequestURI)
	}
	sum := sha1.Sum([]byte(h.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	head := "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: binary\r\n\r\n"
	if f.answer != nil {
		head = f.answer(head)
	}
	if _, err := c.Write(append([]byte(head), f.early...)); err != nil {
		return nil, err
	}
	return &served{Conn: c, raw: raw, br: br}, nil
}

// served is the front's end of a WebSocket, as a stream.
type served struct {
	*tls.Conn
	raw    *net.TCPConn
	br     *bufio.Reader
	unread string
	pongs  []string
}

// Read implements net.Conn. A close frame is the end.
func (s *served) Read(b []byte) (int, error) {
	for s.unread == "" {
		first, payload, err := readMasked(s.br)
		switch {
		case err != nil:
			return 0, err
		case first == 0x88:
			return 0, io.EOF
		case first == 0x8a:
			s.pongs = append(s.pongs, payload)
		case first == 0x82:
			s.unread = payload
		default:
			return 0, errors.New("an unexpected frame")
		}
	}
	n := copy(b, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// Write implements net.Conn, in two frames of one message with a ping between.
func (s *served) Write(b []byte) (int, error) {
	half := len(b) / 2
	_, err := s.Conn.Write(joined(serverFrame(0x02, string(b[:half])), serverFrame(0x89, "ping"), serverFrame(0x80, string(b[half:]))))
	return len(b), err
}

// CloseWrite implements transport.Conn.
func (s *served) CloseWrite() error {
	_, err := s.Conn.Write(serverFrame(0x88, "\x03\xe8"))
	return err
}

// A front that does not do what it should, one way after the other.
func TestOpenFails(t *testing.T) {
	replaced := func(from, to string) func(string) string {
		return func(head string) string { return strings.Replace(head, from, to, 1) }
	}
	for _, tt := range []struct {
		name   string
		answer func(string) string
		want   string
	}{
		{"redirect", func(string) string { return "HTTP/1.1 302 Found\r\nLocation: https://core.telegram.org/\r\n\r\n" }, "status 302"},
		{"refused", func(string) string { return "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!" }, "status 403"},
		{"another key", replaced("Accept: ", "Accept: x"), "not that of a WebSocket"},
		{"no upgrade", replaced("upgrade: WebSocket", "x: y"), "not that of a WebSocket"},
		{"no connection", replaced("keep-alive, Upgrade", "keep-alive"), "not that of a WebSocket"},
		{"another protocol", replaced("Protocol: binary", "Protocol: text"), "not offered"},
		{"extension", replaced("upgrade:", "Sec-WebSocket-Extensions: permessage-deflate\r\nupgrade:"), "not offered"},
		{"no HTTP", func(string) string { return strings.Repeat("x", 100) + "\r\n" }, "malformed"},
		{"endless head", func(string) string { return "HTTP/1.1 101 x\r\nX: " + strings.Repeat("x", 100_000) }, "EOF"},
		{"cut off", func(head string) string { return head[:len(head)-4] }, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t)
			f.answer = tt.answer
			go func() {
				if c, err := f.accept(); err == nil {
					_ = c.Conn.Close()
				}
			}()
			c, err := f.open(t.Context(), f.roots)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("open: got %v, %v, want an error with %q", c, err, tt.want)
			}
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		f := newFront(t)
		go func() { _, _ = f.accept() }()
		if _, err := f.open(t.Context(), x509.NewCertPool()); !errors.As(err, new(x509.UnknownAuthorityError)) {
			t.Errorf("open: got %v, want an unknown authority", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		f := newFront(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := f.open(ctx, f.roots); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("open: got %v, want a time-out", err)
		}
	})
	t.Run("called off", func(t *testing.T) {
		f := newFront(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if c, err := f.ln.Accept(); err == nil { // and says nothing
				defer c.Close()
				cancel()
				_, _ = io.Copy(io.Discard, c)
			}
		}()
		if _, err := f.open(ctx, f.roots); !errors.Is(err, context.Canceled) {
			t.Errorf("open: got %v, want context.Canceled", err)
		}
	})
}

// open dials the front and makes a stream of the connection.
func (f *front) open(ctx context.Context, roots *x509.CertPool) (transport.Conn, error) {
	c, err := net.Dial("tcp4", f.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return f.way().open(ctx, c.(*net.TCPConn), roots)
}

// What comes with the answer is the beginning of the stream, and each way of
// going is an end or an error.
func TestOpened(t *testing.T) {
	for _, tt := range []struct {
		name string
		goes func(*served)
		rest string
		fine bool
	}{
		{"close frame", func(s *served) { _ = s.CloseWrite() }, "", true},
		{"end of TLS", func(s *served) { _ = s.Conn.Close() }, "", true},
		{"end of TCP", func(s *served) { _ = s.raw.Close() }, "", true},
		{"in a frame", func(s *served) { _, _ = s.Conn.Write(serverFrame(0x82, "abc")[:3]); _ = s.Conn.Close() }, "a", false},
		{"reset", func(s *served) { _ = s.raw.SetLinger(0); _ = s.raw.Close() }, "", false},
		{"text", func(s *served) { _, _ = s.Conn.Write(serverFrame(0x81, "abc")) }, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t)
			f.early = joined(serverFrame(0x89, "hi"), serverFrame(0x82, "early"))
			errs := make(chan error, 1)
			go func() {
				s, err := f.accept()
				if err == nil {
					_, err = io.ReadFull(s, make([]byte, 5))
				}
				if err == nil {
					tt.goes(s)
				}
				errs <- err
			}()
			c, err := f.open(t.Context(), f.roots)
			if err != nil {
				t.Fatalf("open: got %v", err)
			}
			_ = c.SetDeadline(time.Now().Add(limit))
			reads(t, c, "early", "with the answer")
			_, _ = io.WriteString(c, "hello")
			if err := <-errs; err != nil {
				t.Fatalf("at the front: got %v", err)
			}
			got, err := io.ReadAll(c)
			if string(got) != tt.rest || (err == nil) != tt.fine {
				t.Errorf("rest: got %q, %v, want %q and an end in order: %t", got, err, tt.rest, tt.fine)
			}
		})
	}
}

// A name that leads into this network, or nowhere, is a way that is blocked; an
// address that policy refuses says nothing about itself.
func TestUnusable(t *testing.T) {
	name, err := ParseWay("wss://kws2.web.telegram.org/apiws")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason      error
		addr, named bool
	}{
		{policy.ErrRefused, true, true}, {policy.ErrTimeout, true, true}, {policy.ErrNotFound, false, true},
		{policy.ErrResolve, false, true}, {policy.ErrDenied, false, true}, {context.Canceled, false, false},
	} {
		if a, n := unusable(plain(one), tt.reason), unusable(name, tt.reason); a != tt.addr || n != tt.named {
			t.Errorf("%v: got %t for an address and %t for a name, want %t and %t", tt.reason, a, n, tt.addr, tt.named)
		}
	}
}

func TestWayString(t *testing.T) {
	for _, text := range []string{
		"wss://kws2-1.web.telegram.org/apiws", "wss://a.example:8443/x?y=z", "wss://127.0.0.1:443/", "wss://[::1]:8443/a%20b",
	} {
		w, err := ParseWay(text)
		if got := w.String(); err != nil || got != text || !w.Web() {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	if got := plain(three).String(); got != three || plain(three).Web() {
		t.Errorf("an address: got %q, want %q", got, three)
	}
}

// serverFrame is a frame as a server writes it, made anew from the RFC.
func serverFrame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, payload...)
}

func joined(parts ...[]byte) []byte { return slices.Concat(parts...) }

// readMasked reads a client's frame, by the RFC and by nothing in this package.
func readMasked(r io.Reader) (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	if head[1] < 128 {
		return 0, "", errors.New("not masked")
	}
	length := uint64(head[1] - 128)
	if size := map[uint64]int{126: 2, 127: 8}[length]; size > 0 {
		long := make([]byte, 8)
		if _, err := io.ReadFull(r, long[8-size:]); err != nil {
			return 0, "", err
		}
		length = binary.BigEndian.Uint64(long)
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return 0, "", err
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	for i := range b {
		b[i] ^= mask[i%4]
	}
	return head[0], string(b), err
}
