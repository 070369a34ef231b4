package site

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// lookAgain is how often the certificate is looked at, at most: whether it is
// time to renew it, or to ask for its OCSP response again. It is certmagic's.
const lookAgain = 10 * time.Minute

// refused are the waits behind an authority's refusals. Let's Encrypt allows
// five failures in an hour for a name, and a try at two challenges fails twice.
var refused = []time.Duration{
	2 * time.Minute, 15 * time.Minute, 45 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour,
}

// unreachable are the waits while no authority can be reached, which costs
// nobody anything, such as at the start of a machine.
var unreachable = []time.Duration{
	2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute,
}

// currentKey is where the certificate in use is, with its key, in one file:
// certmagic writes three, and may be killed between them.
const currentKey = "current.pem"

// run looks after the certificate until Shutdown.
func (a *ACME) run() {
	if a.held.Load() == nil {
		a.log.Warn("the site has no certificate yet: until an authority has issued one, its handshakes fail", "name", a.subject)
	}
	failures := 0
	for {
		err := a.look(a.ctx)
		if a.ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if err != nil {
			wait = backoff(err, failures)
			failures++
			a.complain(err, wait)
		} else {
			failures, wait = 0, a.interval()
		}
		t := time.NewTimer(wait)
		select {
		case <-a.ctx.Done():
			t.Stop()
			return
		case <-a.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// complain says what is wrong, and how bad it is.
func (a *ACME) complain(err error, wait time.Duration) {
	h := a.held.Load()
	switch {
	case h == nil:
		a.log.Warn("no certificate: the site's handshakes fail", "name", a.subject, "error", err, "again_in", wait)
	case time.Now().After(h.certificate.Leaf.NotAfter):
		a.log.Warn("the certificate has expired and cannot be renewed", "name", a.subject, "expired", h.certificate.Leaf.NotAfter, "error", err, "again_in", wait)
	default:
		a.log.Warn("the certificate cannot be renewed; the old one stays in use", "name", a.subject, "expires", h.certificate.Leaf.NotAfter, "error", err, "again_in", wait)
	}
}

// interval is when to look again at a certificate that is in order.
func (a *ACME) interval() time.Duration {
	h := a.held.Load()
	if h == nil {
		return lookAgain
	}
	leaf := h.certificate.Leaf
	return min(lookAgain, max(time.Second, leaf.NotAfter.Sub(leaf.NotBefore)/30))
}

// backoff is how long to wait behind one more failure.
func backoff(err error, failures int) time.Duration {
	waits := refused
	_, answered := errors.AsType[acme.Problem](err)
	_, network := errors.AsType[*url.Error](err)
	if network && !answered {
		waits = unreachable
	}
	return waits[min(failures, len(waits)-1)]
}

// look has certmagic load the certificate, get its OCSP response and renew it if
// that is due, or obtain one, and takes what there is then into use. It does all
// that in the caller's goroutine: the background work of certmagic's caches and
// jobs has no owner who could wait for it.
func (a *ACME) look(ctx context.Context) error {
	for _, i := range a.issuers {
		if err := a.mend(ctx, i); err != nil {
			return err
		}
	}
	cache, config := a.certmagic()
	defer cache.Stop()
	err := config.ManageSync(ctx, []string{a.subject})
	var found *certmagic.Certificate
	for _, c := range cache.AllMatchingCertificates(a.subject) {
		if found == nil || c.Leaf.NotBefore.After(found.Leaf.NotBefore) {
			found = &c
		}
	}
	if found == nil {
		if err == nil {
			err = errors.New("there is none in the store")
		}
		return err
	}
	return errors.Join(err, a.take(ctx, &found.Certificate))
}

// errOwnLoop keeps certmagic's background work from doing anything.
var errOwnLoop = errors.New("the site looks after its certificate itself")

// certmagic makes what one look needs. A cache always has a goroutine for
// background work: Stop ends it, and without a config it does nothing.
func (a *ACME) certmagic() (*certmagic.Cache, *certmagic.Config) {
	log := zapLogger(demoted{a.log.Handler()})
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, errOwnLoop },
		// It is also how much earlier than at its time a certificate is renewed.
		RenewCheckInterval: a.interval(),
		Logger:             log,
	})
	issuers := make([]certmagic.Issuer, len(a.issuers))
	for n, i := range a.issuers {
		issuers[n] = i
	}
	config := certmagic.New(cache, certmagic.Config{
		Issuers:   issuers,
		Storage:   a.store,
		KeySource: certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
		Logger:    log,
		// With a proxy function certmagic limits the time for the responder.
		OCSP: certmagic.OCSPConfig{HTTPProxy: http.ProxyFromEnvironment},
	})
	return cache, config
}

// mend removes a certificate from the store that does not belong to the key
// beside it, as certmagic would never get over it: the relay was killed between
// the two. The one before is still in use, from currentKey.
func (a *ACME) mend(ctx context.Context, i *issuer) error {
	chain, err := a.store.Load(ctx, certmagic.StorageKeys.SiteCert(i.IssuerKey(), a.subject))
	if err != nil {
		return unlessMissing(err)
	}
	key, err := a.store.Load(ctx, certmagic.StorageKeys.SitePrivateKey(i.IssuerKey(), a.subject))
	if err != nil {
		return unlessMissing(err)
	}
	if _, err := tls.X509KeyPair(chain, key); err == nil {
		return nil
	}
	a.log.Warn("the key in the state folder is not that of the certificate there; another one will be asked for", "name", a.subject)
	return a.store.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(i.IssuerKey(), a.subject))
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("state: %w", err)
}

// take puts a certificate into use, and keeps it if it is another one.
func (a *ACME) take(ctx context.Context, c *tls.Certificate) error {
	before := a.held.Load()
	a.held.Store(&held{certificate: c, names: namesOf(c.Leaf)})
	if before != nil && bytes.Equal(before.certificate.Certificate[0], c.Certificate[0]) {
		return nil // with another OCSP response, perhaps
	}
	a.log.Info("the site has a new certificate", "name", a.subject, "authority", c.Leaf.Issuer.CommonName, "expires", c.Leaf.NotAfter)
	secret, err := certmagic.PEMEncodePrivateKey(c.PrivateKey)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	var b bytes.Buffer
	for _, der := range c.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	b.Write(secret)
	if err := a.store.Store(ctx, currentKey, b.Bytes()); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// restore takes the certificate into use that was in use last, if it is for
// this site.
func (a *ACME) restore() {
	b, err := a.store.Load(a.ctx, currentKey)
	if err != nil {
		return
	}
	c, err := tls.X509KeyPair(b, b)
	if err != nil || c.Leaf.VerifyHostname(a.name) != nil {
		return
	}
	a.held.Store(&held{certificate: &c, names: namesOf(c.Leaf)})
}
