package site

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writePair makes a certificate for names and writes it and its key to dir.
func writePair(t testing.TB, dir string, names ...string) CertificateFiles {
	t.Helper()
	c := certificateFor(t, names...)
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pair := CertificateFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{
		pair.Cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, pair.Key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

// certificateFor makes a certificate for names, and for addresses among them.
func certificateFor(t testing.TB, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, key, time.Now().Add(90*24*time.Hour), names...)
}

func signed(t testing.TB, key crypto.Signer, end time.Time, names ...string) *tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: end}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestFilesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := t.TempDir(), t.TempDir()
		pairs := []CertificateFiles{writePair(t, one, siteName), writePair(t, two, otherName, "*.example.net")}
		var log bytes.Buffer
		f, err := openFiles([]string{siteName, otherName}, pairs, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		leaf := func(name string) string {
			c := (&Site{source: f}).LeafOf(name)
			if c == nil {
				t.Fatalf("%s: got no certificate, want one", name)
			}
			return string(c)
		}
		first, other := leaf(siteName), leaf(otherName)
		if first == other || leaf("x.example.net") != other {
			t.Error("two names: got one certificate, want that of each name")
		}
		writePair(t, one, siteName)
		if leaf(siteName) != first {
			t.Error("at once: got the new certificate, want a look at the files only now and then")
		}
		time.Sleep(lookInterval)
		second := leaf(siteName)
		if second == first || leaf(otherName) != other {
			t.Error("later: got the old certificate, or another for the other name, want the new one")
		}
		writePair(t, two, "x.example.net")
		time.Sleep(lookInterval)
		if leaf(otherName) != other || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), otherName) {
			t.Errorf("unfit: got another certificate, or no warning in %q, want the old one", log.String())
		}
		if err := os.Remove(pairs[0].Key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookInterval)
		if leaf(siteName) != second {
			t.Error("gone: got another certificate, want the old one")
		}
	})
}

func TestFilesFaults(t *testing.T) {
	dir := t.TempDir()
	pair := writePair(t, dir, otherName)
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Folder: dir, Files: []CertificateFiles{pair}}, "no certificate for " + siteName + " in " + pair.Cert},
		{Options{Folder: dir, Files: []CertificateFiles{{pair.Key, pair.Cert}}}, dir},
		{Options{Folder: dir, Files: []CertificateFiles{{filepath.Join(dir, "none"), pair.Key}}}, filepath.Join(dir, "none")},
		{Options{Folder: filepath.Join(dir, "none")}, filepath.Join(dir, "none")},
		{Options{Folder: pair.Cert}, pair.Cert},
	} {
		tt.o.Names = []string{siteName, otherName}
		if s, err := New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want an error with %s", tt.o, err, tt.want)
			if s != nil {
				shutdown(t, s)
			}
		}
	}
}

func TestGetCertificate(t *testing.T) {
	own := certificateFor(t, siteName)
	s := newSite(t, Options{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if h.ServerName != siteName {
			return nil, errors.New("not mine")
		}
		return own, nil
	}})
	if got := s.Certificate(); got != nil {
		t.Errorf("Certificate: got %v, want nil", got)
	}
	for name, want := range map[string]string{siteName: "", "x.example": "internal error"} {
		err := tls.Client(visit(t, s.Serve), &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
