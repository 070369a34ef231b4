package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const coverName = "www.example.org"

// cover is a web site for the probe battery: a folder and a certificate.
type cover struct{ dir, cert, key string }

func newCover(t *testing.T) cover {
	t.Helper()
	dir := t.TempDir()
	c := cover{filepath.Join(dir, "site"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: coverName}, DNSNames: []string{coverName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "test"}}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string][]byte{
		c.cert:                             pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		c.key:                              pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		filepath.Join(c.dir, "index.html"): []byte("<!doctype html><title>Example</title><p>Hello.</p>\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// nginx drops root, and must still get at the site.
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
	}
	return c
}

// nginx serves the cover until the test ends.
func (c cover) nginx(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close() // nginx cannot be told to choose, nor say what it chose
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 2;
events { worker_connections 2048; }
http {
	access_log off;
	types { text/html html; text/css css; image/gif gif; }
	client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	server {
		listen %[2]s ssl http2; server_name %[3]s; root %[4]s;
		ssl_certificate %[5]s; ssl_certificate_key %[6]s; ssl_protocols TLSv1.2 TLSv1.3;
	}
}
`, dir, addr, coverName, c.dir, c.cert, c.key)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-c", conf)
	cmd.Env = append(cleanEnv(dir), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if cmd.Err != nil {
		cmd.Path, cmd.Err = "/usr/sbin/nginx", nil // not in the path of everybody
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("nginx: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // to the master, which ends its workers
		_ = cmd.Wait()
	})
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		} else if time.Now().After(limit) {
			text, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("nginx: got no listener in 10s, want one\n%s", text)
		}
	}
}

// goServer serves the cover with Go's own server.
func (c cover) goServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.FileServer(http.Dir(c.dir)), TLSConfig: &tls.Config{}, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.ServeTLS(ln, c.cert, c.key) }() // ends with Close
	t.Cleanup(func() { s.Close() })
	return ln.Addr().String()
}

// probeReport is what "relay doctor --probe" prints with --json.
type probeReport struct {
	Probes    int     `json:"probes"`
	Differing int     `json:"differing"`
	Seconds   float64 `json:"seconds"`
	Results   []struct {
		Probe     string    `json:"probe"`
		Verdict   string    `json:"verdict"`
		Why       string    `json:"why"`
		Reference probeSide `json:"reference"`
		Target    probeSide `json:"target"`
	} `json:"results"`
}

// probeSide is what one of the two servers did.
type probeSide struct {
	Outcomes []struct {
		Text string `json:"text"`
	} `json:"outcomes"`
	End float64 `json:"end_ms"`
}

// battery is the probes that take a moment each.
func battery(t *testing.T, target, reference, runs string, more ...string) probeReport {
	t.Helper()
	return doctor(t, 5*time.Minute, target, reference, append([]string{"--quick", "--runs", runs}, more...)...)
}

// doctor probes target and reference, within limit.
func doctor(t *testing.T, limit time.Duration, target, reference string, more ...string) probeReport {
	t.Helper()
	args := append([]string{"doctor", "--probe", target, "--reference", reference, "--name", coverName, "--json"}, more...)
	res := runProgram(t, limit, nil, relayBin, args...)
	var r probeReport
	if err := json.Unmarshal([]byte(res.stdout), &r); err != nil {
		t.Fatalf("relay doctor: got %q and %q, want JSON: %v", res.stdout, res.stderr, err)
	}
	if want := min(r.Differing, 1); res.code != want {
		t.Errorf("exit code with %d differences: got %d, want %d", r.Differing, res.code, want)
	}
	t.Logf("%d probes, %d differ, %.0f s", r.Probes, r.Differing, r.Seconds)
	return r
}

// TestProbeSame finds no difference between a web server and itself: what the
// battery reports of a relay is the relay's.
func TestProbeSame(t *testing.T) {
	integration(t)
	t.Parallel() // they wait most of the time
	c := newCover(t)
	one, other := c.nginx(t), c.nginx(t)
	r := battery(t, one, other, "2")
	unlike(t, r, one, other, "", nil)
	page := map[string]string{"web-get": "200 OK", "inside-12-get": "200 OK", "h2-get": "DATA"}
	for _, res := range r.Results {
		// Two servers that both refuse our handshakes are alike, too.
		if got := res.Reference.Outcomes[0].Text; !strings.Contains(got, page[res.Probe]) {
			t.Errorf("%s: got %q, want the page", res.Probe, got)
		}
	}
}

// TestProbeOther tells two web servers with the same site apart by most probes:
// a relay that imitates a web server does not pass for one.
func TestProbeOther(t *testing.T) {
	integration(t)
	t.Parallel() // they wait most of the time
	c := newCover(t)
	r := battery(t, c.goServer(t), c.nginx(t), "1")
	if r.Differing < r.Probes/2 {
		t.Errorf("Go against nginx: got %d of %d probes that differ, want more than half", r.Differing, r.Probes)
	}
}
