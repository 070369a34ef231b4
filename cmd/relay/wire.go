package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"relay/auth"
	"relay/relay"
	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/forward"
	"relay/relay/httpconnect"
	"relay/relay/mtproto"
	"relay/relay/site"
	"relay/relay/socks5"
	"relay/transport"
	"relay/transport/web"
)

// part is one inbound as the rest of the program knows it. This file is the
// only list of parts: configuration, ready lines, links and doctor walk it.
type part struct {
	name    string // the word in [[listen]] inbounds and in ready lines
	label   string // the auth label of its credentials; also the key of --only; empty: it has none
	scheme  string // of the URL in the ready line
	options func() any
	lives   string // how long its links are likely to live: admin.Durable or admin.Burnable
	// quick says that quickstart has it.
	quick bool
	agree func(options any, c *config.Config, fault faultFunc) // see config.Table
	// inbound makes what asks for connections of one listener; candidates does
	// so for parts that are more than one.
	inbound    func(e env, options any) relay.Inbound
	candidates func(e env, options any) ([]relay.Candidate, error)
	// claims makes what the cover's site asks about requests, on TLS and at an
	// origin, where a listener has the part.
	claims func(e env, options any) (secure, origin site.Claim)
	// load, if not nil, reads the files that the options name, before anything is made
	// of them: at the start and at each reload, where a listener has the part.
	load func(options any) ([]finding, error)
	// prepare, if not nil, is called right before the users are served, or can be
	// changed by a command, where a listener has the part.
	prepare func(cfg *config.Config, options any, users *auth.Users) ([]finding, error)
	// run, if not nil, runs while such a configuration is in force.
	run func(ctx context.Context, e env, options any, cover *coverOf)
	// end, if not nil, is called with what the part has kept, when the relay serves
	// nobody any more.
	end func(kept any, state string, log *slog.Logger)
	// report, if not nil, adds to what relay status shows.
	report func(e env, options any, s *admin.Status)
	links  func(a access, options any) []link // nil: nothing to give to a user
	// warns, if not nil, says what is wrong with all links of a user; empty: nothing.
	warns func(a access, options any) string
	// password, if not nil, says that clients give no user name, and reads a password
	// from elsewhere; see admin.Backend.
	password func(text string, options any) (password, place string, err error)
	doctor   func(cfg *config.Config, l config.Listen, options any) []finding
	// certified says that clients check the certificate of the cover.
	certified bool
}

type faultFunc = func(key, problem, hint string)

// env is what an inbound gets from its listener.
type env struct {
	cfg       *config.Config
	listen    config.Listen
	anonymous bool
	users     *auth.Users
	log       *slog.Logger
	dialer    transport.Dialer // nil but for what runs
	verify    func(label string) verifier
	// keep returns what a part has made once for the life of the process, a
	// memory that outlives a reload.
	keep func(name string, make func() any) any
	// sink takes the streams of carriers with many, for inbounds to open.
	sink func(inbounds []relay.Inbound) transport.Sink
}

type verifier = func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error)

// access is where and as whom a link leads in.
type access struct {
	host     string
	port     uint16
	user     string // both empty on an anonymous listener
	password string
	record   *auth.Record // whose link it is; nil: nobody's
	realm    auth.Key
	place    string // the name under which the user's clients are found; empty: they are not
	nameless bool   // they are without a name as well

	name   string // that the client asks for in TLS: one of the cover's
	pin    string // of its certificate, if nobody else vouches for that
	origin bool   // the host is a CDN's
}

var parts = []part{
	{
		name: "socks5", label: socks5.Label, scheme: "socks5h", lives: admin.Burnable,
		options: func() any { return new(socks5.Options) },
		inbound: func(e env, options any) relay.Inbound {
			return &socks5.Inbound{
				Verify: e.verify(socks5.Label), Anonymous: e.anonymous,
				UDP: socks5UDP(e.listen, options.(*socks5.Options)),
			}
		},
		quick: true, links: socks5Links,
		doctor: socks5Findings,
	},
	{
		name: "http", label: httpconnect.Label, scheme: "http", lives: admin.Burnable,
		options: func() any { return &httpconnect.Options{Forward: true} },
		inbound: func(e env, options any) relay.Inbound {
			return &httpconnect.Inbound{
				Verify: e.verify(httpconnect.Label), Anonymous: e.anonymous,
				Options: *options.(*httpconnect.Options),
			}
		},
		quick: true, links: httpLinks,
		doctor: clearTextOnPublic,
	},
	{
		name: "forward", scheme: "tcp",
		options: func() any { return new(forward.Options) },
		agree:   forwardAgrees,
		inbound: func(e env, options any) relay.Inbound {
			to, _ := options.(*forward.Options).For(e.listen.Address)
			return &forward.Inbound{Target: to}
		},
		doctor: forwardFindings,
	},
	{
		name: "mtproto", label: mtproto.Label, scheme: "tcp", lives: admin.Burnable,
		options: func() any { return mtproto.NewOptions() },
		agree:   mtprotoAgrees, candidates: mtprotoCandidates,
		prepare: mtprotoPrepare, run: mtprotoRun, end: mtprotoEnd, report: mtprotoReport,
		links: mtprotoLinks, warns: mtprotoWarns, password: mtprotoPassword, doctor: mtprotoFindings,
	},
	{
		name: "web", label: web.Label, scheme: "https", lives: admin.Durable,
		options: func() any { return new(web.Config) },
		agree:   webAgrees, claims: webClaims,
		load: webLoad, prepare: webPrepare,
		links: webLinks, password: webPassword, doctor: webFindings,
		certified: true,
	},
}

