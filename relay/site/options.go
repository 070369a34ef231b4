package site

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Claim is asked about a request before the site answers it. It returns the
// handler that takes the request over, or false for a request that is none of
// its business. It sees the method, the URL, the headers and the state of the
// TLS connection, changes nothing, and leaves the body alone: for a request
// that nobody claims, the site answers as if nobody had been asked. It must not
// wait for anything, as a stranger could measure that.
type Claim func(*http.Request) (http.Handler, bool)

// CertificateFiles are a certificate chain and its key, in PEM.
type CertificateFiles struct{ Cert, Key string }

// Options say what a site is. Names and one of Folder and Upstream are required.
type Options struct {
	// Names are the host names of the site: those that its certificates are for,
	// and the only ones that it answers to. All show the same.
	Names []string
	// Folder holds the files of the site. Links that lead out of it are not
	// followed.
	Folder string
	// Upstream is the web server that the site is taken from instead, such as
	// http://127.0.0.1:8080.
	Upstream *url.URL

	// Files are the certificates; one may be for several names, and each name
	// must have one. Files that change are read again; those that do not parse,
	// or do not fit, leave the certificates in use.
	Files []CertificateFiles
	// GetCertificate chooses the certificate of a handshake instead; an error
	// ends the handshake with the alert internal_error. It is the place for
	// ACME.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// SelfSigned is the file, in PEM, that keeps the self-signed certificates of
	// a site that has no others, one for each name; those that are not in it
	// are made. Empty means to make new ones in memory.
	SelfSigned string

	// Claims are asked about every request on TLS, in order.
	Claims []Claim
	// OriginClaims are asked about every request that ServeOrigin gets.
	OriginClaims []Claim
	// Challenge answers requests for /.well-known/acme-challenge/ on either
	// port; false leaves the request to the site. It is the place for ACME.
	Challenge func(http.ResponseWriter, *http.Request) bool

	// Log gets what goes wrong with the certificate as a warning and what goes
	// wrong with connections, with their addresses, at Debug. Nil is silence.
	Log *slog.Logger
}

// Check reports all faults of the options at once. It does not look at files.
func (o *Options) Check() error {
	var faults []error
	if err := checkNames(o.Names); err != nil {
		faults = append(faults, err)
	}
	switch {
	case o.Folder == "" && o.Upstream == nil:
		faults = append(faults, errors.New("neither folder nor upstream: name the folder of the site's files, or the web server behind it"))
	case o.Folder != "" && o.Upstream != nil:
		faults = append(faults, errors.New("folder and upstream: a site has one of them"))
	case o.Upstream != nil:
		if err := checkUpstream(o.Upstream); err != nil {
			faults = append(faults, err)
		}
	}
	for _, pair := range o.Files {
		if pair.Cert == "" || pair.Key == "" {
			faults = append(faults, errors.New("certificate file without key file, or the other way round: name both"))
		}
	}
	sources := 0
	for _, given := range []bool{len(o.Files) > 0, o.GetCertificate != nil, o.SelfSigned != ""} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		faults = append(faults, errors.New("more than one source of certificates: choose files, a function or self-signed"))
	}
	return errors.Join(faults...)
}

func checkNames(names []string) error {
	if len(names) == 0 {
		return errors.New("no name: give the host name that the certificate is for")
	}
	var faults []error
	for _, name := range names {
		faults = append(faults, checkName(name))
	}
	return errors.Join(faults...)
}

func checkName(name string) error {
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("name %q is an address: give a host name", name)
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("name %q is not a host name: a label is empty or too long", name)
		}
		for _, r := range label {
			if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
				return fmt.Errorf("name %q is not a host name: write it in ASCII, without port", name)
			}
		}
	}
	if len(name) > 253 {
		return fmt.Errorf("name %q is longer than 253 bytes", name)
	}
	return nil
}

func checkUpstream(u *url.URL) error {
	if u.Scheme != "http" || u.Host == "" || u.Opaque != "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("upstream %q: want http://host:port and nothing else", u.Redacted())
	}
	return nil
}

// upstreamAddress is where to dial for u.
func upstreamAddress(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}
