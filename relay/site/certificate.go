package site

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// certificates is where the certificates of handshakes come from.
type certificates interface {
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	current() *tls.Certificate // of the first name; nil if that depends on the handshake
}

func newCertificates(o *Options, log *slog.Logger) (certificates, error) {
	switch {
	case o.GetCertificate != nil:
		return chosen(o.GetCertificate), nil
	case len(o.Files) > 0:
		return openFiles(o.Names, o.Files, log)
	}
	list, err := selfSigned(o.Names, o.SelfSigned)
	if err != nil {
		return nil, err
	}
	f := &files{sites: o.Names, log: log}
	f.held.Store(newSet(list, o.Names))
	return f, nil
}

// chosen is a function of the caller's.
type chosen func(*tls.ClientHelloInfo) (*tls.Certificate, error)

func (c chosen) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return c(hello) }
func (c chosen) current() *tls.Certificate                                { return nil }

// lookInterval is how often, at most, handshakes look whether files changed.
const lookInterval = 10 * time.Second

// warnInterval is how often it is logged that a certificate has expired.
const warnInterval = 24 * time.Hour

// files are the certificates of the site's names, read from files if there are
// any.
type files struct {
	sites []string
	files []CertificateFiles
	log   *slog.Logger
	held  atomic.Pointer[set]

	mu     sync.Mutex // taken by who looks at the files
	looked time.Time
	warned time.Time
	seen   []stamp
}

// stamp says whether a file is still the same.
type stamp struct {
	size     int64
	modified time.Time
}

func openFiles(sites []string, pairs []CertificateFiles, log *slog.Logger) (*files, error) {
	f := &files{sites: sites, files: pairs, log: log, looked: time.Now()}
	f.seen = f.stamps()
	held, err := f.load()
	if err != nil {
		return nil, err
	}
	f.held.Store(held)
	f.warn(time.Now())
	return f, nil
}

func (f *files) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.look()
	c := f.held.Load().choose(hello)
	if c == nil {
		return nil, errNoCertificate
	}
	return c, nil
}

func (f *files) current() *tls.Certificate {
	s := f.held.Load()
	return s.given[strings.ToLower(f.sites[0])][0]
}

// look reads files that have changed. No handshake waits for another one's look.
func (f *files) look() {
	if len(f.files) == 0 || !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if time.Since(f.looked) < lookInterval {
		return
	}
	f.looked = time.Now()
	if f.looked.Sub(f.warned) >= warnInterval {
		f.warn(f.looked)
	}
	now := f.stamps()
	if slices.Equal(now, f.seen) {
		return
	}
	f.seen = now
	held, err := f.load()
	if err != nil {
		f.log.Warn("certificate files have changed and are not used; the old certificates stay", "error", err)
		return
	}
	f.held.Store(held)
	for _, c := range held.list {
		f.log.Debug("certificate reloaded", "expires", c.Leaf.NotAfter)
	}
	f.warn(f.looked)
}

// warn logs which certificates visitors refuse, or will soon; under mu, or before the
// first handshake.
func (f *files) warn(now time.Time) {
	f.warned = now
	for _, c := range f.held.Load().list {
		if why := Outdated(c.Leaf, now); why != "" {
			f.log.Warn("the site's certificate "+why, "names", strings.Join(c.Leaf.DNSNames, ", "))
		}
	}
}

func (f *files) stamps() []stamp {
	var all []stamp
	for _, pair := range f.files {
		for _, name := range []string{pair.Cert, pair.Key} {
			var s stamp
			if info, err := os.Stat(name); err == nil {
				s = stamp{info.Size(), info.ModTime()}
			}
			all = append(all, s)
		}
	}
	return all
}

// CheckFiles reports why a site with these names does not start with these files; nil: it
// does. The error names the files.
func CheckFiles(names []string, pairs []CertificateFiles) error {
	_, err := (&files{sites: names, files: pairs}).load()
	return err
}

// load reads all files: a name whose certificate is missing spoils them all.
func (f *files) load() (*set, error) {
	var list []*tls.Certificate
	var chains [][]*x509.Certificate
	var names []string
	for _, pair := range f.files {
		c, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", pair.Cert, pair.Key, err)
		}
		if c.Leaf == nil {
			return nil, fmt.Errorf("certificate %s: the first block is not a certificate", pair.Cert)
		}
		list, chains, names = append(list, &c), append(chains, []*x509.Certificate{c.Leaf}), append(names, pair.Cert)
	}
	if missing := Uncovered(f.sites, chains); len(missing) > 0 {
		return nil, fmt.Errorf("no certificate for %s in %s", strings.Join(missing, ", "), strings.Join(names, ", "))
	}
	return newSet(list, f.sites), nil
}
