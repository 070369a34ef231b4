package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"relay/transport"
)

// Cover is what strangers see: a site in this process (a folder, or an HTTP
// server behind it), or another TLS server that they are handed to.
type Cover struct {
	Name        string      `toml:"name"`        // the site's host name
	Names       []string    `toml:"names"`       // more of them
	Site        string      `toml:"site"`        // folder
	Proxy       string      `toml:"proxy"`       // URL of an HTTP server
	Forward     string      `toml:"forward"`     // "host:port", or "unix:/path" of a TLS server
	Certificate Certificate `toml:"certificate"` // of Site and Proxy, for all names
	HTTP        string      `toml:"http"`        // "ip:port" that redirects to https, with Site and Proxy
	// ProxyProtocol tells the server at Forward who comes (version 2).
	ProxyProtocol bool `toml:"proxy_protocol"`
	Connections   int  `toml:"connections"` // strangers at once
	Early         int  `toml:"early"`       // connections to Forward before anybody knows
	ACME          ACME `toml:"acme"`        // with the certificate "acme"
}

// Set reports whether there is a cover at all.
func (c *Cover) Set() bool { return c.Site != "" || c.Proxy != "" || c.Forward != "" }

// Hosts are all names of the site, each once.
func (c *Cover) Hosts() []string {
	if c.Name == "" {
		return c.Names
	}
	return append([]string{c.Name}, c.Names...)
}

// IsHost reports whether name is one of the site's.
func (c *Cover) IsHost(name string) bool {
	return slices.ContainsFunc(c.Hosts(), func(h string) bool { return strings.EqualFold(h, name) })
}

// eachName calls f with every name and its key.
func (c *Cover) eachName(f func(key, name string)) {
	if c.Name != "" {
		f("name", c.Name)
	}
	for i, name := range c.Names {
		f(item("names", i), name)
	}
}

// written reports whether anything of the table is not its default.
func (c *Cover) written() bool {
	other := *c
	if len(other.ACME.CA) == 0 {
		other.ACME.CA = nil // "ca = []" says nothing
	}
	if len(other.Names) == 0 {
		other.Names = nil
	}
	return !reflect.DeepEqual(other, Default().Cover)
}

// Check reports every fault; key is relative to the table.
func (c *Cover) Check(fault func(key, problem, hint string)) {
	var ways []string
	for key, v := range map[string]string{"site": c.Site, "proxy": c.Proxy, "forward": c.Forward} {
		if v != "" {
			ways = append(ways, key)
		}
	}
	slices.Sort(ways)
	const one = `one of site = "/folder", proxy = "http://127.0.0.1:8080" and forward = "127.0.0.1:8443"`
	switch {
	case len(ways) > 1:
		fault(ways[1], "two covers: "+strings.Join(ways, " and "), "keep "+one)
	case len(ways) == 0 && c.written():
		fault("", "there is nothing to show", "write "+one)
	}
	c.checkSite(fault)
	c.checkForward(fault)
	c.checkNames(fault)
	if c.Connections < 1 {
		fault("connections", fmt.Sprintf("%d would show the cover to nobody", c.Connections), "write how many strangers there may be at once")
	}
	if c.Early < 0 {
		fault("early", fmt.Sprintf("%d is negative", c.Early), "0 waits for the whole hello before the cover is dialled")
	}
}

func (c *Cover) checkNames(fault func(key, problem, hint string)) {
	seen := make(map[string]bool)
	c.eachName(func(key, name string) {
		lower := strings.ToLower(name)
		switch {
		case !isHost(name):
			fault(key, shown(name)+" is not a host name", `write it such as "www.example.org"`)
		case seen[lower]:
			fault(key, shown(name)+" is there twice", "write each name once: names are those beside name")
		}
		seen[lower] = true
	})
}

