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
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/resolve"
)

// dial connects, in tests, to what stands in the way.
type dial func(ctx context.Context, to netip.AddrPort) (transport.Conn, error)

// box is a censor, or trouble, on the way to a stand.
type box struct {
	name  string
	mode  string // empty: stream-one
	set   func(t *testing.T, o *ClientOptions)
	sink  transport.Sink // nil: echo
	stage Stage          // empty: it works
	cause Cause
}

func TestTrial(t *testing.T) {
	boxes := slices.Concat([]box{
		{name: "forged", set: saying(resolve.ErrPoisoned), stage: StageName, cause: CauseForged},
		{name: "no such name", set: saying(resolve.ErrNotFound), stage: StageName, cause: CauseNoName},
		{name: "resolver silent", set: saying(resolve.ErrTimeout), stage: StageName, cause: CauseSilent},
		{name: "resolver fails", set: saying(resolve.ErrFailed), stage: StageName, cause: CauseFailed},
		{name: "refused", set: to(nobody), stage: StageConnect, cause: CauseRefused},
		{name: "blackhole", set: to(blackhole), stage: StageConnect, cause: CauseSilent},
		{name: "no network", set: to(failing(syscall.ENETUNREACH)), stage: StageConnect, cause: CauseUnreachable},
		{name: "firewall", set: to(failing(syscall.EPERM)), stage: StageConnect, cause: CauseForbidden},
		{name: "reset after the hello", set: to(answering(abort)), stage: StageHello, cause: CauseReset},
		{name: "closed after the hello", set: to(answering(leave)), stage: StageHello, cause: CauseClosed},
		{name: "silent after the hello", set: to(answering(stay)), stage: StageHello, cause: CauseSilent},
		{name: "block page", set: to(answering(blockPage)), stage: StageHello, cause: CauseFailed},
		{name: "alert", set: toTLS(alerting, nil), stage: StageHello, cause: CauseRefused},
		{name: "HTTP/1.1", set: toTLS(http1, nil), stage: StageHello, cause: CauseNotHTTP2},
		{name: "another's pin", set: pins([32]byte{1}), stage: StageHello, cause: CauseCertificate},
		{name: "no pin", set: pins(), stage: StageHello, cause: CauseCertificate},
		{name: "another time", set: expired, stage: StageHello, cause: CauseClock},
		{name: "no path", set: toTLS(nil, status(404)), stage: StageRequest, cause: CausePath},
		{name: "CDN", set: toTLS(nil, status(522)), stage: StageRequest, cause: CauseServer},
		{name: "forbidden", set: toTLS(nil, status(403)), stage: StageRequest, cause: CauseStatus},
		{name: "reset after the request", set: to(cut(8<<10, syscall.ECONNRESET)), stage: StageRequest, cause: CauseReset, sink: joined(pour)},
		{name: "no user", sink: joined(refuseUser), stage: StageData, cause: CauseUser},
		{name: "no answer", sink: joined(hold), stage: StageData, cause: CauseSilent},
		{name: "freeze", set: to(freezing(16 << 10)), stage: StageVolume, cause: CauseFrozen},
		{name: "reset at 16 kB", set: to(cut(16<<10, syscall.ECONNRESET)), stage: StageVolume, cause: CauseReset},
		{name: "end at 16 kB", set: to(cut(16<<10, io.EOF)), stage: StageVolume, cause: CauseClosed},
		{name: "freeze of a WebSocket", mode: ModeWebSocket, set: to(freezing(16 << 10)), stage: StageVolume, cause: CauseFrozen},
		{name: "no path of a WebSocket", mode: ModeWebSocket, set: toTLS(nil, status(404)), stage: StageRequest, cause: CausePath},
		{name: "freeze over HTTP/1.1", mode: ModePacketUp, set: overHTTP1(freezing(16 << 10)), stage: StageVolume, cause: CauseFrozen},
		{name: "no user over HTTP/1.1", mode: ModePacketUp, set: overHTTP1(DialTCP), sink: joined(refuseUser), stage: StageData, cause: CauseUser},
		{name: "works over HTTP/1.1", mode: ModePacketUp, set: overHTTP1(DialTCP)},
		{name: "slow page", set: slowPage},
	}, works())
	for _, tt := range boxes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // many wait
			tt.run(t)
		})
	}
}

