package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"relay/relay/config"
	"relay/relay/site"
)

const (
	coverCheckTime = 20 * time.Second
	// farCover is the round trip above which a prober can tell that answers
	// come from elsewhere: within a data centre it is a tenth of it.
	farCover = 5 * time.Millisecond
)

// lookAtCover connects to the cover as a stranger's connection would be, asks
// the DNS for its names, and says what a censor could hold against it.
func lookAtCover(cfg *config.Config, say func(ok bool, format string, args ...any)) {
	c := cfg.Cover
	if !c.Set() {
		say(false, "there is no cover: strangers are closed without a byte, which no web server does")
		return
	}
	if c.Forward != "" {
		handshakeWithCover(cfg, say)
	}
	if len(c.Hosts()) == 0 {
		say(false, "the cover has no name: write name below [cover], so that it can be compared with the DNS")
	}
	for _, name := range c.Hosts() {
		lookUp(cfg, name, say)
	}
}

// lookUp compares the DNS with the addresses of the relay.
func lookUp(cfg *config.Config, name string, say func(ok bool, format string, args ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), coverCheckTime)
	defer cancel()
	resolved, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		say(false, "the cover's name %s does not resolve: %v; censors compare it with the address", name, err)
		return
	}
	for _, p := range publicIPs(cfg) {
		if !slices.ContainsFunc(resolved, func(a netip.Addr) bool { return a.Unmap() == p }) {
			say(false, "the cover's name %s resolves to %v and not to %s: a censor who compares them blocks the address", name, resolved, p)
			return
		}
	}
	say(true, "the cover's name %s resolves to this relay", name)
}

// lookAtSite looks for the files without which a start or a reload fails.
func lookAtSite(cfg *config.Config, say func(ok bool, format string, args ...any)) {
	if dir := cfg.Cover.Site; dir != "" {
		if _, err := os.ReadDir(dir); err != nil {
			say(false, "the site's folder cannot be read: %v", err)
		} else {
			say(true, "the site's folder is %s", dir)
		}
	}
	for _, f := range certificateFiles(cfg.Cover) {
		if err := site.CheckFiles(nil, []site.CertificateFiles{f}); err != nil {
			say(false, "the site's certificate cannot be used: %v", err)
		} else {
			say(true, "the site's certificate is %s", f.Cert)
		}
	}
	for _, f := range outdatedFindings(cfg, time.Now()) {
		say(false, "%s", f)
	}
}

// publicIPs are the addresses of the listeners that show the cover.
func publicIPs(cfg *config.Config) []netip.Addr {
	var out []netip.Addr
	for _, l := range cfg.Listen {
		if !l.Covered(&cfg.Cover) {
			continue
		}
		for _, p := range publicAddrs(l) {
			out = append(out, p.Addr().Unmap())
		}
		if ap, ok := listenAddr(l.Address); ok && len(l.Public) == 0 && !ap.Addr().IsUnspecified() {
			out = append(out, ap.Addr().Unmap())
		}
	}
	return out
}

// handshakeWithCover sees how far the server at forward is, and what it can do
// for each name.
func handshakeWithCover(cfg *config.Config, say func(ok bool, format string, args ...any)) {
	o, err := openCover(env{cfg: cfg}, nil, nil, nil)
	if err != nil {
		say(false, "cover: %v", err)
		return
	}
	names := cfg.Cover.Hosts()
	if len(names) == 0 {
		names = []string{""}
	}
	for i, name := range names {
		if !handshakeFor(cfg, o, name, i == 0, say) {
			return // it would be the same for the others
		}
	}
}

// handshakeFor returns whether the server could be reached. first says that it
// has not been measured yet.
func handshakeFor(cfg *config.Config, o *coverOf, name string, first bool, say func(ok bool, format string, args ...any)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), coverCheckTime)
	defer cancel()
	began := time.Now()
	raw, err := o.dial(ctx)
	if err != nil {
		say(false, "the cover at %s cannot be reached, so strangers are reset: %v", cfg.Cover.Forward, err)
		return false
	}
	defer raw.Close() //nolint:errcheck // nothing was written that matters
	if trip := time.Since(began); first {
		say(trip <= farCover, "the cover at %s is %v away; a prober can measure more than %v", cfg.Cover.Forward, trip.Round(10*time.Microsecond), farCover)
	}
	// Who has signed the certificate is for those to see who visit the site. Its dates and
	// its names are looked at below.
	t := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // see above
	if err := t.HandshakeContext(ctx); err != nil {
		say(false, "the cover does not complete a TLS handshake%s: %v", forName(name), err)
		return true
	}
	st := t.ConnectionState()
	if first {
		say(st.Version == tls.VersionTLS13, "the cover speaks %s; browsers expect TLS 1.3", tls.VersionName(st.Version))
		say(st.CurveID == tls.X25519MLKEM768, "the cover's key exchange is %s; a site without X25519MLKEM768 is rare by now, and is a mark", curveName(st.CurveID))
	}
	if name != "" {
		err := st.PeerCertificates[0].VerifyHostname(name)
		say(err == nil, "the cover's certificate is for %s%s", name, because(err))
	}
	if why := site.Outdated(st.PeerCertificates[0], time.Now()); why != "" {
		say(false, "the cover's certificate%s %s: browsers refuse a site whose certificate is out of date", forName(name), why)
	}
	return true
}

func forName(name string) string {
	if name == "" {
		return ""
	}
	return " for " + name
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": no, %v", err)
}

func curveName(id tls.CurveID) string {
	if id == 0 {
		return "of TLS 1.2"
	}
	return id.String()
}
