package main

import (
	"context"
	"net/netip"

	"relay/auth"
	"relay/relay"
	"relay/relay/config"
	"relay/relay/httpconnect"
	"relay/relay/socks5"
)

// part is one inbound as the rest of the program knows it. This file is the
// only list of parts: configuration, ready lines, links and doctor walk it.
type part struct {
	name    string // the word in [[listen]] inbounds and in ready lines
	label   string // the auth label of its credentials; also the key of --only
	scheme  string // of the URL in the ready line
	options func() any
	inbound func(e env, options any) relay.Inbound
	links   func(a access) []link
	doctor  func(l config.Listen) []finding
}

// env is what an inbound gets from its listener.
type env struct {
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
}

// inboundNames are the words for [[listen]] inbounds.
func inboundNames() []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out
}

// labels are the auth labels in use.
func labels() []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.label)
	}
	return out
}

// tables are the parts' configuration tables, with defaults.
func tables() []config.Table {
	var out []config.Table
	for _, p := range parts {
		if p.options != nil {
			out = append(out, config.Table{Name: p.name, Options: p.options()})
		}
	}
	return out
}

// inbounds makes the inbounds of a listener.
func inbounds(l config.Listen, tabs []config.Table, users *auth.Users) []relay.Inbound {
	e := env{
		anonymous: l.Anonymous != "",
		verify: func(label string) verifier {
			return func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error) {
				return users.Verify(ctx, label, source, name, password)
			}
		},
	}
	var out []relay.Inbound
	for _, word := range l.Inbounds {
		for _, p := range parts {
			if p.name != word {
				continue
			}
			var options any
			for _, t := range tabs {
				if t.Name == p.name {
					options = t.Options
				}
			}
			out = append(out, p.inbound(e, options))
		}
	}
	return out
}
