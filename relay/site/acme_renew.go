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
	"slices"
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

// currentKey is where the certificates in use are, with their keys, in one file:
// certmagic writes three for each, and may be killed between them.
const currentKey = "current.pem"

// run looks after a certificate until Shutdown.
func (a *ACME) run(m *managed) {
	if m.held.Load() == nil {
		a.log.Warn("the site has no certificate yet: until an authority has issued one, its handshakes fail", "name", m.subject)
	}
	failures := 0
	for {
		select {
		case a.looking <- struct{}{}:
		case <-a.ctx.Done():
			return
		}
		err := a.look(a.ctx, m)
		<-a.looking
		if a.ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if err != nil {
			wait = backoff(err, failures)
			failures++
			a.complain(m, err, wait)
		} else {
			failures, wait = 0, m.interval()
		}
		t := time.NewTimer(wait)
		select {
		case <-a.ctx.Done():
			t.Stop()
			return
		case <-m.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// complain says what is wrong, and how bad it is.
func (a *ACME) complain(m *managed, err error, wait time.Duration) {
	c := m.held.Load()
	switch {
	case c == nil:
		a.log.Warn("no certificate: the site's handshakes fail", "name", m.subject, "error", err, "again_in", wait)
	case time.Now().After(c.Leaf.NotAfter):
		a.log.Warn("the certificate has expired and cannot be renewed", "name", m.subject, "expired", c.Leaf.NotAfter, "error", err, "again_in", wait)
	default:
		a.log.Warn("the certificate cannot be renewed; the old one stays in use", "name", m.subject, "expires", c.Leaf.NotAfter, "error", err, "again_in", wait)
	}
}

// interval is when to look again at a certificate that is in order.
func (m *managed) interval() time.Duration {
	c := m.held.Load()
	if c == nil {
		return lookAgain
	}
	return min(lookAgain, max(time.Second, c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)/30))
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

// look has certmagic load a certificate, get its OCSP response and renew it if
// that is due, or obtain one, and takes what there is then into use. It does all
// that in the caller's goroutine: the background work of certmagic's caches and
// jobs has no owner who could wait for it.
func (a *ACME) look(ctx context.Context, m *managed) error {
	for _, i := range m.issuers {
		if err := a.mend(ctx, i); err != nil {
			return err
		}
	}
	cache, config := a.certmagic(m)
	defer cache.Stop()
	err := config.ManageSync(ctx, []string{m.subject})
	var found *certmagic.Certificate
	for _, c := range cache.AllMatchingCertificates(m.subject) {
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
	return errors.Join(err, a.take(ctx, m, &found.Certificate))
}

// errOwnLoop keeps certmagic's background work from doing anything.
var errOwnLoop = errors.New("the site looks after its certificate itself")

// certmagic makes what one look needs. A cache always has a goroutine for
// background work: Stop ends it, and without a config it does nothing.
func (a *ACME) certmagic(m *managed) (*certmagic.Cache, *certmagic.Config) {
	log := zapLogger(demoted{a.log.Handler()})
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return nil, errOwnLoop },
		// It is also how much earlier than at its time a certificate is renewed.
		RenewCheckInterval: m.interval(),
		Logger:             log,
	})
	issuers := make([]certmagic.Issuer, len(m.issuers))
	for n, i := range m.issuers {
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
	chain, err := a.store.Load(ctx, certmagic.StorageKeys.SiteCert(i.IssuerKey(), i.name))
	if err != nil {
		return unlessMissing(err)
	}
	key, err := a.store.Load(ctx, certmagic.StorageKeys.SitePrivateKey(i.IssuerKey(), i.name))
	if err != nil {
		return unlessMissing(err)
	}
	if _, err := tls.X509KeyPair(chain, key); err == nil {
		return nil
	}
	a.log.Warn("the key in the state folder is not that of the certificate there; another one will be asked for", "name", i.name)
	return a.store.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(i.IssuerKey(), i.name))
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("state: %w", err)
}

// take puts a certificate into use, and keeps it if it is another one.
func (a *ACME) take(ctx context.Context, m *managed, c *tls.Certificate) error {
	a.taking.Lock()
	defer a.taking.Unlock()
	before := m.held.Swap(c)
	list := a.use()
	if before != nil && bytes.Equal(before.Certificate[0], c.Certificate[0]) {
		return nil // with another OCSP response, perhaps
	}
	a.log.Info("the site has a new certificate", "name", m.subject, "authority", c.Leaf.Issuer.CommonName, "expires", c.Leaf.NotAfter)
	var b bytes.Buffer
	for _, c := range list {
		for _, der := range c.Certificate {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
		secret, err := certmagic.PEMEncodePrivateKey(c.PrivateKey)
		if err != nil {
			return fmt.Errorf("state: %w", err)
		}
		b.Write(secret)
	}
	if err := a.store.Store(ctx, currentKey, b.Bytes()); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// use shows handshakes the certificates that there are, and returns them. Where
// the configuration asks for other ones than it did, those from before are used
// until the new one is there.
func (a *ACME) use() []*tls.Certificate {
	var list []*tls.Certificate
	for _, m := range a.managed {
		c := m.held.Load()
		if c != nil && m.own(c) {
			list = append(list, c)
			continue
		}
		for _, c := range a.former {
			if m.covered(c) && !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	a.held.Store(newSet(list, nil))
	return list
}

// own reports whether c is what an authority is asked for.
func (m *managed) own(c *tls.Certificate) bool { return namesOf(c.Leaf)[m.subject] }

// covered reports whether c is for a name that m is for.
func (m *managed) covered(c *tls.Certificate) bool {
	return slices.ContainsFunc(m.names, func(name string) bool { return c.Leaf.VerifyHostname(name) == nil })
}

// restore takes the certificates into use that were in use last, of those that
// are for this site.
func (a *ACME) restore() {
	defer a.use()
	b, err := a.store.Load(a.ctx, currentKey)
	if err != nil {
		return
	}
	if a.former, err = readPairs(b); err != nil {
		a.former = nil
	}
	for _, m := range a.managed {
		i := slices.IndexFunc(a.former, m.own)
		if i < 0 {
			i = slices.IndexFunc(a.former, m.covered)
		}
		if i >= 0 {
			m.held.Store(a.former[i])
		}
	}
}
