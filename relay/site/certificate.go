package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// certificates is where the certificates of handshakes come from.
type certificates interface {
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	current() *tls.Certificate // nil if that depends on the handshake
}

func newCertificates(o *Options, log *slog.Logger) (certificates, error) {
	switch {
	case o.GetCertificate != nil:
		return chosen(o.GetCertificate), nil
	case o.CertFile != "":
		return openFiles(o.Name, o.CertFile, o.KeyFile, log)
	}
	cert, err := selfSigned(o.Name, o.SelfSigned)
	if err != nil {
		return nil, err
	}
	f := &files{site: o.Name, log: log}
	f.hold(cert)
	return f, nil
}

// chosen is a function of the caller's.
type chosen func(*tls.ClientHelloInfo) (*tls.Certificate, error)

func (c chosen) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return c(hello) }
func (c chosen) current() *tls.Certificate                                { return nil }

// lookInterval is how often, at most, handshakes look whether files changed.
const lookInterval = 10 * time.Second

// files is one certificate, read from two files unless their names are empty.
type files struct {
	site, cert, key string
	log             *slog.Logger
	held            atomic.Pointer[held]

	mu     sync.Mutex // taken by who looks at the files
	looked time.Time
	seen   [2]stamp
}

// held is a certificate with its names.
type held struct {
	certificate *tls.Certificate
	names       map[string]bool
}

// stamp says whether a file is still the same.
type stamp struct {
	size     int64
	modified time.Time
}

func (f *files) hold(c *tls.Certificate) {
	f.held.Store(&held{certificate: c, names: namesOf(c.Leaf)})
}

func openFiles(site, cert, key string, log *slog.Logger) (*files, error) {
	f := &files{site: site, cert: cert, key: key, log: log, looked: time.Now()}
	f.seen = f.stamps()
	c, err := f.load()
	if err != nil {
		return nil, err
	}
	f.hold(c)
	return f, nil
}

func (f *files) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.look()
	h := f.held.Load()
	if !choose(hello, f.site, h.names) {
		return nil, errNoCertificate
	}
	return h.certificate, nil
}

func (f *files) current() *tls.Certificate { return f.held.Load().certificate }

// look reads files that have changed. No handshake waits for another one's look.
func (f *files) look() {
	if f.cert == "" || !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if time.Since(f.looked) < lookInterval {
		return
	}
	f.looked = time.Now()
	now := f.stamps()
	if now == f.seen {
		return
	}
	f.seen = now
	c, err := f.load()
	if err != nil {
		f.log.Warn("certificate files have changed and are not used; the old certificate stays", "error", err)
		return
	}
	f.hold(c)
	f.log.Debug("certificate reloaded", "expires", c.Leaf.NotAfter)
}

func (f *files) stamps() (s [2]stamp) {
	for i, name := range []string{f.cert, f.key} {
		if info, err := os.Stat(name); err == nil {
			s[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return s
}

func (f *files) load() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	return fit(&c, f.site, f.cert)
}

// fit checks that c, from file, is for the site.
func fit(c *tls.Certificate, site, file string) (*tls.Certificate, error) {
	if c.Leaf == nil {
		return nil, fmt.Errorf("certificate %s: the first block is not a certificate", file)
	}
	if err := c.Leaf.VerifyHostname(site); err != nil {
		return nil, fmt.Errorf("certificate %s is not for this site: %w", file, err)
	}
	return c, nil
}

// namesOf are the names under which Caddy would find the certificate.
func namesOf(leaf *x509.Certificate) map[string]bool {
	names := make(map[string]bool)
	add := func(name string) {
		if name != "" {
			names[strings.ToLower(name)] = true
		}
	}
	add(leaf.Subject.CommonName)
	for _, name := range leaf.DNSNames {
		add(name)
	}
	for _, ip := range leaf.IPAddresses {
		add(ip.String())
	}
	for _, address := range leaf.EmailAddresses {
		add(address)
	}
	return names
}

// selfSigned returns the certificate in file, made if there is no such file,
// or one in memory if file is empty.
func selfSigned(site, file string) (*tls.Certificate, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		if err == nil {
			c, err := tls.X509KeyPair(b, b)
			if err != nil {
				return nil, fmt.Errorf("self-signed certificate %s: %w; remove it to have a new one made", file, err)
			}
			return fit(&c, site, file)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
	}
	b, err := makeSelfSigned(site)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	if file != "" {
		if err := keep(file, b); err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
	}
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	return &c, nil
}

// selfSignedFor is how long a self-signed certificate is valid. Links carry its
// pin, so that nobody needs it to expire.
const selfSignedFor = 10 * 365 * 24 * time.Hour

// makeSelfSigned returns a certificate for the name and its key, in PEM.
func makeSelfSigned(name string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	// From an hour ago on: clocks of clients differ.
	from := time.Now().Add(-time.Hour)
	leaf := &x509.Certificate{
		SerialNumber:          serial,
		DNSNames:              []string{name},
		NotBefore:             from,
		NotAfter:              from.Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	leaf.Subject.CommonName = name
	if len(name) > 64 { // RFC 5280, Appendix A.1: ub-common-name
		leaf.Subject.CommonName = ""
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

// keep writes a secret file at once or not at all.
func keep(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