// works are the modes with nothing in the way.
func works() (out []box) {
	for _, m := range clientModes {
		out = append(out, box{name: "works with " + m, mode: m})
	}
	return out
}

func (x *box) run(t *testing.T) {
	if x.sink == nil {
		x.sink = joined(echo)
	}
	if x.mode == "" {
		x.mode = ModeStreamOne
	}
	d := newDialled(t, x.mode, x.sink)
	o := ClientOptions{Way: d.way, Profile: d.profile, Names: d.names, Connect: DialTCP}
	if x.set != nil {
		x.set(t, &o)
	}
	tr := NewTrial(o)
	defer tr.Close()
	f := tr.Run(t.Context(), func(ctx context.Context) error { return askEcho(ctx, tr) }, nil)
	r := tr.Report()
	if x.stage == "" {
		if f != nil || r.Trip <= 0 || r.Down < volumeSize || r.Rate <= 0 || r.Hello <= 0 || len(r.Tried) == 0 {
			t.Errorf("got %v and %+v, want that it works, with times and a rate", f, r)
		}
		return
	}
	if f == nil || f.Stage != x.stage || f.Cause != x.cause {
		t.Fatalf("got %+v, want %s: %s", f, x.stage, x.cause)
	}
	if !slices.Contains(Causes[f.Stage], f.Cause) {
		t.Errorf("%s: %s is not in the table", f.Stage, f.Cause)
	}
	if text := f.Error(); strings.Contains(text, password) || strings.Contains(text, "127.0.0.1") || strings.Contains(text, "relay.example") {
		t.Errorf("got %q, want neither path nor address nor name in it", text)
	}
	if x.cause == CauseFrozen && !Limited(r.Down) {
		t.Errorf("frozen after %d bytes: want it taken for a limit", r.Down)
	}
}

// askEcho is what a dialer asks: with a word that comes back.
func askEcho(ctx context.Context, tr *Trial) error {
	c, err := tr.Open(ctx, []byte("ping"))
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	} else {
		return err
	}
}

// TestTrialStopped ends trials from outside, in the middle of a stage.
func TestTrialStopped(t *testing.T) {
	for _, tt := range []struct {
		name  string
		dial  dial
		stage Stage
	}{{"connect", blackhole, StageConnect}, {"hello", answering(stay), StageHello}, {"volume", freezing(16 << 10), StageVolume}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDialled(t, ModeStreamOne, joined(echo))
			o := ClientOptions{Way: d.way, Profile: d.profile, Names: d.names}
			to(tt.dial)(t, &o)
			tr := NewTrial(o)
			defer tr.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			f := tr.Run(ctx, func(ctx context.Context) error { return askEcho(ctx, tr) }, nil)
			if f == nil || f.Stage != tt.stage || f.Cause != CauseStopped {
				t.Errorf("got %+v, want %s: %s", f, tt.stage, CauseStopped)
			}
		})
	}
}

// TestTrialAddresses has a live address behind two that say less.
func TestTrialAddresses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		live  bool
		cause Cause
	}{{"one lives", true, ""}, {"none does", false, CauseRefused}} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDialled(t, ModeStreamOne, joined(echo))
			o := ClientOptions{Way: d.way, Profile: d.profile, Names: d.names}
			live := d.way.Connect[0]
			o.Way.Connect = []Place{{Host: "192.0.2.1", Port: 443}, {Host: "192.0.2.2", Port: 443}, live}
			to(func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
				switch {
				case to.Addr().String() == "192.0.2.1":
					return nil, syscall.ENETUNREACH
				case to.Addr().String() == "192.0.2.2" || !tt.live:
					return nil, syscall.ECONNREFUSED
				}
				return DialTCP(ctx, to)
			})(t, &o)
			tr := NewTrial(o)
			defer tr.Close()
			f := tr.Connect(t.Context())
			if tt.live && f != nil || !tt.live && (f == nil || f.Stage != StageConnect || f.Cause != tt.cause) {
				t.Errorf("got %+v, want %q", f, tt.cause)
			}
			want := 3
			if tt.live {
				want = 4 // and the hello
			}
			if got := tr.Report().Tried; len(got) != want {
				t.Errorf("got %+v, want %d steps", got, want)
			}
		})
	}
}

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
