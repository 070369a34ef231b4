package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"relay/relay/config"
	"relay/relay/site"
)

// acmeFolder holds what authorities have issued, and the accounts there.
const acmeFolder = "acme"

// acmeOf is what gets the site's certificates from an authority.
type acmeOf struct {
	options site.ACMEOptions
	manager *site.ACME
}

// openACME makes it, or takes that of the cover in force if nothing has changed
// for it: a reload asks no authority for anything. It is started by take.
func openACME(cfg *config.Config, before *coverOf, log *slog.Logger) (*acmeOf, error) {
	c := cfg.Cover.ACME
	alpn, plain := reachable(cfg)
	o := site.ACMEOptions{
		Names: cfg.Cover.Hosts(), Wildcard: c.Wildcard, State: filepath.Join(cfg.State, acmeFolder),
		Directories: c.CA, Email: c.Email, Hook: c.DNSHook, ALPN: alpn, HTTP: plain,
	}
	if c.CARoot != "" {
		b, err := os.ReadFile(c.CARoot)
		if err != nil {
			return nil, hinted{fmt.Errorf("cover: %w", err), "ca_root below [cover.acme] names the PEM file of a private authority's root; public authorities need none."}
		}
		o.Root = b
	}
	if before != nil && before.acme != nil && reflect.DeepEqual(before.acme.options, o) {
		return before.acme, nil
	}
	m, err := site.NewACME(o, log)
	if err != nil {
		return nil, err
	}
	return &acmeOf{o, m}, nil
}

// take makes the cover the one in force, in place of before, which is to be
// retired.
func (o *coverOf) take(before *coverOf) {
	if o == before {
		if o != nil && o.acme != nil {
			o.acme.manager.Retry() // who reloads may have mended what was in the way
		}
		return
	}
	var old *acmeOf
	if before != nil {
		old = before.acme
	}
	switch {
	case o == nil || o.acme == nil:
	case o.acme == old:
		before.acme = nil // it outlives that cover
		o.acme.manager.Retry()
	case old == nil:
		o.acme.manager.Start(nil)
	default:
		o.acme.manager.Start(old.manager)
	}
}

// reachable says which challenges an authority may be able to try: tls-alpn-01
// at a listener that shows the site, http-01 at the plain one. The authority
// knows ports 443 and 80 only; other ports may be what a firewall leads those
// to, and are not tried where one of the two is surely right.
func reachable(cfg *config.Config) (alpn, plain bool) {
	alpnSure, plainSure := false, false
	for _, l := range cfg.Listen {
		if l.Covered(&cfg.Cover) {
			ap, _ := listenAddr(l.Address)
			alpn, alpnSure = true, alpnSure || ap.Port() == 443
		}
	}
	if ap, ok := listenAddr(cfg.Cover.HTTP); ok {
		plain, plainSure = true, ap.Port() == 80
	}
	if alpnSure != plainSure {
		return alpnSure, plainSure
	}
	return alpn, plain
}

// stagedWarning is about certificates that are for tests.
const stagedWarning = "ca in [cover.acme] names Let's Encrypt's staging authority alone, whose certificates nobody trusts"

// staged reports whether all authorities are for tests.
func staged(c *config.Cover) bool {
	return len(c.ACME.CA) > 0 && !slices.ContainsFunc(c.ACME.CA, func(s string) bool {
		u, err := url.Parse(s)
		return err != nil || !strings.EqualFold(u.Hostname(), "acme-staging-v02.api.letsencrypt.org")
	})
}

// acmeFindings warns of certificates that no authority can issue, and of those that
// nobody trusts.
func acmeFindings(cfg *config.Config) []finding {
	if !cfg.Cover.Set() || cfg.Cover.Certificate.Word != "acme" {
		return nil
	}
	var out []finding
	if staged(&cfg.Cover) && showsCertificates(cfg) {
		out = append(out, stagedWarning+": browsers and apps refuse it")
	}
	if cfg.Cover.ACME.DNSHook != "" {
		return out
	}
	if ap, ok := listenAddr(cfg.Cover.HTTP); ok && ap.Port() == 80 {
		return out
	}
	covered := false
	for _, l := range cfg.Listen {
		if ap, ok := listenAddr(l.Address); ok && l.Covered(&cfg.Cover) {
			if ap.Port() == 443 {
				return out
			}
			covered = true
		}
	}
	if !covered && cfg.Cover.HTTP == "" {
		return append(out, `certificate = "acme", but no listener shows the cover: the authority cannot see whose the name is`)
	}
	return append(out, `certificate = "acme": the authority connects to port 443 or 80, where this relay does not listen; unless a firewall leads one of them here, write http = "…:80" in [cover], or dns_hook in [cover.acme]`)
}
