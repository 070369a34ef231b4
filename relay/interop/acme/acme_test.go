package acme

import (
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const quarter = 90 * 24 * time.Hour

// TestALPN: tls-alpn-01 on the relay's own port, through its route. Neither a
// reload nor a start asks for another certificate.
func TestALPN(t *testing.T) {
	r := newRelay(t, false)
	a := pebble(t, r.secure, 1, quarter)
	a.start()
	r.configure(a.table(`email = "a@example.org"`))
	r.start()
	first := r.certificate(30*time.Second, nil)
	r.reload()
	r.awaits("acme: added certificate to cache", 2)
	if got, err := r.handshake(); err != nil || !got.Equal(first) {
		t.Errorf("after a reload: got another certificate or %v, want the same", err)
	}
	// Another setting has another account, and not another certificate.
	r.configure(a.table(`email = "b@example.org"`))
	r.reload()
	r.awaits("acme: added certificate to cache", 3)
	r.terminate()
	r.start()
	r.awaits("acme: added certificate to cache", 1)
	if got := r.certificate(5*time.Second, nil); !got.Equal(first) {
		t.Error("after a start: got another certificate, want the same")
	}
	r.terminate()
	if n := a.said.count("POST /order-plz"); n != 1 {
		t.Errorf("orders: got %d, want 1", n)
	}
	if r.said.count("RELAY_TEST_SECRET") > 0 || strings.Contains(r.said.String(), "a@example.org") {
		t.Error("log: got the account's address in it, want none")
	}
}

// TestNames: a certificate for each name, by tls-alpn-01. A name that is added by a
// reload gets one too, and nothing else is asked for. One that fails does not hold
// up the others.
func TestNames(t *testing.T) {
	r := newRelay(t, false)
	a := pebble(t, r.secure, 1, quarter)
	a.start()
	const cdn, static, bad = "cdn.example.org", "static.example.net", "bad.example.net"
	r.others = []string{bad, cdn}
	a.nowhere(bad)
	r.configure(a.table(""))
	r.start()
	first, second := r.certificate(60*time.Second, nil), r.certificateFor(cdn, 60*time.Second, nil)
	for _, c := range []*x509.Certificate{first, second} {
		if len(c.DNSNames) != 1 {
			t.Errorf("names of a certificate: got %v, want one", c.DNSNames)
		}
	}
	r.awaits("no certificate: the site's handshakes fail\" name="+bad, 1)
	if _, err := r.handshakeFor(bad); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("the name that fails: got %v, want the alert internal_error", err)
	}
	r.others = []string{static, cdn}
	r.configure(a.table(""))
	r.reload()
	if got, err := r.handshakeFor(cdn); err != nil || !got.Equal(second) {
		t.Errorf("right after the reload: got another certificate or %v, want the same", err)
	}
	r.certificateFor(static, 60*time.Second, nil)
	if got, err := r.handshake(); err != nil || !got.Equal(first) {
		t.Errorf("after the reload: got another certificate or %v, want the same", err)
	}
	if n := a.said.count("POST /order-plz"); n != 4 {
		t.Errorf("orders: got %d, want one for each name", n)
	}
	r.kill()
	a.kill()
	r.start()
	for _, name := range []string{name, cdn, static} {
		if c, err := r.handshakeFor(name); err != nil || c.VerifyHostname(name) != nil {
			t.Errorf("a start without the authority: got %v, %v, want the certificate of %s", c, err, name)
		}
	}
}

// TestHTTP: http-01 on the plain port, for two names, where the site's own port is not what the
// authority reaches; and the second authority is asked where the first is gone.
func TestHTTP(t *testing.T) {
	r := newRelay(t, true)
	a := pebble(t, 1, r.plain, quarter)
	a.start()
	r.others = []string{"cdn.example.org"}
	r.configure(a.table("", 1))
	r.start()
	r.certificate(60*time.Second, nil)
	r.certificateFor("cdn.example.org", 60*time.Second, nil)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get("http://" + at(r.plain) + "/.well-known/acme-challenge/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("a challenge that nobody asked for: got %s, want the redirect", resp.Status)
	}
}

