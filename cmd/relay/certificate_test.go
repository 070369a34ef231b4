package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/config"
)

// pairUntil writes a certificate for www.example.org, which is valid for 90 days until
// end, and its key. An authority has signed it.
func pairUntil(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	return pairSigned(t, end, newKey(t), "www.example.org")
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// pairSigned is pairUntil for names, with a key that signs; nil: the certificate's own.
func pairSigned(t *testing.T, end time.Time, signer *ecdsa.PrivateKey, names ...string) (cert, key string) {
	t.Helper()
	secret := newKey(t)
	begins := end.Add(-90 * 24 * time.Hour)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: begins, NotAfter: end}
	above := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "authority"}, NotBefore: begins, NotAfter: end, IsCA: true, BasicConstraintsValid: true}
	signed := func(c *x509.Certificate, of, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, above, of.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	chain := signed(leaf, secret, secret)
	if signer != nil {
		chain = slices.Concat(signed(leaf, secret, signer), signed(above, signer, signer))
	}
	b, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string][]byte{cert: chain, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// withoutChain writes the first certificate of a file to one of its own.
func withoutChain(t *testing.T, cert string) string {
	t.Helper()
	b, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	cert = filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert
}

// siteFile writes a configuration with a site.
func siteFile(t *testing.T, cert, key string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil { // as a state folder has to be
		t.Fatal(err)
	}
	file := filepath.Join(dir, "relay.toml")
	src := fmt.Sprintf("state = %q\n[[listen]]\naddress = '127.0.0.1:0'\ninbounds = ['web']\n[cover]\nname = 'www.example.org'\nsite = %q\ncertificate = { cert = %q, key = %q }\n", dir, dir, cert, key)
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Visitors of a site refuse its certificate by its dates: check and doctor say so, of the
// site's own and of that of a server elsewhere.
func TestCertificateDates(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		left time.Duration
		want string
	}{
		{"fresh", 60 * day, ""},
		{"expired", -day, " has expired on "},
		{"not yet", 91 * day, " is not valid before "},
		{"soon", 6 * day, " ends on "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := pairUntil(t, time.Now().Add(tt.left))
			file := siteFile(t, cert, key)
			var out bytes.Buffer
			if err := (&checkCmd{File: file}).Run(streams{out: &out}); err != nil {
				t.Errorf("check: got %v, want nil", err)
			}
			if got := strings.Contains(out.String(), "warning: the site's certificate "+cert+tt.want); got != (tt.want != "") {
				t.Errorf("check: got %q, want %q", out.String(), tt.want)
			}
			out.Reset()
			err := (&doctorCmd{place: place{Config: file}}).Run(streams{out: &out})
			if got := strings.Contains(out.String(), "WRONG the site's certificate "+cert+tt.want); got != (tt.want != "") || (err != nil) != got {
				t.Errorf("doctor: got %v after %q, want %q", err, out.String(), tt.want)
			}
			got := saidOfCover(t, cert, key)
			if found := strings.Contains(got, "the cover's certificate for www.example.org"+tt.want); found != (tt.want != "") {
				t.Errorf("forward: got %q, want %q", got, tt.want)
			}
		})
	}
}

// saidOfCover is what is wrong with a TLS server that the cover is forwarded to.
func saidOfCover(t *testing.T, cert, key string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
			_ = c.Close()
		}
	}()
	var said []string
	cfg := &config.Config{Cover: config.Cover{Name: "www.example.org", Forward: ln.Addr().String()}}
	handshakeWithCover(cfg, func(ok bool, format string, args ...any) {
		if !ok {
			said = append(said, fmt.Sprintf(format, args...))
		}
	})
	_ = ln.Close()
	<-done
	return strings.Join(said, "\n")
}

// Check refuses the certificates that serve refuses, and with the same words.
func TestCertificateFiles(t *testing.T) {
	cert, key := pairUntil(t, time.Now().Add(60*24*time.Hour))
	other, otherKey := pairUntil(t, time.Now().Add(60*24*time.Hour))
	for _, tt := range []struct {
		name, cert, key string
		want            string // of the error; empty: there is none
		warning         string
	}{
		{"a pair", cert, key, "", ""},
		{"a certificate without its chain", withoutChain(t, cert), key, "", "comes without that of who signed it: browsers and apps refuse it; put the whole chain"},
		{"a certificate for a key", cert, withoutChain(t, other), "found a certificate rather than a key", ""},
		{"another key", cert, otherKey, "private key does not match public key", ""},
		{"a key for a certificate", key, key, "failed to find certificate PEM data", ": no certificate in PEM: nobody has looked"},
		{"no key", cert, "/nowhere/key.pem", "", "/nowhere/key.pem: no such file or directory: nobody has looked"},
		{"no certificate", "/nowhere/cert.pem", key, "", "/nowhere/cert.pem: no such file or directory: nobody has looked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := siteFile(t, tt.cert, tt.key)
			var out bytes.Buffer
			err := (&checkCmd{File: file}).Run(streams{out: &out})
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) || strings.Contains(out.String(), "is valid") != (err == nil) {
				t.Errorf("check: got %v after %q, want %q", err, out.String(), tt.want)
			}
			if n := strings.Count(out.String(), "warning: "); !strings.Contains(out.String(), tt.warning) || (n > 0) != (tt.warning != "") || n > 1 {
				t.Errorf("check: got %q, want %q", out.String(), tt.warning)
			}
			if tt.want == "" {
				return
			}
			cfg, err2 := config.Load(file, inboundNames(), tables())
			if err2 != nil {
				t.Fatal(err2)
			}
			_, err2 = openCover(env{cfg: cfg, log: slog.New(slog.DiscardHandler)}, tables(), nil, nil)
			if err == nil || err2 == nil || withHint(err2) != withHint(err) || !strings.Contains(withHint(err2), "private key") {
				t.Errorf("serve: got %v, want %v and its hint", err2, err)
			}
		})
	}
}

