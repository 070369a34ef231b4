package config

import (
	"net/url"
	"path/filepath"
	"strings"
)

// ACME says which authority the site's certificates come from, and how it is
// shown whose the names are. The zero value is Let's Encrypt, which looks at ports
// 443 and 80.
type ACME struct {
	Email    string   `toml:"email"`
	CA       []string `toml:"ca"`       // directory URLs, in the order in which they are asked
	CARoot   string   `toml:"ca_root"`  // PEM file of a private authority's root
	Wildcard bool     `toml:"wildcard"` // "*.example.org" in place of "www.example.org" and others there
	DNSHook  string   `toml:"dns_hook"` // program that makes DNS records
}

func (a *ACME) set() bool {
	return a.Email != "" || len(a.CA) > 0 || a.CARoot != "" || a.Wildcard || a.DNSHook != ""
}

// checkACME checks what is for the certificate "acme".
func (c *Cover) checkACME(fault func(key, problem, hint string)) {
	a := &c.ACME
	if c.Certificate.Word != "acme" {
		if a.set() {
			fault("acme", `only for certificate = "acme"`, "write that in [cover], or remove the table")
		}
		return
	}
	c.eachName(func(key, name string) {
		if isHost(name) && !strings.Contains(name, ".") {
			fault(key, shown(name)+" is a name that no authority issues a certificate for", `write one that you own, such as "www.example.org"`)
		}
	})
	if a.Email != "" {
		box, host, ok := strings.Cut(a.Email, "@")
		if !ok || box == "" || strings.ContainsAny(box, " \t,;<>\"") || !isHost(host) {
			fault("acme.email", shown(a.Email)+" is not an address for mail", `write it such as "admin@example.org", or leave it out`)
		}
	}
	for i, s := range a.CA {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			fault(item("acme.ca", i), shown(s)+" is not the URL of an ACME directory", `write it such as "https://acme-v02.api.letsencrypt.org/directory"`)
		}
	}
	if a.CARoot != "" && !filepath.IsAbs(a.CARoot) {
		fault("acme.ca_root", shown(a.CARoot)+" is not a full path", `write it such as "/etc/relay/ca.pem"`)
	}
	if a.CARoot != "" && len(a.CA) == 0 {
		fault("acme.ca_root", "the root of which authority?", `write ca = ["https://…"]: public ones need no root`)
	}
	if a.DNSHook != "" && !filepath.IsAbs(a.DNSHook) {
		fault("acme.dns_hook", shown(a.DNSHook)+" is not a full path", `write it such as "/etc/relay/dns-hook"`)
	}
	if a.Wildcard && a.DNSHook == "" {
		fault("acme.wildcard", "needs a dns_hook", "authorities issue wildcard certificates only to those who can change the DNS")
	}
	c.eachName(func(_, name string) {
		if a.Wildcard && strings.Count(name, ".") == 1 {
			fault("acme.wildcard", "the name "+shown(name)+" has nothing in front of the domain", `a certificate for "*.example.org" is for names such as "www.example.org"`)
		}
	})
}
