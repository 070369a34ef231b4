package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/gaissmai/bart"

	"relay/auth"
	"relay/relay"
	"relay/relay/config"
	"relay/relay/site"
	"relay/transport"
)

// coverOf is what strangers see, and the site that runs for it, if one does.
type coverOf struct {
	cfg   config.Cover
	cover *relay.Cover
	site  *site.Site
	acme  *acmeOf        // nil: certificates come from elsewhere
	asked map[string]any // the options of the parts that claim requests
}

// certificateFile holds the certificates that the relay has signed itself.
const certificateFile = "site.pem"

// mostHandshakes is how many strangers are in the middle of a handshake with the
// site before others wait for their turn: five hundred visits a second over lines of
// 500 ms, and what Go never gives back of so many goroutines is less than a megabyte.
const mostHandshakes = 256

// openCover opens the cover of a configuration; nil where it has none. before is
// the one in force, if there is one: a site for which nothing has changed goes on,
// with the connections of users that it has.
func openCover(e env, tabs []config.Table, before *coverOf, own func() []netip.AddrPort) (*coverOf, error) {
	c, log := e.cfg.Cover, e.log
	if !c.Set() {
		return nil, nil
	}
	o := &coverOf{cfg: c, cover: &relay.Cover{Connections: c.Connections, Early: c.Early}, asked: make(map[string]any)}
	for _, p := range used(e.cfg) {
		if p.claims != nil {
			o.asked[p.name] = optionsOf(p.name, tabs)
		}
	}
	if before != nil && before.site != nil && reflect.DeepEqual(before.cfg, o.cfg) && reflect.DeepEqual(before.asked, o.asked) {
		return before, nil
	}
	if c.Forward != "" {
		d, err := relay.NewCoverDialer(c.Forward, own)
		if err != nil {
			return nil, err
		}
		o.cover.Dialer = d
		if c.ProxyProtocol {
			o.cover.Header = relay.ProxyHeader
		}
		return o, nil
	}
	if err := certificateFault(c); err != nil {
		return nil, err
	}
	opts := site.Options{Names: c.Hosts(), Folder: c.Site, Files: certificateFiles(c), Log: log}
	opts.Claims, opts.OriginClaims = claims(e, tabs)
	switch c.Certificate.Word {
	case "self-signed":
		opts.SelfSigned = filepath.Join(e.cfg.State, certificateFile)
	case "acme":
		a, err := openACME(e.cfg, before, log)
		if err != nil {
			return nil, err
		}
		o.acme, opts.GetCertificate, opts.Challenge = a, a.manager.GetCertificate, a.manager.Challenge
	}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil {
			o.discard(before)
			return nil, fmt.Errorf("cover: %w", err)
		}
		opts.Upstream = u
	}
	s, err := site.New(opts)
	if err != nil {
		o.discard(before)
		return nil, hinted{err, "The site is what strangers see: its folder, or the server behind it, must be there. See [cover] in the configuration."}
	}
	o.site, o.cover.Site, o.cover.Refuse, o.cover.Handshakes = s, s.Serve, s.Refuse, mostHandshakes
	return o, nil
}

// certificateFiles are those of the site, if it has some.
func certificateFiles(c config.Cover) []site.CertificateFiles {
	var out []site.CertificateFiles
	for _, f := range c.Certificate.Files {
		out = append(out, site.CertificateFiles(f))
	}
	return out
}

// look finds the certificates of a site in this process; nil: the cover is none.
func (o *coverOf) look() func(name string) []byte {
	if o.site == nil {
		return nil
	}
	return o.site.LeafOf
}

// certificateFault is why a site cannot use the files of its certificates, if it has some.
func certificateFault(c config.Cover) error {
	files := certificateFiles(c)
	if len(files) == 0 {
		return nil
	}
	if err := site.CheckFiles(c.Hosts(), files); err != nil {
		return hinted{fmt.Errorf("cover: %w", err), "certificate in [cover] names PEM files: cert is a certificate and those above it, key the private key that it was made for; each name of the cover needs one."}
	}
	return nil
}

// dial connects to the cover, as a stranger's connection would.
func (o *coverOf) dial(ctx context.Context) (net.Conn, error) {
	if o.site == nil {
		c, err := o.cover.Dialer.DialStream(ctx, transport.Target{}, nil)
		if err != nil || o.cover.Header == nil {
			return c, err
		}
		if _, err := c.Write(o.cover.Header(c.LocalAddr(), c.RemoteAddr())); err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close() //nolint:errcheck // it has served
	c, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	s, err := ln.Accept()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	o.cover.Site(s.(transport.Conn), time.Now(), nobody{})
	return c, nil
}

// nobody does not mind what becomes of a connection.
type nobody struct{}

func (nobody) Claimed(auth.User) {}
func (nobody) Answered()         {}
func (nobody) Borrow() bool      { return true }
func (nobody) Return()           {}
func (nobody) Closed(_, _ int64) {}

// close ends the site. Connections have the time that is left.
func (o *coverOf) close(ctx context.Context) {
	if o == nil {
		return
	}
	var ends sync.WaitGroup
	if o.acme != nil {
		ends.Go(func() { _ = o.acme.manager.Shutdown(ctx) })
	}
	if o.site != nil {
		ends.Go(func() { _ = o.site.Shutdown(ctx) })
	}
	ends.Wait()
}

// discard ends a cover that has not come into force, and not what it would have
// taken over from the one that is.
func (o *coverOf) discard(before *coverOf) {
	if o == before {
		return
	}
	if o != nil && before != nil && o.acme == before.acme {
		o.acme = nil
	}
	o.retire(0)
}

// retire ends a site that a reload has replaced.
func (o *coverOf) retire(limit time.Duration) {
	if o == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		o.close(ctx)
	}()
}