// Links say why their certificate is refused, of files as well.
func TestCertificateLinks(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	cert, key := pairUntil(t, now.Add(60*day))
	expired, expiredKey := pairUntil(t, now.Add(-day))
	early, earlyKey := pairUntil(t, now.Add(91*day))
	soon, soonKey := pairUntil(t, now.Add(6*day))
	own, ownKey := pairSigned(t, now.Add(60*day), nil, "www.example.org")
	lone := withoutChain(t, cert)
	const unusable = "a relay does not start with the certificates of [cover]: "
	for _, tt := range []struct {
		name, cert, key, cover string
		origin                 bool
		want                   string // of the only warning; empty: there is none
	}{
		{"good", cert, key, "www.example.org", false, ""},
		{"expired", expired, expiredKey, "www.example.org", false, "the site's certificate " + expired + " has expired on "},
		{"not yet", early, earlyKey, "www.example.org", false, "the site's certificate " + early + " is not valid before "},
		{"ends soon", soon, soonKey, "www.example.org", false, ""},
		{"signed by itself", own, ownKey, "www.example.org", false, "the site's certificate " + own + " is signed by itself: apps refuse it"},
		{"without its chain", lone, key, "www.example.org", false, "the site's certificate " + lone + " comes without that of who signed it: apps refuse it"},
		{"not there", "/nowhere/cert.pem", key, "www.example.org", false, unusable + "certificate /nowhere/cert.pem: open"},
		{"another key", cert, ownKey, "www.example.org", false, unusable + "certificate " + cert + " with key " + ownKey},
		{"another name", cert, key, "other.example.org", false, unusable + "no certificate for other.example.org in " + cert},
		{"signed by itself, behind a CDN", own, ownKey, "www.example.org", true, ""},
		{"expired, behind a CDN", expired, expiredKey, "www.example.org", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Listen = []config.Listen{{Address: "0.0.0.0:443", Public: []string{"www.example.com"}, Inbounds: []string{"web"}, Origin: tt.origin}}
			cfg.Cover = config.Cover{Name: tt.cover, Site: "/s", Certificate: config.Certificate{Files: []config.CertificateFiles{{Cert: tt.cert, Key: tt.key}}}}
			links := linksOf(t, cfg, nil, &auth.Record{Explicit: map[string]string{"web": "p", "web/uuid": "10111213-1415-4617-8819-1a1b1c1d1e1f"}})
			if len(links) != 2 {
				t.Fatalf("got %d links, want 2", len(links))
			}
			for _, l := range links {
				if got := strings.Join(l.Warnings, "\n"); !strings.HasPrefix(got, tt.want) || len(l.Warnings) != min(len(tt.want), 1) {
					t.Errorf("warnings: got %q, want %q", l.Warnings, tt.want)
				}
			}
			selfSigned := slices.ContainsFunc(coverFindings(cfg), func(f finding) bool { return strings.Contains(string(f), own+" is signed by itself") })
			if want := tt.cert == own && !tt.origin; selfSigned != want {
				t.Errorf("check: got %q, want one that is signed by itself: %v", coverFindings(cfg), want)
			}
			outdated := len(outdatedFindings(cfg, now)) > 0
			if want := slices.Contains([]string{expired, early, soon}, tt.cert) && !tt.origin; outdated != want {
				t.Errorf("check: got %q, want dates that are near or over: %v", outdatedFindings(cfg, now), want)
			}
		})
	}
}

// A certificate for tests is said by check and doctor where others see it.
func TestSelfSignedFindings(t *testing.T) {
	const warned = "the self-signed certificate of [cover] is for tests: browsers refuse it"
	for _, tt := range []struct {
		name, listen string
		want         bool
	}{
		{"every address", "address = '0.0.0.0:443'\ninbounds = ['mtproto']", true},
		{"a public address", "address = '9.9.9.9:443'\ninbounds = ['mtproto']", true},
		{"a private address", "address = '10.0.0.5:443'\ninbounds = ['web']", true},
		{"something in front", "address = '127.0.0.1:443'\npublic = ['www.example.com']\ninbounds = ['mtproto']", true},
		{"this machine", "address = '127.0.0.1:443'\ninbounds = ['web', 'mtproto']", false},
		{"this machine, with links", "address = '[::1]:443'\npublic = ['127.0.0.2', '::1']\ninbounds = ['mtproto']", false},
		{"an origin", "address = '0.0.0.0:80'\npublic = ['www.example.org']\ninbounds = ['web']\norigin = true", false},
		{"no cover", "address = '0.0.0.0:1080'\ninbounds = ['socks5']", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := parsed(t, "[[listen]]\n"+tt.listen+"\n[cover]\nname = 'www.example.org'\nsite = '"+t.TempDir()+"'\ncertificate = 'self-signed'\n")
			var want []string
			if tt.want {
				want = append(want, warned)
			}
			wantFindings(t, coverFindings(cfg), want...)
		})
	}
}
