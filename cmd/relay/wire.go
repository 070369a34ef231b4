package main

import (
	"context"
	"net/netip"

	"relay/auth"
	"relay/relay"
	"relay/relay/config"
	"relay/relay/forward"
	"relay/relay/httpconnect"
	"relay/relay/socks5"
)

// part is one inbound as the rest of the program knows it. This file is the
// only list of parts: configuration, ready lines, links and doctor walk it.
type part struct {
	name    string // the word in [[listen]] inbounds and in ready lines
	label   string // the auth label of its credentials; also the key of --only; empty: it has none
	scheme  string // of the URL in the ready line
	options func() any
	agree   func(options any, c *config.Config, fault faultFunc) // see config.Table
	inbound func(e env, options any) relay.Inbound
	links   func(a access) []link // nil: nothing to give to a user
	doctor  func(cfg *config.Config, l config.Listen, options any) []finding
}

type faultFunc = func(key, problem, hint string)

// env is what an inbound gets from its listener.
type env struct {
	address   string // as configured
	anonymous bool
	verify    func(label string) verifier
}

type verifier = func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error)

// access is where and as whom a link leads in.
type access struct {
	host     string
	port     uint16
	user     string // both empty on an anonymous listener
	password string
}

var parts = []part{
	{
		name: "socks5", label: socks5.Label, scheme: "socks5h",
		inbound: func(e env, _ any) relay.Inbound {
			return &socks5.Inbound{Verify: e.verify(socks5.Label), Anonymous: e.anonymous}
		},
		links:  socks5Links,
		doctor: clearTextOnPublic,
	},
	{
		name: "http", label: httpconnect.Label, scheme: "http",
		options: func() any { return &httpconnect.Options{Forward: true} },
		inbound: func(e env, options any) relay.Inbound {
			return &httpconnect.Inbound{
				Verify: e.verify(httpconnect.Label), Anonymous: e.anonymous,
				Options: *options.(*httpconnect.Options),
			}
		},
		links:  httpLinks,
		doctor: clearTextOnPublic,
	},
	{
		name: "forward", scheme: "tcp",
		options: func() any { return new(forward.Options) },
		agree:   forwardAgrees,
		inbound: func(e env, options any) relay.Inbound {
			to, _ := options.(*forward.Options).For(e.address)
			return &forward.Inbound{Target: to}
		},
		doctor: forwardFindings,
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

// linkedInbounds are those that users have links to.
func linkedInbounds() []string {
	var out []string
	for _, p := range parts {
		if p.links != nil {
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

// tables are the parts' configuration tables, with defaults.
func tables() []config.Table {
	var out []config.Table
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

// optionsOf returns the options of a part among tables; nil if it has none.
func optionsOf(name string, tabs []config.Table) any {
	for _, t := range tabs {
		if t.Name == name {
			return t.Options
		}
	}
	return nil
}

// inbounds makes the inbounds of a listener.
func candidates(l config.Listen, tabs []config.Table, users *auth.Users) []relay.Candidate {
	e := env{
		address:   l.Address,
		anonymous: l.Anonymous != "",
		verify: func(label string) verifier {
			return func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error) {
				return users.Verify(ctx, label, source, name, password)
			}
		},
	}
	var out []relay.Candidate
	for _, word := range l.Inbounds {
		for _, p := range parts {
			if p.name == word {
				out = append(out, p.inbound(e, optionsOf(p.name, tabs)))
			}
		}
	}
	return out
}
