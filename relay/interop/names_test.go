package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rt "relay/transport"
	"relay/transport/faketls"
)

// namedSite is a relay with a site of several names, each with a certificate of
// another size, and users of MTProto under all of them.
type namedSite struct {
	*relay
	dir, state, file string
	dc               *dataCentre
	names            []string
}

func newNamedSite(t *testing.T, dc *dataCentre, names ...string) *namedSite {
	t.Helper()
	s := &namedSite{dir: t.TempDir(), state: t.TempDir(), dc: dc}
	s.file = filepath.Join(s.dir, "relay.toml")
	for name, b := range map[string][]byte{"index.html": []byte(greeting), "large.bin": make([]byte, 32<<20)} {
		if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(t, names...)
	s.relay = start(t, []string{"mtproto"}, "serve", "--config", s.file)
	return s
}

// configure writes the configuration, and certificates for new names.
func (s *namedSite) configure(t *testing.T, names ...string) {
	t.Helper()
	for i := len(s.names); i < len(names); i++ {
		pairFor(t, filepath.Join(s.dir, names[i]), names[i], 100*i)
	}
	s.names = names
	var pairs, list []string
	for _, name := range names {
		file := filepath.Join(s.dir, name)
		pairs = append(pairs, fmt.Sprintf("{ cert = %q, key = %q }", file+".pem", file+".key"))
		list = append(list, strconv.Quote(name))
	}
	at := net.JoinHostPort(s.dc.list.Options[0].IPAddress, strconv.Itoa(s.dc.list.Options[0].Port))
	text := fmt.Sprintf(`state = %q
[[listen]]
address = "127.0.0.1:0"
inbounds = ["mtproto"]
[cover]
names = [%s]
site = %q
certificate = [%s]
[mtproto]
names = [%s]
dcs = { "2" = [%q] }
probe = "0"
[egress]
allow = ["127.0.0.0/8"]
`, s.state, strings.Join(list, ", "), s.dir, strings.Join(pairs, ", "), strings.Join(list, ", "), at)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	res := runProgram(t, 20*time.Second, nil, relayBin, "check", s.file)
	if res.code != 0 || strings.Contains(res.stdout, "site does not answer") || strings.Contains(res.stdout, "no certificate") {
		t.Errorf("relay check: got %d, %s%s, want nothing about names", res.code, res.stdout, res.stderr)
	}
}

// pairFor writes a certificate for name that is longer than needed.
func pairFor(t *testing.T, file, name string, longer int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(7), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{Organization: []string{strings.Repeat("x", longer)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ending, b := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file+ending, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// heard keeps what is read from a connection.
type heard struct {
	rt.Conn
	in bytes.Buffer
}

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.in.Write(b[:n])
	return n, err
}

func (s *namedSite) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp4", s.proxy("mtproto").Host)
}

// userFlight is the size of what is encrypted in the answer to a user's hello.
func (s *namedSite) userFlight(t *testing.T, secret []byte) int {
	t.Helper()
	c, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	h := &heard{Conn: c.(rt.Conn)}
	if _, err := faketls.Client(h, string(secret[17:]), [16]byte(secret[1:]), faketls.ClientOptions{}); err != nil {
		t.Fatalf("user of %s: got %v, want to be let in", secret[17:], err)
	}
	b, size := h.in.Bytes(), 0
	for len(b) >= 5 {
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		if b[0] == 23 {
			size += n
		}
		b = b[n:]
	}
	return size
}

// sameSizes compares the flights of a user with those of a stranger who asks for
// the same name, which have some bytes more or less by the length of signatures.
func (s *namedSite) sameSizes(t *testing.T, secret []byte) {
	t.Helper()
	name := string(secret[17:])
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cover, err := faketls.Probe(ctx, s.dial, name)
	if err != nil {
		t.Fatalf("a stranger who asks for %s: got %v, want the site's handshake", name, err)
	}
	least, most := slices.Min(cover.Sizes)-2, slices.Max(cover.Sizes)+2
	got := 0
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); pause(t, 200*time.Millisecond) {
		if got = s.userFlight(t, secret); got >= least && got <= most {
			return
		}
	}
	t.Errorf("flight of a user of %s: got %d bytes, want %d to %d as a stranger's", name, got, least, most)
}

// TestSiteNames: users and strangers of each name are answered with handshakes of
// one size. A reload adds a name, and cuts off nobody.
func TestSiteNames(t *testing.T) {
	integration(t)
	t.Parallel()
	const www, cdn, static = "www.example.org", "cdn.example.org", "static.example.net"
	dc := startDC(t, true)
	s := newNamedSite(t, dc, www, cdn)
	secrets := map[string][]byte{}
	add := func(user string) {
		secret := secretOf(t, userCommand(t, "add", user, s.state), "ee")
		secrets[string(secret[17:])] = secret
	}
	add("alice")
	add("bob")
	for _, name := range []string{www, cdn} {
		if secrets[name] == nil {
			t.Fatalf("secrets: got %d names, want a user under each", len(secrets))
		}
		s.sameSizes(t, secrets[name])
	}
	slow, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	visit := tls.Client(slow, &tls.Config{ServerName: cdn, InsecureSkipVerify: true})
	if _, err := fmt.Fprintf(visit, "GET /large.bin HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", cdn); err != nil {
		t.Fatal(err)
	}
	var transfers sync.WaitGroup
	for range 4 {
		transfers.Go(func() {
			upAndDown(t, "beside the reload", dc, telegramVia(t, s.relay, secrets[cdn], faketls.Chrome), 8<<20)
		})
	}
	s.configure(t, www, cdn, static)
	_ = s.cmd.Process.Signal(syscall.SIGHUP)
	for end := time.Now().Add(20 * time.Second); !strings.Contains(s.stderr.String(), "configuration reloaded"); pause(t, 50*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("reload: got no word of it in 20s, want one")
		}
	}
	transfers.Wait()
	if n, err := io.Copy(io.Discard, visit); err != nil || n < 32<<20 {
		t.Errorf("a visit that the reload came upon: got %d bytes, %v, want all", n, err)
	}
	add("carol")
	if secrets[static] == nil {
		t.Fatal("carol: got a name that was there before, want the new one")
	}
	for _, name := range []string{static, www, cdn} {
		s.sameSizes(t, secrets[name])
	}
	upAndDown(t, "the new name", dc, telegramVia(t, s.relay, secrets[static], faketls.Chrome), 1<<20)
}
