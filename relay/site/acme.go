package site

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// LetsEncrypt is the directory of the authority that is asked where none is named.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

// ACMEOptions say which certificate is had, from whom, and how the authority is
// shown that the name is ours. Name and State are required, and one of ALPN,
// HTTP and Hook.
type ACMEOptions struct {
	// Name is the name of the site.
	Name string
	// Wildcard has the certificate made for all names beside Name, so that the
	// public logs of certificates do not hold Name itself. It needs Hook.
	Wildcard bool
	// State is the folder of keys, certificates and accounts; it is made.
	State string
	// Directories are the URLs of authorities, in the order in which they are
	// asked; none means [LetsEncrypt]. Using one is agreeing to its terms.
	Directories []string
	// Email is where the authority may write to; it may be empty.
	Email string
	// Root, if not empty, is the certificate of a private authority's web
	// server, or its issuer's, in PEM.
	Root []byte
	// ALPN and HTTP say which challenges the authority can try: tls-alpn-01 at
	// the site itself, on port 443, and http-01 at its plain side, on port 80.
	ALPN, HTTP bool
	// Hook is the program that makes DNS records for the challenge dns-01,
	// which is then the only one.
	Hook string
}

// subject is the name in the certificate.
func (o *ACMEOptions) subject() string {
	if o.Wildcard {
		_, parent, _ := strings.Cut(o.Name, ".")
		return "*." + strings.ToLower(parent)
	}
	return strings.ToLower(o.Name)
}

// Check reports all faults of the options at once. It does not look at files.
func (o *ACMEOptions) Check() error {
	var faults []error
	if err := checkName(o.Name); err != nil {
		faults = append(faults, err)
	}
	if o.State == "" {
		faults = append(faults, errors.New("no state folder: name one for keys and certificates"))
	}
	if !o.ALPN && !o.HTTP && o.Hook == "" {
		faults = append(faults, errors.New("no challenge: the authority must reach the site on port 443 or 80, or a hook must make DNS records"))
	}
	if o.Wildcard && o.Hook == "" {
		faults = append(faults, errors.New("a wildcard certificate needs a hook that makes DNS records"))
	}
	if o.Wildcard && strings.Count(o.Name, ".") < 2 {
		faults = append(faults, fmt.Errorf("no authority issues a certificate for %s", o.subject()))
	}
	return errors.Join(faults...)
}

// ACME gets the certificate of a site from a certificate authority and renews
// it. Its GetCertificate and Challenge are for Options; it outlives the site
// when one replaces another, so that a reload asks for nothing. While there is
// no certificate handshakes fail, as they do with Caddy.
type ACME struct {
	name, subject string
	log           *slog.Logger
	store         *store
	issuers       []*issuer
	challenges    *challenges
	held          atomic.Pointer[held]

	wake  chan struct{}
	ctx   context.Context // ends with Shutdown
	end   context.CancelFunc
	loops sync.WaitGroup
	once  sync.Once
}

// NewACME opens the state and takes the certificate from it, if one is there.
// It asks nobody for anything before Start. Shutdown ends it.
func NewACME(o ACMEOptions, log *slog.Logger) (*ACME, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var roots *x509.CertPool
	if len(o.Root) > 0 {
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(o.Root) {
			return nil, errors.New("acme: the authority's root: no certificate in PEM")
		}
	}
	s, err := openStore(o.State)
	if err != nil {
		return nil, fmt.Errorf("acme: state: %w", err)
	}
	s.sweep()
	a := &ACME{name: o.Name, subject: o.subject(), log: log, store: s, challenges: newChallenges(), wake: make(chan struct{}, 1)}
	a.ctx, a.end = context.WithCancel(context.Background())
	solvers, client, quiet := a.solvers(&o), httpClient(roots), slog.New(demoted{log.Handler()})
	directories := o.Directories
	if len(directories) == 0 {
		directories = []string{LetsEncrypt}
	}
	for _, d := range directories {
		a.issuers = append(a.issuers, &issuer{
			directory: d, email: o.Email, name: a.subject, store: s, solvers: solvers, http: client, log: quiet,
		})
	}
	a.restore()
	return a, nil
}

func (a *ACME) solvers(o *ACMEOptions) map[string]acmez.Solver {
	if o.Hook != "" {
		return map[string]acmez.Solver{acme.ChallengeTypeDNS01: &hookSolver{program: o.Hook, log: a.log}}
	}
	out := make(map[string]acmez.Solver)
	if o.ALPN {
		out[acme.ChallengeTypeTLSALPN01] = asALPN{a.challenges}
	}
	if o.HTTP {
		out[acme.ChallengeTypeHTTP01] = asHTTP{a.challenges}
	}
	return out
}

// Start begins to look after the certificate. before, if not nil, is the one
// that this one takes the place of: two must not ask at once, so its end, which
// the caller has begun, is waited for.
func (a *ACME) Start(before *ACME) {
	a.loops.Go(func() {
		if before != nil {
			before.loops.Wait()
		}
		a.run()
	})
}

// Retry has the certificate looked at now: whoever has mended a firewall does not
// want to wait for hours.
func (a *ACME) Retry() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Shutdown ends what Start has begun, and waits for it until ctx ends. A
// challenge is withdrawn first.
func (a *ACME) Shutdown(ctx context.Context) error {
	a.end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.loops.Wait()
		a.once.Do(func() {
			for _, i := range a.issuers {
				i.http.CloseIdleConnections()
			}
			_ = a.store.close()
		})
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// GetCertificate is for Options.GetCertificate.
func (a *ACME) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if isChallenge(hello) {
		if c := a.challenges.certificate(hello.ServerName); c != nil {
			return c, nil
		}
		return nil, errNoCertificate
	}
	h := a.held.Load()
	if h == nil || !choose(hello, a.name, h.names) {
		return nil, errNoCertificate
	}
	return h.certificate, nil
}

// Challenge is for Options.Challenge.
func (a *ACME) Challenge(w http.ResponseWriter, r *http.Request) bool {
	return a.challenges.answer(w, r)
}
