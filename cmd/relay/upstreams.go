package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
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
	// Probe is about how often its ways are asked, while they are idle and the relay is
	// in use, whether they work. 0: never, as each question can be seen.
	Probe time.Duration `toml:"probe"`
	// Front are ways to it; none: the link's own.
	Front []web.Front `toml:"front"`

	number int // on a command line
}

// leastProbe and mostProbe bound the time between probes.
const leastProbe, mostProbe = 10 * time.Second, 24 * time.Hour

const linkExample = `write link = "vless://…", as relay user show prints it on the exit`

// Check reports every fault; key is relative to the table.
func (u *upstreamOptions) Check(fault func(key, problem, hint string)) {
	if u.Probe != 0 && (u.Probe < leastProbe || u.Probe > mostProbe) {
		fault("probe", fmt.Sprintf("%v is not from %v to 24h", u.Probe, leastProbe), `write "10m", or "0s" for no probes: each can be seen on the wire`)
	}
	link := u.checkLink(fault)
	for i := range u.Front {
		key, sound := fmt.Sprintf("front[%d]", i), true
		u.Front[i].Check(func(inner, problem, hint string) {
			sound = false
			fault(key+"."+inner, problem, hint)
		})
		if !sound || link == nil {
			continue
		}
		if _, err := u.Front[i].Way(webLink(link)); err != nil {
			fault(key, err.Error(), "see [[upstream.front]] in SPEC.md of transport/web, Section 6.1")
		}
	}
	if len(u.Front) == 0 && link != nil {
		if _, err := new(web.Front).Way(webLink(link)); err != nil {
			fault("link", err.Error(), linkExample)
		}
	}
}

// checkLink returns the link; nil if there is a fault in it.
func (u *upstreamOptions) checkLink(fault func(key, problem, hint string)) *vless.Link {
	switch {
	case u.Link == "" && u.LinkFile == "":
		fault("link", "missing", linkExample)
		return nil
	case u.Link != "" && u.LinkFile != "":
		fault("link_file", "beside link", "remove one of the two")
		return nil
	}
	link, err := u.link()
	switch {
	case err != nil && u.LinkFile != "":
		fault("link_file", err.Error(), linkFileHint(u.LinkFile, err))
	case err != nil:
		fault("link", err.Error(), linkExample)
	case !link.TLS:
		fault("link", "has security=none, and would carry everything in the clear", "take one with security=tls")
	default:
		return link
	}
	return nil
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
			e.log.Warn(string(openLink("link_file", options[i].LinkFile)))
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
