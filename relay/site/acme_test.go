package site

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"relay/relay/relaytest"
)

func TestACMEOptions(t *testing.T) {
	good := ACMEOptions{Names: []string{"www.example.org"}, State: "/s", ALPN: true}
	for _, tt := range []struct {
		name   string
		change func(*ACMEOptions)
		want   string // "" for no fault
	}{
		{"good", func(*ACMEOptions) {}, ""},
		{"wildcard", func(o *ACMEOptions) { o.Wildcard, o.Hook = true, "/hook" }, ""},
		{"no name", func(o *ACMEOptions) { o.Names = nil }, "no name"},
		{"names", func(o *ACMEOptions) { o.Names = append(o.Names, "a..b", "c d") }, "\"c d\" is not a host name"},
		{"no state", func(o *ACMEOptions) { o.State = "" }, "no state folder"},
		{"no challenge", func(o *ACMEOptions) { o.ALPN = false }, "no challenge"},
		{"wildcard without hook", func(o *ACMEOptions) { o.Wildcard = true }, "needs a hook"},
		{"wildcard of a top level", func(o *ACMEOptions) { o.Names, o.Wildcard, o.Hook = append(o.Names, "example.org"), true, "/hook" }, "no authority issues"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			err := o.Check()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// lines is where a test's log goes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Without an authority there is no certificate, and no end of trying until
// Shutdown, which leaves nothing behind.
func TestACMEUnreachable(t *testing.T) {
	relaytest.LeakCheck(t)
	said := new(lines)
	a, err := NewACME(ACMEOptions{
		Names: []string{"www.example.org"}, State: filepath.Join(t.TempDir(), "acme"), ALPN: true,
		Directories: []string{"https://127.0.0.1:1/directory"},
	}, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatalf("new: got %v, want nil", err)
	}
	a.Start(nil)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(said.String(), "handshakes fail"+`"`+" name=www.example.org error="); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("log: got %s, want a warning", said)
		}
	}
	if _, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: "www.example.org"}); !errors.Is(err, errNoCertificate) {
		t.Errorf("certificate: got %v, want %v", err, errNoCertificate)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 2 {
		if err := a.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: got %v, want nil", err)
		}
	}
}

// Names share a wildcard certificate, and nothing else.
func TestACMEManaged(t *testing.T) {
	names := []string{"www.example.org", "CDN.example.org", "www.example.net"}
	for wildcard, want := range map[bool]string{
		false: "www.example.org[www.example.org] cdn.example.org[CDN.example.org] www.example.net[www.example.net] ",
		true:  "*.example.org[www.example.org CDN.example.org] *.example.net[www.example.net] ",
	} {
		a, err := NewACME(ACMEOptions{Names: names, State: filepath.Join(t.TempDir(), "acme"), Hook: "/hook", Wildcard: wildcard}, nil)
		if err != nil {
			t.Fatalf("new: got %v, want nil", err)
		}
		var got strings.Builder
		for _, m := range a.managed {
			fmt.Fprintf(&got, "%s%v ", m.subject, m.names)
		}
		if got.String() != want {
			t.Errorf("wildcard %v: got %s, want %s", wildcard, &got, want)
		}
		_ = a.Shutdown(t.Context())
	}
}

// What was in use before is in use from the start, also where other certificates
// are asked for by now, but not for a name that the site does not have any more.
func TestACMERestore(t *testing.T) {
	const www, cdn, mail = "www.example.org", "cdn.example.org", "mail.example.org"
	state := filepath.Join(t.TempDir(), "acme")
	open := func(wildcard bool, names ...string) *ACME {
		t.Helper()
		a, err := NewACME(ACMEOptions{Names: names, State: state, Hook: "/hook", Wildcard: wildcard}, nil)
		if err != nil {
			t.Fatalf("new: got %v, want nil", err)
		}
		return a
	}
	got := func(a *ACME, name string) *tls.Certificate {
		c, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if (c == nil) != errors.Is(err, errNoCertificate) {
			t.Errorf("%s: got %v and %v, want one of them", name, c, err)
		}
		return c
	}
	first := open(false, www, cdn, mail)
	for _, m := range first.managed[:2] {
		if err := first.take(t.Context(), m, certificateFor(t, m.subject)); err != nil {
			t.Fatalf("take: got %v, want nil", err)
		}
	}
	if got(first, www) == got(first, cdn) || got(first, mail) != nil {
		t.Error("got one certificate for two names, or one for the third, want one for each of two")
	}
	_ = first.Shutdown(t.Context())
	for _, tt := range []struct {
		name     string
		wildcard bool
		names    []string
		want     []string // those with a certificate
	}{
		{"the same", false, []string{www, cdn, mail}, []string{www, cdn}},
		{"another order and name", false, []string{"x.example.org", cdn, www}, []string{www, cdn}},
		{"a name less", false, []string{cdn}, []string{cdn}},
		{"a wildcard to come", true, []string{www, cdn}, []string{www, cdn}},
	} {
		a := open(tt.wildcard, tt.names...)
		for _, name := range []string{www, cdn, mail, "x.example.org"} {
			if c := got(a, name); (c != nil) != slices.Contains(tt.want, name) || c != nil && c.Leaf.VerifyHostname(name) != nil {
				t.Errorf("%s: %s: got %v, want one: %v", tt.name, name, c, slices.Contains(tt.want, name))
			}
			hello := &tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{acmeProtocol}}
			if _, err := a.GetCertificate(hello); !errors.Is(err, errNoCertificate) {
				t.Errorf("%s: %s, a challenge that nobody asked for: got %v, want %v", tt.name, name, err, errNoCertificate)
			}
		}
		if tt.wildcard {
			wild := certificateFor(t, "*.example.org")
			if err := a.take(t.Context(), a.managed[0], wild); err != nil || got(a, www) != wild || got(a, cdn) != wild {
				t.Errorf("%s: got the old certificates, or %v, want the new one for both", tt.name, err)
			}
		}
		_ = a.Shutdown(t.Context())
	}
	last := open(false, www, mail)
	if c := got(last, mail); c == nil || !last.managed[1].covered(c) || last.managed[1].own(c) {
		t.Errorf("no wildcard any more: got %v, want it until there is another", c)
	}
	_ = last.Shutdown(t.Context())
}

