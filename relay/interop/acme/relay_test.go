package acme

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const name = "www.example.org"

// relay is a relay with a site, on ports that stay when it is started again.
type relay struct {
	*program
	t             *testing.T
	secure, plain int // plain is 0 for none
	dir           string
	config        string
	others        []string // names beside name
}

// newRelay prepares a relay; withPlain gives it a port for http-01.
func newRelay(t *testing.T, withPlain bool) *relay {
	t.Helper()
	p := ports(t, 2)
	r := &relay{t: t, secure: p[0], dir: t.TempDir()}
	if withPlain {
		r.plain = p[1]
	}
	if err := os.Mkdir(filepath.Join(r.dir, "site"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "site", "index.html"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.config = filepath.Join(r.dir, "relay.toml")
	t.Cleanup(r.secrets)
	return r
}

// configure writes the configuration, with tables of the test's.
func (r *relay) configure(tables string) {
	r.t.Helper()
	plain := ""
	if r.plain != 0 {
		plain = fmt.Sprintf("http = %q\n", at(r.plain))
	}
	text := fmt.Sprintf("state = %q\n[[listen]]\naddress = %q\ninbounds = [\"mtproto\"]\n[mtproto]\nsecrets = [\"ee\"]\nnames = [\"cdn.example.net\"]\n"+
		"[cover]\nname = %q\nnames = [%s]\nsite = %q\ncertificate = \"acme\"\n%s%s",
		filepath.Join(r.dir, "state"), at(r.secure), name, quoted(r.others), filepath.Join(r.dir, "site"), plain, tables)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func quoted(names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%q, ", name)
	}
	return b.String()
}

// start starts the relay, with what it must keep to itself in its environment.
func (r *relay) start() {
	r.t.Helper()
	r.program = launch(r.t, []string{"RELAY_TEST_SECRET=hunter2"}, relayBin, "serve", "--config", r.config, "--log-level", "debug")
	r.listening(r.secure)
}

// reload has the configuration read again.
func (r *relay) reload() {
	r.t.Helper()
	n := r.said.count("configuration reloaded")
	_ = r.cmd.Process.Signal(syscall.SIGHUP)
	r.awaits("configuration reloaded", n+1)
}

// handshake returns the site's certificate, or why there was none.
func (r *relay) handshake() (*x509.Certificate, error) { return r.handshakeFor(name) }

func (r *relay) handshakeFor(name string) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", at(r.secure), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// certificate waits for a certificate of Pebble's, another one than before.
func (r *relay) certificate(limit time.Duration, before *x509.Certificate) *x509.Certificate {
	r.t.Helper()
	return r.certificateFor(name, limit, before)
}

func (r *relay) certificateFor(name string, limit time.Duration, before *x509.Certificate) *x509.Certificate {
	r.t.Helper()
	var got *x509.Certificate
	within(r.t, limit, func() bool {
		c, err := r.handshakeFor(name)
		if err == nil && strings.Contains(c.Issuer.CommonName, "Pebble") && (before == nil || !c.Equal(before)) {
			got = c
		}
		return got != nil
	}, "a certificate")
	if err := got.VerifyHostname(name); err != nil {
		r.t.Errorf("certificate: got %v, want one for %s", err, name)
	}
	return got
}

// secrets looks whether all of the state is closed, and no key in the log.
func (r *relay) secrets() {
	_ = filepath.WalkDir(filepath.Join(r.dir, "state", "acme"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		if fi.Mode().Perm()&0o077 != 0 {
			r.t.Errorf("%s: got mode %v, want nobody else to get at it", path, fi.Mode())
		}
		b, err := os.ReadFile(path)
		if d.IsDir() || err != nil || r.program == nil {
			return nil
		}
		_, secret, ok := strings.Cut(string(b), "PRIVATE KEY-----\n")
		if line, _, _ := strings.Cut(secret, "\n"); ok && strings.Contains(r.said.String(), line) {
			r.t.Errorf("log: got the key of %s in it, want none", path)
		}
		return nil
	})
}