// checkSite checks what is for a site in this process.
func (c *Cover) checkSite(fault func(key, problem, hint string)) {
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			fault("proxy", shown(c.Proxy)+" is not the URL of an HTTP server", `write it such as "http://127.0.0.1:8080"`)
		}
	}
	if c.Site != "" && !filepath.IsAbs(c.Site) {
		fault("site", shown(c.Site)+" is not a full path", `write it such as "/var/lib/relay/site"`)
	}
	if c.Site == "" && c.Proxy == "" {
		if c.Certificate.set() {
			fault("certificate", "not for a cover that is forwarded", "the server at forward has a certificate of its own")
		}
		if c.HTTP != "" {
			fault("http", "not for a cover that is forwarded", "let that server listen there itself")
		}
		if c.ACME.set() {
			fault("acme", "not for a cover that is forwarded", "let that server get its certificate itself")
		}
		return
	}
	if len(c.Hosts()) == 0 {
		fault("name", "missing", "write the host name of the site, whose certificate strangers see")
	}
	switch {
	case !c.Certificate.set():
		fault("certificate", "missing", `write certificate = "acme", or { cert = "…", key = "…" }, or "self-signed" for a test`)
	case slices.ContainsFunc(c.Certificate.Files, func(f CertificateFiles) bool { return f.Cert == "" || f.Key == "" }):
		fault("certificate", "half of it is missing", `write { cert = "…", key = "…" }, both paths of PEM files`)
	}
	c.checkACME(fault)
	if c.HTTP != "" {
		if _, problem, hint := parseAddress(c.HTTP); problem != "" {
			fault("http", problem, hint)
		}
	}
	if c.ProxyProtocol {
		fault("proxy_protocol", "only for a cover that is forwarded", "the site in this process knows who comes")
	}
}

func (c *Cover) checkForward(fault func(key, problem, hint string)) {
	if path, ok := strings.CutPrefix(c.Forward, "unix:"); ok {
		if !filepath.IsAbs(path) {
			fault("forward", shown(path)+" is not a full path", `write it such as "unix:/run/nginx.sock"`)
		}
		return
	}
	if c.Forward == "" {
		return
	}
	if _, err := transport.ParseTarget(c.Forward); err != nil {
		fault("forward", shown(c.Forward)+" is not a host and a port", `write it such as "127.0.0.1:8443" or "unix:/run/nginx.sock"`)
	}
}

// checkProxied checks who may send PROXY protocol headers.
func (l *Listen) checkProxied(fault func(key, problem, hint string)) {
	for i, s := range l.ProxyProtocol {
		if p, err := netip.ParsePrefix(s); err != nil || p != p.Masked() {
			if _, err := netip.ParseAddr(s); err == nil {
				continue
			}
			fault(item("proxy_protocol", i), shown(s)+" is not a range of addresses", `write the balancer's, such as "192.0.2.10" or "192.0.2.0/28"`)
		}
	}
}

// checkCover checks who sees the cover.
func (l *Listen) checkCover(c *Cover, fault func(key, problem, hint string)) {
	if l.Cover != nil && *l.Cover && !c.Set() {
		fault("cover", "true, but there is no cover", "write a [cover] table")
	}
}

// checkOrigin checks a listener without TLS: all that comes there is HTTP.
func (l *Listen) checkOrigin(fault func(key, problem, hint string)) {
	for i, word := range l.Inbounds {
		if l.Origin && word != "web" {
			fault(item("inbounds", i), shown(word)+" is not for an origin, to which a CDN brings requests without TLS", `give it a listener of its own; an origin has inbounds = ["web"]`)
		}
	}
}

// Covered reports whether a listener's strangers get the cover: not those of a
// listener that has nothing to hide, as SOCKS5 and HTTP proxies answer anybody.
func (l *Listen) Covered(c *Cover) bool {
	open := []string{"socks5", "http", "forward"}
	if l.Cover != nil {
		return c.Set() && *l.Cover
	}
	return c.Set() && slices.ContainsFunc(l.Inbounds, func(word string) bool { return !slices.Contains(open, word) })
}
