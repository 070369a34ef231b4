package site

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

const (
	siteName  = "www.example.org"
	otherName = "cdn.example.net"
)

// writeFolder makes a folder with files, whose names may have slashes.
func writeFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// newSite makes a site of one page, self-signed unless o says otherwise, that
// ends with the test.
func newSite(t testing.TB, o Options) *Site {
	t.Helper()
	if len(o.Names) == 0 {
		o.Names = []string{siteName}
	}
	if o.Folder == "" && o.Upstream == nil {
		o.Folder = writeFolder(t, map[string]string{"index.html": "page\n"})
	}
	s, err := New(o)
	if err != nil {
		t.Fatalf("New: got %v, want nil", err)
	}
	t.Cleanup(func() { shutdown(t, s) })
	return s
}

// shutdown ends s, whatever its clients still do.
func shutdown(t testing.TB, s *Site) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx)
}

// visit connects to the site; the end that it returns is closed with the test.
func visit(t testing.TB, serve func(c transport.Conn, began time.Time, g transport.Guest)) transport.Conn {
	t.Helper()
	near, far := relaytest.Pipe()
	done := make(chan struct{})
	serve(far, time.Now(), closing(func() { close(done) }))
	t.Cleanup(func() {
		_ = near.Close()
		<-done
	})
	return near
}

func clientTLS(s *Site, protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: siteName, NextProtos: protocols, Time: func() time.Time { return s.Certificate().Leaf.NotBefore.Add(2 * time.Hour) }}
}

// browser is an HTTP client of s that speaks h2 or HTTP/1.1.
func browser(t testing.TB, s *Site, h2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	proto := "http/1.1"
	if h2 {
		proto = "h2"
	}
	tr := &http.Transport{
		Protocols: protocols,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c := tls.Client(visit(t, s.Serve), clientTLS(s, proto))
			return c, c.HandshakeContext(ctx)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// say sends a request, as text, on a fresh TLS connection and returns all of
// the answer.
func say(t testing.TB, s *Site, request string) string {
	t.Helper()
	c := tls.Client(visit(t, s.Serve), clientTLS(s, "http/1.1"))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read: got %v, want nil", err)
	}
	return string(b)
}

// status is the status of an answer to a GET for path.
func status(t testing.TB, s *Site, path string) int {
	t.Helper()
	answer := say(t, s, "GET "+path+" HTTP/1.1\r\nHost: "+siteName+"\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil {
		t.Fatalf("answer %q: got %v, want a response", answer, err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// closing is a guest whose end is a function of the test's.
type closing func()

func (closing) Claimed(auth.User)   {}
func (closing) Answered()           {}
func (closing) Borrow() bool        { return true }
func (closing) Return()             {}
func (f closing) Closed(_, _ int64) { f() }