// inboundNames are the words for [[listen]] inbounds.
func inboundNames() []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out
}

// quickInbounds are those of quickstart.
func quickInbounds() []string {
	var out []string
	for _, p := range parts {
		if p.quick {
			out = append(out, p.name)
		}
	}
	return out
}

// labels are the auth labels in use.
func labels() []string {
	var out []string
	for _, p := range parts {
		if p.label != "" {
			out = append(out, p.label)
		}
	}
	return out
}

// passwords are how those from elsewhere are read, by label; see admin.Backend.
func passwords(k func() linker) map[string]func(string) (password, place string, err error) {
	out := make(map[string]func(string) (password, place string, err error))
	for _, p := range parts {
		if p.password != nil {
			out[p.label] = func(text string) (password, place string, err error) {
				return p.password(text, optionsOf(p.name, k().tabs))
			}
		}
	}
	return out
}

// tables are the parts' configuration tables, with defaults.
func tables() []config.Table {
	out := []config.Table{{Name: upstreamTable, Options: new([]upstreamOptions)}}
	for _, p := range parts {
		if p.options == nil {
			continue
		}
		t := config.Table{Name: p.name, Options: p.options()}
		if p.agree != nil {
			t.Agree = func(c *config.Config, fault faultFunc) { p.agree(t.Options, c, fault) }
		}
		out = append(out, t)
	}
	return out
}

// claims are what the site of a configuration asks about requests; none for a site
// that is only looked at.
func claims(e env, tabs []config.Table) (secure, origin []site.Claim) {
	for _, p := range used(e.cfg) {
		if p.claims != nil && e.sink != nil {
			s, o := p.claims(e, optionsOf(p.name, tabs))
			secure, origin = append(secure, s), append(origin, o)
		}
	}
	return secure, origin
}

// optionsOf returns the options of a part among tables; nil if it has none.
func optionsOf(name string, tabs []config.Table) any {
	for _, t := range tabs {
		if t.Name == name {
			return t.Options
		}
	}
	return nil
}

// candidates are what a listener asks, in order.
func candidates(e env, tabs []config.Table) ([]relay.Candidate, error) {
	var out []relay.Candidate
	for _, word := range e.listen.Inbounds {
		for _, p := range parts {
			switch options := optionsOf(p.name, tabs); {
			case p.name != word:
			case p.inbound != nil:
				out = append(out, p.inbound(e, options))
			case p.candidates != nil:
				more, err := p.candidates(e, options)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", e.listen.Address, err)
				}
				out = append(out, more...)
			}
		}
	}
	return out, nil
}

// used are the parts that a listener of a configuration has.
func used(cfg *config.Config) []part {
	var out []part
	for _, p := range parts {
		if slices.ContainsFunc(cfg.Listen, func(l config.Listen) bool { return slices.Contains(l.Inbounds, p.name) }) {
			out = append(out, p)
		}
	}
	return out
}

// load reads what the parts of a configuration have in files of their own.
func load(cfg *config.Config, tabs []config.Table) ([]finding, error) {
	var out []finding
	for _, p := range used(cfg) {
		if p.load == nil {
			continue
		}
		f, err := p.load(optionsOf(p.name, tabs))
		if err != nil {
			return nil, err
		}
		out = append(out, f...)
	}
	return out, nil
}

// prepare gets the users ready for the parts of a configuration.
func prepare(cfg *config.Config, tabs []config.Table, users *auth.Users) ([]finding, error) {
	var out []finding
	for _, p := range used(cfg) {
		if p.prepare == nil {
			continue
		}
		f, err := p.prepare(cfg, optionsOf(p.name, tabs), users)
		if err != nil {
			return nil, err
		}
		out = append(out, f...)
	}
	return out, nil
}
