package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relay/relay/config"
	"relay/relay/policy"
	"relay/relay/upstream"
	"relay/relay/vless"
	"relay/transport"
	"relay/transport/browser"
	"relay/transport/resolve"
	"relay/transport/web"
)

// upstreamTable is the name of the tables that make a relay an entry.
const upstreamTable = "upstream"

// upstreamOptions is one [[upstream]]: a relay that this one dials.
type upstreamOptions struct {
	// Name is for people: in logs, and in relay status.
	Name string `toml:"name"`
	// Link is a vless:// link; LinkFile a file with one, which others cannot read.
	Link     web.Secret `toml:"link"`
	LinkFile string     `toml:"link_file"`
	// Profile is a browser's: a file, or the name of a profile in the state folder.
	// Empty: the newest.
	Profile string `toml:"profile"`
	// Front are ways to it; none: the link's own.
	Front []web.Front `toml:"front"`

	number int // on a command line
}

// mostLinkFile bounds a file with a link.
const mostLinkFile = 16 << 10

// Check reports every fault; key is relative to the table.
func (u *upstreamOptions) Check(fault func(key, problem, hint string)) {
	const example = `write link = "vless://…", as relay user show prints it on the exit`
	switch {
	case u.Link == "" && u.LinkFile == "":
		fault("link", "missing", example)
		return
	case u.Link != "" && u.LinkFile != "":
		fault("link_file", "beside link", "remove one of the two")
		return
	}
	link, err := u.link()
	if err != nil {
		key := "link"
		if u.LinkFile != "" {
			key = "link_file"
		}
		fault(key, err.Error(), example)
		return
	}
	if !link.TLS {
		fault("link", "has security=none, and would carry everything in the clear", "take one with security=tls")
		return
	}
	for i := range u.Front {
		key, sound := fmt.Sprintf("front[%d]", i), true
		u.Front[i].Check(func(inner, problem, hint string) {
			sound = false
			fault(key+"."+inner, problem, hint)
		})
		if !sound {
			continue
		}
		if _, err := u.Front[i].Way(webLink(link)); err != nil {
			fault(key, err.Error(), "see [[upstream.front]] in SPEC.md of transport/web, Section 6.1")
		}
	}
	if len(u.Front) == 0 {
		if _, err := new(web.Front).Way(webLink(link)); err != nil {
			fault("link", err.Error(), example)
		}
	}
}

// link reads the link.
func (u *upstreamOptions) link() (*vless.Link, error) {
	text, _, err := u.text()
	if err != nil {
		return nil, err
	}
	return readLink(text)
}

// readLink reads a link, and refuses what would go in the clear: the user's secret and
// the targets.
func readLink(text web.Secret) (*vless.Link, error) {
	l, err := vless.ParseLink(string(text))
	if err == nil && !l.TLS {
		return nil, errors.New("without TLS (security=none) everybody on the way could read along: ask for a link with security=tls")
	}
	return l, err
}

