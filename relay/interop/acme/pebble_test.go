package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a Pebble with a DNS server beside it, for which every name is
// 127.0.0.1. It forgets everything when it is stopped, its own key too.
type authority struct {
	*program
	t           *testing.T
	config, dir string
	port, dns   int
	records     int // of the DNS server's management
	root        string
	env         []string
}

// pebble prepares an authority, which looks at a site on the given ports and
// issues certificates for a while. Start starts it.
func pebble(t *testing.T, alpn, plain int, validity time.Duration, env ...string) *authority {
	t.Helper()
	t.Parallel()
	p := ports(t, 3)
	a := &authority{t: t, dir: t.TempDir(), port: p[0], dns: p[1], records: p[2]}
	a.env = append([]string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"}, env...)
	a.root = filepath.Join(a.dir, "cert.pem")
	key := filepath.Join(a.dir, "key.pem")
	webCertificate(t, a.root, key)
	b, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at(a.port), "certificate": a.root, "privateKey": key, "tlsPort": alpn, "httpPort": plain,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "d", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a.config = filepath.Join(a.dir, "pebble.json")
	if err := os.WriteFile(a.config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := launch(t, nil, challBin, "-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "",
		"-dns01", at(a.dns), "-management", at(a.records), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
	s.listening(a.records)
	return a
}

// start starts Pebble, or starts another one in its place.
func (a *authority) start() {
	a.t.Helper()
	if a.program != nil {
		a.kill()
	}
	a.program = launch(a.t, a.env, pebbleBin, "-config", a.config, "-dnsserver", at(a.dns))
	a.listening(a.port)
}

// nowhere has the DNS lead a name to an address where nobody listens.
func (a *authority) nowhere(name string) {
	a.t.Helper()
	body := fmt.Sprintf(`{"host": "%s.", "addresses": ["127.0.0.9"]}`, name)
	resp, err := http.Post("http://"+at(a.records)+"/add-a", "application/json", strings.NewReader(body))
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("add-a: got %v, %v, want 200", resp, err)
	}
	_ = resp.Body.Close()
}

// table is what the relay is told about the authority, which may not be the
// first one that it is to ask.
func (a *authority) table(more string, others ...int) string {
	var list []string
	for _, port := range append(others, a.port) {
		list = append(list, fmt.Sprintf("%q", "https://"+at(port)+"/dir"))
	}
	return fmt.Sprintf("[cover.acme]\nca = [%s]\nca_root = %q\n%s\n", strings.Join(list, ", "), a.root, more)
}

// webCertificate makes the certificate of Pebble's own web server.
func webCertificate(t *testing.T, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
