package browser

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrCertificate says that the server has shown another certificate than it should.
var ErrCertificate = errors.New("the server's certificate is not the one that is wanted")

// untrusted is an error that is an ErrCertificate, without saying so twice.
type untrusted struct{ error }

// Unwrap returns what was wrong.
func (u untrusted) Unwrap() error { return u.error }

// Is makes it an ErrCertificate.
func (untrusted) Is(target error) bool { return target == ErrCertificate }

// verify judges the certificates that a server has shown, its own first. It is
// asked at every handshake, of sessions that resume as well.
func (c *Config) verify(name string, certs []*x509.Certificate) error {
	if err := c.judge(name, certs); err != nil {
		return untrusted{err}
	}
	return nil
}

func (c *Config) judge(name string, certs []*x509.Certificate) error {
	if len(certs) == 0 {
		return errors.New("the server has shown no certificate")
	}
	roots := c.Roots
	if len(c.Pins) > 0 {
		if c.pinned(certs[0]) {
			return nil
		}
		// As with pinnedPeerCertSha256 of Xray: an authority that the server itself
		// shows takes the place of all others.
		roots = nil
		for _, cert := range certs[1:] {
			if cert.IsCA && c.pinned(cert) {
				roots = x509.NewCertPool()
				roots.AddCert(cert)
				break
			}
		}
		if roots == nil {
			return errors.New("the server's certificate is not the one of the pin: get a new link from whoever runs the server, unless somebody is in between")
		}
	}
	if name == "" {
		return errors.New("there is no name that the certificate must be for: set one, or a pin of the certificate itself")
	}
	between := x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

// pinned reports whether a pin is of cert.
func (c *Config) pinned(cert *x509.Certificate) bool {
	sum := sha256.Sum256(cert.Raw)
	found := 0
	for _, pin := range c.Pins {
		found |= subtle.ConstantTimeCompare(sum[:], pin[:])
	}
	return found == 1
}
