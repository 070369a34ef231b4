package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
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
	text := string(u.Link)
	if u.LinkFile != "" {
		f, err := os.Open(u.LinkFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, mostLinkFile))
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	return vless.ParseLink(strings.TrimSpace(text))
}

// webLink is what a link says about the way to its server.
func webLink(l *vless.Link) web.Link {
	out := web.Link{
		Host: l.Host, Port: l.Port, SNI: l.ServerName(), Authority: l.Header, Path: l.Path,
		Mode: l.Mode, Pins: l.Pins, ECH: l.ECH,
	}
	if l.Type == "ws" {
		out.Mode = web.ModeWebSocket
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
	options []upstreamOptions
	set     *upstream.Set
	names   []*resolve.Cache
	asking  []*web.Client // to DoH servers
}

func (u *upstreams) close() {
	if u == nil {
		return
	}
	u.set.Close()
	for _, n := range u.names {
		n.Close()
	}
	for _, c := range u.asking {
		c.Close()
	}
}

// upstreamEnv is what ways are made with.
type upstreamEnv struct {
	state string // folder of profiles and of what worked
	dns   policy.DNS
	own   func() []netip.AddrPort // addresses that lead back here
	log   *slog.Logger
}

// muxSockets is how many streams share a WebSocket, which is a connection: with three
// of them a messenger has enough.
const muxSockets = 24

// newUpstreams makes the ways of a configuration. Nothing is connected.
func newUpstreams(e upstreamEnv, options []upstreamOptions, check func(transport.Target) error, direct transport.Dialer) (*upstreams, error) {
	out := &upstreams{options: options}
	var ways []upstream.Way
	for i := range options {
		more, err := out.ways(e, i)
		if err != nil {
			return nil, fmt.Errorf("upstream %d: %w", i+1, err)
		}
		ways = append(ways, more...)
	}
	var memory *upstream.Memory
	if e.state != "" {
		memory = upstream.OpenMemory(filepath.Join(e.state, "upstreams.json"), networkID)
	}
	out.set = upstream.New(upstream.Options{Ways: ways, Check: check, Direct: direct, Memory: memory, Log: e.log})
	return out, nil
}

// ways are those to one upstream: one for each front.
func (u *upstreams) ways(e upstreamEnv, i int) ([]upstream.Way, error) {
	o := &u.options[i]
	link, err := o.link()
	if err != nil {
		return nil, err
	}
	for _, name := range link.Unknown {
		e.log.Debug("a parameter of the link means nothing here", "upstream", i+1, "parameter", name)
	}
	profile, err := profileOf(e.state, o.Profile)
	if err != nil {
		return nil, err
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
				if e.own != nil && slices.Contains(e.own(), to) {
					return nil, errors.New("the upstream's address is one of this relay itself")
				}
				return web.DialTCP(ctx, to)
			},
		})
		d := &vless.Dialer{UUID: link.UUID, Carrier: client}
		if way.Mode == web.ModeWebSocket {
			d.Mux = muxSockets
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
		Servers: e.dns.Addrs(), Private: f.Private,
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

// openUpstreams makes those of a configuration, or goes on with those that are there
// if nothing about them has changed. nil: there are none.
func (in *instance) openUpstreams(cfg *config.Config, tabs []config.Table, egress *policy.Egress) (*upstreams, error) {
	options := *optionsOf(upstreamTable, tabs).(*[]upstreamOptions)
	if len(options) == 0 {
		return nil, nil
	}
	var direct transport.Dialer
	if cfg.Egress.Direct {
		direct = egress
	}
	in.mu.Lock()
	now := in.upstreams
	in.mu.Unlock()
	if now != nil && reflect.DeepEqual(now.options, options) {
		now.set.Judge(egress.Check, direct)
		return now, nil
	}
	e := upstreamEnv{state: cfg.State, dns: cfg.DNS, own: in.server.Own, log: in.log}
	return newUpstreams(e, options, egress.Check, direct)
}
