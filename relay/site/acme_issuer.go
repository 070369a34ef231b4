package site

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

const (
	// acmeRequestLimit is for one request to the authority, acmePollLimit for the
	// time it may take to look at challenges and to sign.
	acmeRequestLimit = 30 * time.Second
	acmePollLimit    = 5 * time.Minute
)

// issuer gets certificates from one authority (RFC 8555). It stands in place of
// certmagic's own, which opens ports for challenges, keeps them in variables of
// the process, looks for the zone of a name in the DNS, and leaves a goroutine
// behind for each account.
type issuer struct {
	directory string
	email     string
	name      string // of the certificate
	store     *store
	solvers   map[string]acmez.Solver
	http      *http.Client
	log       *slog.Logger

	// apart is whether the next order says nothing about the certificate that it
	// replaces (RFC 9773, Section 5): an authority refuses what it does not know.
	apart bool
}

// httpClient is how authorities are spoken to. roots, if not nil, are those of
// a private one.
func httpClient(roots *x509.CertPool) *http.Client {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: acmeRequestLimit}).DialContext,
		TLSHandshakeTimeout:   acmeRequestLimit,
		ResponseHeaderTimeout: acmeRequestLimit,
		// There are minutes between some requests and months between others.
		IdleConnTimeout:   10 * time.Second,
		ForceAttemptHTTP2: true,
	}
	if roots != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: t, Timeout: acmeRequestLimit}
}

func (i *issuer) client() *acmez.Client {
	return &acmez.Client{
		Client: &acme.Client{
			Directory: i.directory, HTTPClient: i.http, Logger: i.log,
			UserAgent: "CertMagic", PollTimeout: acmePollLimit,
		},
		ChallengeSolvers: i.solvers,
	}
}

// IssuerKey implements certmagic.Issuer: a folder is named like this.
func (i *issuer) IssuerKey() string {
	u, err := url.Parse(i.directory)
	if err != nil {
		return i.directory
	}
	return strings.Trim(u.Host+"-"+strings.ReplaceAll(strings.Trim(u.Path, "/"), "/", "-"), "-")
}

// Issue implements certmagic.Issuer.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	issued, err := i.issue(ctx, csr)
	i.apart = err != nil && !i.apart
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.directory, err)
	}
	return issued, nil
}

func (i *issuer) issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	c := i.client()
	var chains []acme.Certificate
	for again := false; ; again = true {
		account, err := i.account(ctx, c)
		if err != nil {
			return nil, err
		}
		order, err := acmez.OrderParametersFromCSR(account, csr)
		if err != nil {
			return nil, err
		}
		if !i.apart {
			order.Replaces = i.stored(ctx, account.Location)
		}
		if chains, err = c.ObtainCertificate(ctx, order); err == nil {
			break
		}
		// An authority that was set up anew does not know who we are.
		if p, ok := errors.AsType[acme.Problem](err); ok && !again && p.Type == acme.ProblemTypeAccountDoesNotExist {
			if err := i.store.Delete(ctx, i.accountKey("json")); err != nil {
				return nil, err
			}
			continue
		}
		return nil, err
	}
	if len(chains) == 0 {
		return nil, errors.New("no certificate came")
	}
	return &certmagic.IssuedCertificate{Certificate: chains[0].ChainPEM, Metadata: chains[0]}, nil
}

// GetRenewalInfo implements certmagic.RenewalInfoGetter: when the authority
// wants the certificate to be renewed (RFC 9773).
func (i *issuer) GetRenewalInfo(ctx context.Context, c certmagic.Certificate) (acme.RenewalInfo, error) {
	return i.client().GetRenewalInfo(ctx, c.Leaf)
}

// stored is the certificate in the store that the account has had issued before,
// if one is there.
func (i *issuer) stored(ctx context.Context, account string) *x509.Certificate {
	var meta certmagic.CertificateResource
	var had acme.Certificate
	b, err := i.store.Load(ctx, certmagic.StorageKeys.SiteMeta(i.IssuerKey(), i.name))
	if err != nil || json.Unmarshal(b, &meta) != nil || json.Unmarshal(meta.IssuerData, &had) != nil || had.Account != account {
		return nil
	}
	b, err = i.store.Load(ctx, certmagic.StorageKeys.SiteCert(i.IssuerKey(), i.name))
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}

// accountKey is where the account is, as JSON, and its key.
func (i *issuer) accountKey(ending string) string {
	who := "default"
	if i.email != "" {
		who = certmagic.StorageKeys.Safe(i.email)
	}
	return path.Join("accounts", certmagic.StorageKeys.Safe(i.IssuerKey()), who+"."+ending)
}

// account returns the account at the authority, which is made if there is none,
// by one issuer for all. Its key is kept before the authority hears of it, so
// that none is lost.
func (i *issuer) account(ctx context.Context, c *acmez.Client) (acme.Account, error) {
	lock := i.accountKey("json")
	if err := i.store.Lock(ctx, lock); err != nil {
		return acme.Account{}, err
	}
	defer i.store.Unlock(ctx, lock) //nolint:errcheck // it is locked
	secret, err := i.store.Load(ctx, i.accountKey("key"))
	if errors.Is(err, fs.ErrNotExist) {
		secret, err = i.newKey(ctx)
	}
	if err != nil {
		return acme.Account{}, fmt.Errorf("account: %w", err)
	}
	key, err := certmagic.PEMDecodePrivateKey(secret)
	if err != nil {
		return acme.Account{}, fmt.Errorf("account: key: %w", err)
	}
	var a acme.Account
	b, err := i.store.Load(ctx, i.accountKey("json"))
	if err == nil && json.Unmarshal(b, &a) == nil && a.Location != "" {
		a.PrivateKey = key
		return a, nil
	}
	a = acme.Account{TermsOfServiceAgreed: true, PrivateKey: key}
	if i.email != "" {
		a.Contact = []string{"mailto:" + i.email}
	}
	if a, err = c.NewAccount(ctx, a); err != nil {
		return a, fmt.Errorf("account: %w", err)
	}
	if b, err = json.Marshal(a); err == nil {
		err = i.store.Store(ctx, i.accountKey("json"), b)
	}
	return a, err
}

func (i *issuer) newKey(ctx context.Context) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	secret, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return nil, err
	}
	return secret, i.store.Store(ctx, i.accountKey("key"), secret)
}
