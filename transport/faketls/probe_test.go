package faketls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport/hello"
)

// tlsServer is a real TLS server in memory, which dial connects to.
func tlsServer(t *testing.T, config *tls.Config) (dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("key: got %v, want nil", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{testName}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatalf("certificate: got %v, want nil", err)
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return says(func(c net.Conn) {
		_ = tls.Server(c, config).Handshake() // fails when the probe hangs up
	})
}

// says is a server that does something with each connection, and hangs up.
func says(do func(net.Conn)) (dial func(context.Context) (net.Conn, error)) {
	return func(context.Context) (net.Conn, error) {
		a, b := relaytest.Pipe()
		go func() { do(b); _ = b.Close() }()
		return a, nil
	}
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config *tls.Config
		want   Cover // without sizes
		err    error
	}{
		{"today's", &tls.Config{}, Cover{CipherSuite: 0x1301, Group: hello.GroupX25519MLKEM768}, nil},
		{"without post-quantum keys", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}},
			Cover{CipherSuite: 0x1301, Group: hello.GroupX25519}, nil},
		{"that asks again", &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}},
			Cover{CipherSuite: 0x1301, Group: hello.GroupP256, Retry: true}, nil},
		{"without TLS 1.3", &tls.Config{MaxVersion: tls.VersionTLS12}, Cover{}, ErrNotTLS13},
	} {
		var got Cover
		var err error
		synctest.Test(t, func(t *testing.T) { got, err = Probe(t.Context(), tlsServer(t, tt.config), testName) })
		if !errors.Is(err, tt.err) || got.CipherSuite != tt.want.CipherSuite || got.Group != tt.want.Group ||
			got.Retry != tt.want.Retry || got.KeyShareFirst {
			t.Errorf("a server %s: got %+v, %v, want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
		if err != nil || got.Retry {
			continue
		}
		// Go sends four messages in records of their own, and a ticket with them.
		for _, sizes := range [][]int{got.Sizes, got.SafariSizes} {
			if len(sizes) != probes/2 || slices.Min(sizes) < 500 || slices.Max(sizes)-slices.Min(sizes) > 6 || got.Records < 4 {
				t.Errorf("a server %s: got sizes %v in %d records, want %d that differ by little", tt.name, sizes, got.Records, probes/2)
			}
		}
		// What we send then looks the same to the probe.
		for shape, sizes := range map[Shape][]int{Chrome: got.Sizes, Safari: got.SafariSizes} {
			a, _ := answered(t, got, newHello(shape, testName))
			if a.suite != got.CipherSuite || a.group != got.Group || !slices.Contains(sizes, a.size) {
				t.Errorf("imitation of a server %s: got %+v, want it as %+v", tt.name, a, got)
			}
		}
	}
}

func TestProbeFails(t *testing.T) {
	refused := errors.New("refused")
	_, err := Probe(t.Context(), func(context.Context) (net.Conn, error) { return nil, refused }, testName)
	if !errors.Is(err, refused) {
		t.Errorf("no server: got %v, want %v", err, refused)
	}
	for _, tt := range []struct {
		name, says string
		want       error
	}{
		{"that hangs up", "", errFlight},
		{"of another protocol", "SSH-2.0-OpenSSH_9.2\r\n", errFlight},
		{"that refuses", "\x15\x03\x03\x00\x02\x02\x28", ErrNotTLS13},
	} {
		_, err := Probe(t.Context(), says(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte(tt.says))
		}), testName)
		if !errors.Is(err, tt.want) {
			t.Errorf("a server %s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		silent := says(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		if _, err := Probe(t.Context(), silent, testName); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != probeTimeout {
			t.Errorf("a silent server: got %v after %v, want a timeout after %v", err, time.Since(began), probeTimeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Probe(ctx, silent, testName); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that ends: got %v, want its error", err)
		}
	})
}