// text is the link as it is written. open says that everybody on this machine can read
// the file that it is in.
func (u *upstreamOptions) text() (text web.Secret, open bool, err error) {
	if u.LinkFile == "" {
		return web.Secret(strings.TrimSpace(string(u.Link))), false, nil
	}
	fi, err := os.Stat(u.LinkFile)
	if err != nil {
		return "", false, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > mostLinkFile { // reading another kind may wait
		return "", false, fmt.Errorf("%s: want a file of at most %d bytes with nothing but the link", u.LinkFile, mostLinkFile)
	}
	b, err := os.ReadFile(u.LinkFile)
	if err != nil {
		return "", false, err
	}
	return web.Secret(strings.TrimSpace(string(b))), runtime.GOOS != "windows" && fi.Mode().Perm()&0o004 != 0, nil
}

// webLink is what a link says about the way to its server.
func webLink(l *vless.Link) web.Link {
	out := web.Link{
		Host: l.Host, Port: l.Port, SNI: l.ServerName(), Authority: l.Header, Path: l.Path,
		Mode: l.Mode, Pins: l.Pins, ECH: l.ECH, Whole: !ofRelay(l),
	}
	// A server that was not told of early payload may drop it. One that has both
	// carriers behind one path is a relay, and takes it.
	out.Early = web.DefaultEarly
	if l.Type == vless.TypeWS {
		out.Mode, out.Early = web.ModeWebSocket, l.Early
	}
	if len(l.VerifyNames) > 0 {
		out.CertificateName = l.VerifyNames[0]
	}
	if r := l.Extra.PostBytes; r != (vless.Range{}) {
		out.PostBytes = web.Bytes{Least: r.From, Most: r.To}
	}
	if r := l.Extra.PostEvery; r != (vless.Range{}) {
		out.PostInterval = web.Interval{Least: time.Duration(r.From) * time.Millisecond, Most: time.Duration(r.To) * time.Millisecond}
	}
	return out
}

// upstreams are those of a configuration, and what serves them.
type upstreams struct {
	made   upstreamSources
	set    *upstream.Set
	ended  sync.Once
	names  []*resolve.Cache
	asking []*web.Client // to DoH servers
}

// upstreamSources is what upstreams are made from, files included: others are made when
// it changes.
type upstreamSources struct {
	options  []upstreamOptions
	links    []web.Secret
	profiles []*browser.Profile
	dns      policy.DNS
}

func (u *upstreams) close() {
	if u != nil {
		u.ended.Do(u.end)
	}
}

func (u *upstreams) end() {
	if u.set != nil {
		u.set.Close()
	}
	for _, n := range u.names {
		n.Close()
	}
	for _, c := range u.asking {
		c.Close()
	}
}

// upstreamEnv is what ways are made with.
type upstreamEnv struct {
	state  string // folder of profiles
	memory *upstream.Memory
	own    func(netip.AddrPort) bool // an address leads back here
	log    *slog.Logger
}

// upstreamsFrom reads what upstreams are made from.
func upstreamsFrom(e upstreamEnv, options []upstreamOptions, dns policy.DNS) (upstreamSources, error) {
	out := upstreamSources{options: options, dns: dns}
	for i := range options {
		text, open, err := options[i].text()
		if err == nil && open {
			e.log.Warn("everybody on this machine can read the file with the link: take that away with chmod o-r", "upstream", i+1)
		}
		var profile *browser.Profile
		if err == nil {
			profile, err = profileOf(e.state, options[i].Profile)
		}
		if err != nil {
			return out, fmt.Errorf("upstream %d: %w", i+1, err)
		}
		out.links, out.profiles = append(out.links, text), append(out.profiles, profile)
	}
	return out, nil
}

// muxSockets is how many streams share a WebSocket, which is a connection: with three
// of them a messenger has enough.
const muxSockets = 24

// ofRelay reports whether a link leads to a relay, as far as one can see. Only relays
// get more than one stream in a WebSocket: sing-box's servers mix up the bytes of
// several (sing-vmess v0.2.8, mux.go, WriteBuffer, which takes no lock), and Xray's
// take the end of one direction for the end of both.
func ofRelay(l *vless.Link) bool {
	if l.Type != vless.TypeWS {
		return true // no other server has both carriers at one path
	}
	name := strings.Trim(l.Path, "/")
	return l.Early == web.DefaultEarly && l.Path == "/"+name+"/" && len(name) == passwordLength &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// passwordLength is how long the password of a user is that is not a user's own choice:
// 15 bytes in base32.
const passwordLength = 24

// drawPad draws the padding of an opening.
func drawPad() int { return rand.IntN(vless.MaxPad + 1) } //nolint:gosec // nothing secret

// newUpstreams makes the ways of a configuration. Nothing is connected.
func newUpstreams(e upstreamEnv, from upstreamSources, check func(transport.Target) error, direct transport.Dialer) (*upstreams, error) {
	out := &upstreams{made: from}
	var ways []upstream.Way
	for i := range from.options {
		more, err := out.ways(e, i)
		if err != nil {
			out.close()
			return nil, fmt.Errorf("upstream %d: %w", i+1, err)
		}
		ways = append(ways, more...)
	}
	out.set = upstream.New(upstream.Options{Ways: ways, Check: check, Direct: direct, Memory: e.memory, Log: e.log})
	return out, nil
}

// ways are those to one upstream: one for each front.
func (u *upstreams) ways(e upstreamEnv, i int) ([]upstream.Way, error) {
	o, profile := &u.made.options[i], u.made.profiles[i]
	link, err := readLink(u.made.links[i])
	if err != nil {
		return nil, err
	}
	for _, name := range link.Unknown {
		e.log.Debug("a parameter of the link means nothing here", "upstream", i+1, "parameter", name)
	}
	fronts := o.Front
	if len(fronts) == 0 {
		fronts = []web.Front{{}}
	}
	sessions := new(browser.Sessions)
	var out []upstream.Way
	for j := range fronts {
		f := &fronts[j]
		way, err := f.Way(webLink(link))
		if err != nil {
			return nil, err
		}
		names := u.resolver(e, profile, f)
		client := web.NewClient(web.ClientOptions{
			Way: way, Profile: profile, Sessions: sessions, Names: names, Log: e.log,
			Connect: func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
				if e.own(to) {
					return nil, errors.New("the upstream's address is one of this relay itself")
				}
				return web.DialTCP(ctx, to)
			},
		})
		d := &vless.Dialer{UUID: link.UUID, Carrier: client, Pad: drawPad}
		if way.Mode == web.ModeWebSocket && ofRelay(link) {
			d.Mux, d.Shape = muxSockets, true
		}
		out = append(out, upstream.Way{
			Name: wayName(o, i, way, j, len(fronts)), Key: wayKey(link, way), Dialer: d,
			Ready: client.Ready, Live: client.Live,
			Close: func() { _ = d.Close(); client.Close() },
		})
	}
	return out, nil
}

// wayName is for people.
func wayName(o *upstreamOptions, i int, w web.Way, front, fronts int) string {
	name := o.Name
	if name == "" {
		name = "upstream " + strconv.Itoa(i+1)
	}
	kind := "XHTTP " + w.Mode
	if w.Mode == web.ModeWebSocket {
		kind = "WebSocket"
	}
	if fronts > 1 {
		kind += ", front " + strconv.Itoa(front+1)
	}
	return name + " (" + kind + ")"
}

// wayKey tells ways apart in what is remembered.
func wayKey(l *vless.Link, w web.Way) string {
	return fmt.Sprintf("%x %v %s %s %s %d", l.UUID, w.Connect, w.SNI, w.Authority, w.Mode, w.ECH.Mode)
}

// resolver is who is asked for the names of a front.
func (u *upstreams) resolver(e upstreamEnv, profile *browser.Profile, f *web.Front) *resolve.Cache {
	cache := resolve.NewCache(0, f.Resolver.Resolvers(resolve.Options{
		Servers: u.made.dns.Addrs(), Private: f.Private,
		Exchange: func(s resolve.Server) resolve.Exchange {
			c := web.NewClient(web.ClientOptions{
				Way: web.ServerWay(s), Profile: profile, Names: resolve.NewCache(0), Log: e.log,
			})
			u.asking = append(u.asking, c)
			return func(ctx context.Context, query []byte) ([]byte, error) { return c.Exchange(ctx, s, query) }
		},
	})...)
	u.names = append(u.names, cache)
	return cache
}

// upstreamMemory is the file that keeps which ways worked.
const upstreamMemory = "upstreams.json"

// openUpstreams makes those of a configuration, or returns those that are there if
// nothing about them has changed. nil: there are none.
func (in *instance) openUpstreams(cfg *config.Config, tabs []config.Table, egress *policy.Egress) (*upstreams, error) {
	options := *optionsOf(upstreamTable, tabs).(*[]upstreamOptions)
	if len(options) == 0 {
		return nil, nil
	}
	e := upstreamEnv{state: cfg.State, own: egress.IsOwn, log: in.log}
	from, err := upstreamsFrom(e, options, cfg.DNS)
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	now := in.upstreams
	in.mu.Unlock()
	if now != nil && reflect.DeepEqual(now.made, from) {
		return now, nil
	}
	// One for all: it is one file.
	e.memory = in.keep(upstreamMemory, func() any {
		return upstream.OpenMemory(filepath.Join(cfg.State, upstreamMemory), networkID)
	}).(*upstream.Memory)
	return newUpstreams(e, from, egress.Check, directOf(cfg, egress))
}

// directOf is the way out that a configuration allows where there is no upstream.
func directOf(cfg *config.Config, egress *policy.Egress) transport.Dialer {
	if cfg.Egress.Direct {
		return egress
	}
	return nil
}

// retire ends upstreams that are no longer in force, when their streams have had as long
// as if the relay stopped; under in.mu.
func (in *instance) retire(old *upstreams, after time.Duration) {
	in.retired = append(in.retired, old)
	time.AfterFunc(after, func() {
		old.close()
		in.mu.Lock()
		defer in.mu.Unlock()
		in.retired = slices.DeleteFunc(in.retired, func(u *upstreams) bool { return u == old })
	})
}
