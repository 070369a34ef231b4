package site

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// challenges are the challenges that the site answers itself, while an authority
// looks at them.
type challenges struct {
	mu    sync.Mutex
	certs map[string]*tls.Certificate // by name, for tls-alpn-01
	paths map[string]acme.Challenge   // by path, for http-01
}

func newChallenges() *challenges {
	return &challenges{certs: make(map[string]*tls.Certificate), paths: make(map[string]acme.Challenge)}
}

// certificate returns the certificate that answers tls-alpn-01 for a name
// (RFC 8737, Section 3), or nil.
func (c *challenges) certificate(name string) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.certs[strings.ToLower(name)]
}

// answer answers http-01 (RFC 8555, Section 8.3), as Caddy does: for the name
// that the challenge is about, and no other.
func (c *challenges) answer(w http.ResponseWriter, r *http.Request) bool {
	c.mu.Lock()
	chal, ok := c.paths[r.URL.Path]
	c.mu.Unlock()
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if !ok || !strings.EqualFold(host, chal.Identifier.Value) {
		return false
	}
	w.Header()["Content-Type"] = []string{"text/plain"}
	_, _ = w.Write([]byte(chal.KeyAuthorization))
	return true
}

// asALPN and asHTTP put challenges where the site finds them.
type (
	asALPN struct{ *challenges }
	asHTTP struct{ *challenges }
)

// Present implements acmez.Solver.
func (a asALPN) Present(_ context.Context, c acme.Challenge) error {
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.certs[strings.ToLower(c.Identifier.Value)] = cert
	return nil
}

// CleanUp implements acmez.Solver.
func (a asALPN) CleanUp(_ context.Context, c acme.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.certs, strings.ToLower(c.Identifier.Value))
	return nil
}

// Present implements acmez.Solver.
func (a asHTTP) Present(_ context.Context, c acme.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paths[c.HTTP01ResourcePath()] = c
	return nil
}

// CleanUp implements acmez.Solver.
func (a asHTTP) CleanUp(_ context.Context, c acme.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.paths, c.HTTP01ResourcePath())
	return nil
}
