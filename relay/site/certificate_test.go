package site

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writePair makes a certificate for name and writes it and its key to dir.
func writePair(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	b, err := makeSelfSigned(name)
	if err != nil {
		t.Fatal(err)
	}
	c, rest := pem.Decode(b)
	k, _ := pem.Decode(rest)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: c, key: k} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestSelfSigned(t *testing.T) {
	file := filepath.Join(t.TempDir(), "self-signed.pem")
	first, err := selfSigned(siteName, file)
	if err != nil {
		t.Fatalf("made: got %v, want nil", err)
	}
	if err := first.Leaf.VerifyHostname(siteName); err != nil {
		t.Errorf("name: got %v, want nil", err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: got %v, %v, want mode 0600", info.Mode(), err)
	}
	again, err := selfSigned(siteName, file)
	if err != nil || !bytes.Equal(again.Certificate[0], first.Certificate[0]) {
		t.Errorf("again: got another certificate, %v, want the same", err)
	}
	if _, err := selfSigned("other.example", file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("for another name: got %v, want an error that names the file", err)
	}
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := selfSigned(siteName, file); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("broken: got %v, want an error that says what to do", err)
	}
	long := strings.Repeat("a.", 100) + "example"
	if _, err := selfSigned(long, ""); err != nil {
		t.Errorf("long name, in memory: got %v, want nil", err)
	}
}

func TestFilesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cert, key := writePair(t, dir, siteName)
		var log bytes.Buffer
		f, err := openFiles(siteName, cert, key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		hello := &tls.ClientHelloInfo{ServerName: siteName}
		leaf := func() string {
			c, err := f.get(hello)
			if err != nil {
				t.Fatalf("get: got %v, want a certificate", err)
			}
			return string(c.Certificate[0])
		}
		first := leaf()
		writePair(t, dir, siteName)
		if leaf() != first {
			t.Error("at once: got the new certificate, want a look at the files only now and then")
		}
		time.Sleep(lookInterval)
		second := leaf()
		if second == first {
			t.Error("later: got the old certificate, want the new one")
		}
		writePair(t, dir, "other.example")
		time.Sleep(lookInterval)
		if leaf() != second || !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("unfit: got another certificate, or no warning in %q, want the old one", log.String())
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookInterval)
		if leaf() != second {
			t.Error("gone: got another certificate, want the old one")
		}
	})
}

func TestFilesFaults(t *testing.T) {
	dir := t.TempDir()
	cert, key := writePair(t, dir, "other.example")
	for _, o := range []Options{
		{Name: siteName, Folder: dir, CertFile: cert, KeyFile: key},
		{Name: siteName, Folder: dir, CertFile: key, KeyFile: cert},
		{Name: siteName, Folder: dir, CertFile: filepath.Join(dir, "none"), KeyFile: key},
		{Name: siteName, Folder: filepath.Join(dir, "none")},
		{Name: siteName, Folder: cert},
	} {
		if s, err := New(o); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%+v: got %v, want an error with the path", o, err)
			if s != nil {
				shutdown(t, s)
			}
		}
	}
}

func TestGetCertificate(t *testing.T) {
	own, err := selfSigned(siteName, "")
	if err != nil {
		t.Fatal(err)
	}
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

func TestChoose(t *testing.T) {
	names := map[string]bool{siteName: true, "example.org": true, "*.wild.example": true, "*.*.deep.example": true, "192.0.2.1": true}
	for _, test := range []struct {
		server, local string
		protocols     []string
		want          bool
	}{
		{server: siteName, want: true},
		{server: "WWW.example.ORG", want: true},
		{server: siteName + ":443", want: true},
		{server: " example.org", want: true},
		{server: "mail.example.org"},
		{server: "a.wild.example", want: true},
		{server: "a.b.wild.example"},
		{server: "a.b.deep.example", want: true},
		{server: "wild.example"},
		{server: ""},
		{local: "192.0.2.1", want: true},
		{local: "192.0.2.2"},
		{server: siteName, protocols: []string{acmeProtocol}},
		{server: siteName, protocols: []string{acmeProtocol, "h2"}, want: true},
	} {
		hello := &tls.ClientHelloInfo{ServerName: test.server, SupportedProtos: test.protocols}
		if test.local != "" {
			hello.Conn = at{local: &net.TCPAddr{IP: net.ParseIP(test.local), Port: 443}}
		}
		if got := choose(hello, siteName, names); got != test.want {
			t.Errorf("%+v: got %v, want %v", test, got, test.want)
		}
	}
}

// at is a connection to an address.
type at struct {
	net.Conn
	local net.Addr
}

func (a at) LocalAddr() net.Addr { return a.local }

// FuzzChoose has server names of all kinds. Certificates without wildcards are
// for the names in them and no other.
func FuzzChoose(f *testing.F) {
	for _, name := range []string{"", siteName, "[::1]", "[", "a:b:c", "*.x", strings.Repeat(".", 300)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		hello := &tls.ClientHelloInfo{ServerName: name}
		got := choose(hello, siteName, map[string]bool{"other.example": true})
		for _, known := range []string{siteName, "other.example"} {
			if got && strings.Contains(strings.ToLower(name), known) {
				return
			}
		}
		if got {
			t.Errorf("%q: got a certificate, want none", name)
		}
	})
}