func TestACMEChallenges(t *testing.T) {
	a, err := NewACME(ACMEOptions{Names: []string{"www.example.org"}, State: filepath.Join(t.TempDir(), "acme"), ALPN: true, HTTP: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Shutdown(t.Context()) //nolint:errcheck // nothing runs
	c := acme.Challenge{
		Type: acme.ChallengeTypeHTTP01, Token: "token", KeyAuthorization: "token.print",
		Identifier: acme.Identifier{Type: "dns", Value: "www.example.org"},
	}
	ask := func(target string) (bool, string) {
		w := httptest.NewRecorder()
		ok := a.Challenge(w, httptest.NewRequest(http.MethodGet, target, nil))
		return ok, w.Body.String()
	}
	const target = "http://WWW.example.org:80/.well-known/acme-challenge/token"
	if ok, _ := ask(target); ok {
		t.Error("before: got an answer, want none")
	}
	_ = asHTTP{a.challenges}.Present(t.Context(), c)
	if ok, body := ask(target); !ok || body != "token.print" {
		t.Errorf("got %v with %q, want the key authorization", ok, body)
	}
	for _, other := range []string{strings.Replace(target, "WWW", "xxx", 1), target + "x"} {
		if ok, _ := ask(other); ok {
			t.Errorf("%s: got an answer, want none", other)
		}
	}
	_ = asHTTP{a.challenges}.CleanUp(t.Context(), c)
	if ok, _ := ask(target); ok {
		t.Error("afterwards: got an answer, want none")
	}

	hello := &tls.ClientHelloInfo{ServerName: "WWW.example.org", SupportedProtos: []string{acmeProtocol}}
	if err := (asALPN{a.challenges}).Present(t.Context(), c); err != nil {
		t.Fatalf("present: got %v, want nil", err)
	}
	if got, err := a.GetCertificate(hello); err != nil || got == nil {
		t.Errorf("tls-alpn-01: got %v, want its certificate", err)
	}
	_ = asALPN{a.challenges}.CleanUp(t.Context(), c)
	if _, err := a.GetCertificate(hello); !errors.Is(err, errNoCertificate) {
		t.Errorf("tls-alpn-01 afterwards: got %v, want %v", err, errNoCertificate)
	}
}

// An authority that refuses is asked three times in the first hour, one that
// cannot be reached more often.
func TestACMEBackoff(t *testing.T) {
	network := fmt.Errorf("x: %w", &url.Error{Op: "Get", URL: "u", Err: errors.New("refused")})
	refusal := fmt.Errorf("x: %w", errors.Join(network, acme.Problem{Status: 429}))
	for _, tt := range []struct {
		name  string
		err   error
		first time.Duration
		want  int // tries within an hour
	}{
		{"refused", refusal, 2 * time.Minute, 3},
		{"hook", errors.New("exit status 1"), 2 * time.Minute, 3},
		{"unreachable", network, 2 * time.Second, 11},
	} {
		tries, n := 0, 0
		for at := time.Duration(0); at < time.Hour; n++ {
			tries++
			at += backoff(tt.err, n)
		}
		if got := backoff(tt.err, 0); got != tt.first || tries != tt.want {
			t.Errorf("%s: got %v and %d tries in an hour, want %v and %d", tt.name, got, tries, tt.first, tt.want)
		}
		if got := backoff(tt.err, 1000); got > 6*time.Hour {
			t.Errorf("%s: got %v at last, want at most 6 hours", tt.name, got)
		}
	}
}