// listeners are the flow's listeners of a configuration.
func (in *instance) listeners(cfg *config.Config, tabs []config.Table, cover *coverOf) ([]relay.Listener, error) {
	var out []relay.Listener
	for _, l := range cfg.Listen {
		route, err := candidates(in.env(cfg, l), tabs)
		if err != nil {
			return nil, err
		}
		rl := relay.Listener{Address: l.Address, Route: route}
		if l.Covered(&cfg.Cover) {
			rl.Cover = cover.cover
		}
		if l.Origin && cover != nil && cover.site != nil {
			rl.Cover = cover.withoutTLS(cover.site.ServeOrigin)
			rl.Cover.Handshakes = 0
		}
		if len(l.ProxyProtocol) > 0 {
			rl.Proxied = ranges(l.ProxyProtocol).Contains
		}
		out = append(out, rl)
	}
	if cfg.Cover.HTTP != "" && cover.site != nil {
		out = append(out, relay.Listener{Address: cfg.Cover.HTTP, Cover: cover.withoutTLS(cover.site.ServePlain)})
	}
	return out, nil
}

// withoutTLS is the cover of a port where the site speaks no TLS.
func (o *coverOf) withoutTLS(serve func(transport.Conn, time.Time, transport.Guest)) *relay.Cover {
	c := *o.cover
	c.Site, c.Refuse = serve, nil
	return &c
}

// ranges reads addresses and ranges of them, which config has checked.
func ranges(list []string) *bart.Lite {
	t := new(bart.Lite)
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			t.Insert(p.Masked())
		} else if a, err := netip.ParseAddr(s); err == nil {
			t.Insert(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return t
}

// coverFindings warns of a site that is not there or is the relay itself, and of
// certificates that are not there for every name.
func coverFindings(cfg *config.Config) []finding {
	out := loopFindings(cfg)
	out = append(out, folderFindings(cfg.Cover.Site)...)
	files := certificateFiles(cfg.Cover)
	if len(files) == 0 {
		return slices.Concat(out, selfSignedFindings(cfg), acmeFindings(cfg))
	}
	chains, err := site.Chains(files)
	if err != nil {
		return append(out, finding(fmt.Sprintf("%v: nobody has looked whether there is one for each name of the cover", err)))
	}
	for i, chain := range chains {
		if why, remedy := site.Distrusted(chain); why != "" && showsCertificates(cfg) {
			out = append(out, finding(fmt.Sprintf("the site's certificate %s %s: browsers and apps refuse it; %s", files[i].Cert, why, remedy)))
		}
	}
	for _, name := range site.Uncovered(cfg.Cover.Hosts(), chains) {
		out = append(out, finding(fmt.Sprintf("no certificate of the cover is for %s: the relay does not start; have one made for it, or take the name out of [cover]", name)))
	}
	return out
}

// showsCertificates reports whether anybody sees the cover's certificates: an origin
// uses none.
func showsCertificates(cfg *config.Config) bool {
	return slices.ContainsFunc(cfg.Listen, func(l config.Listen) bool { return l.Covered(&cfg.Cover) && !l.Origin })
}

// folderFindings warns of a folder that a site does not open.
func folderFindings(folder string) []finding {
	if folder == "" {
		return nil
	}
	root, err := os.OpenRoot(folder)
	if err == nil {
		_ = root.Close()
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return []finding{finding(folder + ", the folder of the site, is not here: a relay on this machine does not start")}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // without the folder
	}
	return []finding{finding(fmt.Sprintf("%s, the folder of the site, cannot be opened: %v: a relay that runs as the same user does not start", folder, err))}
}

// selfSignedFindings warns of a certificate for tests that others than this machine see.
func selfSignedFindings(cfg *config.Config) []finding {
	shown := slices.ContainsFunc(cfg.Listen, func(l config.Listen) bool { return l.Covered(&cfg.Cover) && !l.Origin && !onlyHere(l) })
	if cfg.Cover.Certificate.Word != "self-signed" || !shown {
		return nil
	}
	return []finding{`the self-signed certificate of [cover] is for tests: browsers refuse it, and a prober sees at once that no site for people has one; write certificate = "acme", or the files of one that an authority has signed`}
}

// onlyHere reports whether nobody but this machine is meant to get to a listener.
func onlyHere(l config.Listen) bool {
	ap, ok := listenAddr(l.Address)
	return ok && ap.Addr().IsLoopback() && !slices.ContainsFunc(l.Public, func(host string) bool { return !access{host: host}.loopback() })
}

// outdatedFindings warns of certificates whose time is over, or nearly.
func outdatedFindings(cfg *config.Config, now time.Time) []finding {
	if !showsCertificates(cfg) {
		return nil
	}
	var out []finding
	for _, f := range certificateFiles(cfg.Cover) {
		chains, err := site.Chains([]site.CertificateFiles{f})
		if err != nil {
			continue // coverFindings says so
		}
		if why := site.Outdated(chains[0][0], now); why != "" {
			out = append(out, finding(fmt.Sprintf("the site's certificate %s %s: browsers refuse a site whose certificate is out of date; have it renewed", f.Cert, why)))
		}
	}
	return out
}
