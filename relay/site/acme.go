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

// ACMEOptions say which certificates are had, from whom, and how the authority is
// shown that the names are ours. Names and State are required, and one of ALPN,
// HTTP and Hook.
type ACMEOptions struct {
	// Names are the names of the site; each has a certificate of its own.
	Names []string
	// Wildcard has certificates made for all names beside those of the site, one
	// for each domain that they are in, so that the public logs of certificates
	// do not hold the names themselves. It needs Hook.
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

// subject is the name in the certificate for a name of the site.
func (o *ACMEOptions) subject(name string) string {
	if o.Wildcard {
		_, parent, _ := strings.Cut(name, ".")
		return "*." + strings.ToLower(parent)
	}
	return strings.ToLower(name)
}

// Check reports all faults of the options at once. It does not look at files.
func (o *ACMEOptions) Check() error {
	var faults []error
	if err := checkNames(o.Names); err != nil {
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
	for _, name := range o.Names {
		if o.Wildcard && strings.Count(name, ".") < 2 {
			faults = append(faults, fmt.Errorf("no authority issues a certificate for %s", o.subject(name)))
		}
	}
	return errors.Join(faults...)
}

// ACME gets the certificates of a site from a certificate authority and renews
// them. Its GetCertificate and Challenge are for Options; it outlives the site
// when one replaces another, so that a reload asks for nothing. While a name has
// no certificate its handshakes fail, as they do with Caddy.
type ACME struct {
	log        *slog.Logger
	store      *store
	managed    []*managed
	client     *http.Client
	challenges *challenges
	looking    chan struct{} // one element for each look that goes on

	taking sync.Mutex // by who puts a certificate into use
	held   atomic.Pointer[set]
	former []*tls.Certificate // those in use when the state was opened

	ctx   context.Context // ends with Shutdown
	end   context.CancelFunc
	loops sync.WaitGroup
	once  sync.Once
}

// managed is one certificate that is looked after, whether it is there or not.
type managed struct {
	subject string
	names   []string // of the site, that it is for
	issuers []*issuer
	held    atomic.Pointer[tls.Certificate]
	wake    chan struct{}
}

// together is how many certificates are looked at at once: one that fails slowly
// does not hold up the others, and hundreds of new ones are no storm.
const together = 4

// NewACME opens the state and takes the certificates from it that are there.
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
	a := &ACME{
		log: log, store: s, client: httpClient(roots), challenges: newChallenges(), looking: make(chan struct{}, together),
	}
	a.ctx, a.end = context.WithCancel(context.Background())
	a.manage(&o)
	a.restore()
	return a, nil
}

// manage lists the certificates, each with its issuers.
func (a *ACME) manage(o *ACMEOptions) {
	solvers, quiet := a.solvers(o), slog.New(demoted{a.log.Handler()})
	directories := o.Directories
	if len(directories) == 0 {
		directories = []string{LetsEncrypt}
	}
	known := make(map[string]*managed)
	for _, name := range o.Names {
		subject := o.subject(name)
		if m := known[subject]; m != nil {
			m.names = append(m.names, name)
			continue
		}
		m := &managed{subject: subject, names: []string{name}, wake: make(chan struct{}, 1)}
		known[subject] = m
		for _, d := range directories {
			m.issuers = append(m.issuers, &issuer{
				directory: d, email: o.Email, name: m.subject, store: a.store, solvers: solvers, http: a.client, log: quiet,
			})
		}
		a.managed = append(a.managed, m)
	}
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

// Start begins to look after the certificates. before, if not nil, is the one
// that this one takes the place of: two must not ask at once, so its end, which
// the caller has begun, is waited for.
func (a *ACME) Start(before *ACME) {
	for _, m := range a.managed {
		a.loops.Go(func() {
			if before != nil {
				before.loops.Wait()
			}
			a.run(m)
		})
	}
}

// Retry has the certificates looked at now: whoever has mended a firewall does not
// want to wait for hours.
func (a *ACME) Retry() {
	for _, m := range a.managed {
		select {
		case m.wake <- struct{}{}:
		default:
		}
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
			a.client.CloseIdleConnections()
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
	c := a.held.Load().choose(hello)
	if c == nil {
		return nil, errNoCertificate
	}
	return c, nil
}

// Challenge is for Options.Challenge.
func (a *ACME) Challenge(w http.ResponseWriter, r *http.Request) bool {
	return a.challenges.answer(w, r)
}