// TestWildcard: dns-01 by a hook, which gets three arguments, no secrets, and
// removes what it has made.
func TestWildcard(t *testing.T) {
	r := newRelay(t, false)
	a := pebble(t, 1, 1, quarter)
	a.start()
	log, hook := filepath.Join(r.dir, "hook.log"), filepath.Join(r.dir, "hook")
	script := `#!/bin/sh
set -eu
echo "$# $1 $2 $(env | grep -c SECRET)" >>` + log + `
case $1 in
present) path=set-txt ;;
cleanup) path=clear-txt ;;
esac
[ -e ` + log + `.broken ] || { echo "no such key" >&2; touch ` + log + `.broken; exit 1; }
exec curl -fsS -d "{\"host\":\"$2.\",\"value\":\"$3\"}" http://` + at(a.records) + `/$path
`
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	// Its first run fails; a reload has it tried again.
	r.others = []string{"cdn.example.org"}
	r.configure(a.table("wildcard = true\ndns_hook = \"" + hook + "\""))
	r.start()
	r.awaits("DNS hook present: exit status 1: no such key", 1)
	r.awaits("no certificate: the site's handshakes fail", 1)
	r.reload()
	c := r.certificate(60*time.Second, nil)
	if want := []string{"*.example.org"}; !slices.Equal(c.DNSNames, want) {
		t.Errorf("names of the certificate: got %v, want %v", c.DNSNames, want)
	}
	if other, err := r.handshakeFor("cdn.example.org"); err != nil || !other.Equal(c) {
		t.Errorf("the other name: got another certificate or %v, want the same", err)
	}
	b, err := os.ReadFile(log)
	got, want := strings.Fields(string(b)), strings.Fields("3 present _acme-challenge.example.org 0 3 cleanup _acme-challenge.example.org 0")
	if err != nil || len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
		t.Errorf("runs of the hook: got %q, %v, want them to end with %q", b, err, want)
	}
}

// TestRenewal: a certificate is renewed in time. An authority that is gone leaves
// the old one in use; one that comes back has forgotten everybody.
func TestRenewal(t *testing.T) {
	r := newRelay(t, false)
	a := pebble(t, r.secure, 1, 24*time.Second)
	a.start()
	r.configure(a.table(""))
	r.start()
	first := r.certificate(30*time.Second, nil)
	second := r.certificate(30*time.Second, first)
	if now := time.Now(); now.After(first.NotAfter) {
		t.Errorf("renewed at %v: got it after the end at %v, want it before", now, first.NotAfter)
	}
	a.kill()
	r.awaits("the certificate cannot be renewed; the old one stays in use", 1)
	if got, err := r.handshake(); err != nil || !got.Equal(second) {
		t.Errorf("without the authority: got another certificate or %v, want the old one", err)
	}
	a.start()
	r.certificate(60*time.Second, second)
}

// TestDown: without an authority and a certificate the site is as Caddy is then:
// its handshakes fail, its plain port answers, and it goes on trying.
func TestDown(t *testing.T) {
	r := newRelay(t, true)
	a := pebble(t, r.secure, r.plain, quarter)
	r.configure(a.table(""))
	r.start()
	r.awaits("no certificate: the site's handshakes fail", 2)
	if _, err := r.handshake(); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("handshake: got %v, want the alert internal_error", err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if resp, err := client.Get("http://" + at(r.plain) + "/"); err != nil || resp.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("plain port: got %v, %v, want the redirect", resp, err)
	}
	a.start()
	r.certificate(60*time.Second, nil)
}

// TestKilled: a relay that dies, or is ended, in the middle of an order starts
// another one; one that dies between two files serves what it had.
func TestKilled(t *testing.T) {
	r := newRelay(t, false)
	a := pebble(t, r.secure, 1, quarter, "PEBBLE_VA_NOSLEEP=0", "PEBBLE_VA_SLEEPTIME=5")
	a.start()
	r.configure(a.table(""))
	r.start()
	a.awaits("Sleeping for", 1)
	r.kill()
	r.start()
	a.awaits("Sleeping for", 2)
	if took := r.terminate(); took > 5*time.Second {
		t.Errorf("SIGTERM in the middle of an order: got %v to the end, want it at once", took)
	}
	r.start()
	first := r.certificate(60*time.Second, nil)
	r.kill()

	keys, err := filepath.Glob(filepath.Join(r.dir, "state", "acme", "certificates", "*", name, "*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys: got %v, %v, want one", keys, err)
	}
	other, err := os.ReadFile(filepath.Join(a.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys[0], other, 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got, err := r.handshake(); err != nil || !got.Equal(first) {
		t.Errorf("with a key that does not fit: got another certificate or %v, want the old one", err)
	}
	r.certificate(60*time.Second, first)
}
