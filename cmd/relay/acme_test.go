package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay/config"
)

func acmeConfig(http, hook string, addresses ...string) *config.Config {
	cfg := config.Default()
	cfg.Cover = config.Cover{Name: "www.example.org", Site: "/", HTTP: http, Certificate: config.Certificate{Word: "acme"}}
	cfg.Cover.ACME.DNSHook = hook
	for _, a := range addresses {
		cfg.Listen = append(cfg.Listen, config.Listen{Address: a, Inbounds: []string{"mtproto"}})
	}
	cfg.Listen = append(cfg.Listen, config.Listen{Address: "127.0.0.1:443", Inbounds: []string{"socks5"}})
	return cfg
}

func TestACMEReachable(t *testing.T) {
	for _, tt := range []struct {
		name        string
		cfg         *config.Config
		alpn, plain bool
		warns       string // "" for no warning
	}{
		{"both", acmeConfig(":80", "", ":443"), true, true, ""},
		{"443", acmeConfig("", "", ":8443", ":443"), true, false, ""},
		{"443, redirect elsewhere", acmeConfig(":8080", "", ":443"), true, false, ""},
		{"80", acmeConfig(":80", "", ":8443"), false, true, ""},
		{"behind a firewall", acmeConfig(":8080", "", ":8443"), true, true, "the authority connects to port 443 or 80"},
		{"by DNS", acmeConfig("", "/hook", ":8443"), true, false, ""},
		{"nobody sees it", acmeConfig("", ""), false, false, "no listener shows the cover"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alpn, plain := reachable(tt.cfg)
			if alpn != tt.alpn || plain != tt.plain {
				t.Errorf("challenges: got %v, %v, want %v, %v", alpn, plain, tt.alpn, tt.plain)
			}
			got := coverFindings(tt.cfg)
			if tt.warns == "" && len(got) > 0 || tt.warns != "" && (len(got) != 1 || !strings.Contains(string(got[0]), tt.warns)) {
				t.Errorf("findings: got %q, want %q", got, tt.warns)
			}
		})
	}
}

// Certificates for tests are said to be that, where somebody sees them.
func TestACMEStaging(t *testing.T) {
	const test, real = "https://acme-staging-v02.api.letsencrypt.org/directory", "https://acme-v02.api.letsencrypt.org/directory"
	for _, tt := range []struct {
		name   string
		ca     []string
		hook   string
		origin bool
		warns  bool
	}{
		{"tests", []string{test}, "", false, true},
		{"tests, by DNS", []string{test}, "/hook", false, true},
		{"tests, written otherwise", []string{"https://ACME-staging-v02.api.letsencrypt.org:443/directory"}, "", false, true},
		{"tests, behind a CDN", []string{test}, "", true, false},
		{"a real one", []string{real}, "", false, false},
		{"a real one behind", []string{test, real}, "", false, false},
		{"none named", nil, "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := acmeConfig(":80", tt.hook)
			cfg.Cover.ACME.CA = tt.ca
			cfg.Listen = []config.Listen{{Address: "0.0.0.0:443", Public: []string{"www.example.com"}, Inbounds: []string{"web"}, Origin: tt.origin}}
			want := 0
			if tt.warns {
				want = 1
			}
			if got := coverFindings(cfg); len(got) != want || want > 0 && !strings.Contains(string(got[0]), "nobody trusts: browsers") {
				t.Errorf("check: got %q, want a warning: %v", got, tt.warns)
			}
			links := linksOf(t, cfg, nil, &auth.Record{Explicit: map[string]string{"web": "p", "web/uuid": "10111213-1415-4617-8819-1a1b1c1d1e1f"}})
			if len(links) == 0 {
				t.Fatal("got no link")
			}
			for _, l := range links {
				if len(l.Warnings) != want || want > 0 && !strings.Contains(l.Warnings[0], "nobody trusts: apps") {
					t.Errorf("links: got %q, want a warning: %v", l.Warnings, tt.warns)
				}
			}
		})
	}
}

// A reload takes the manager over if nothing has changed for it, and only then.
func TestACMEReload(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "ca.pem")
	open := func(before *coverOf, change func(*config.Config)) *coverOf {
		t.Helper()
		cfg := acmeConfig(":80", "", ":443")
		cfg.State, cfg.Cover.Site = dir, dir
		change(cfg)
		o, err := openCover(env{cfg: cfg, log: slog.New(slog.DiscardHandler)}, nil, before, nil)
		if err != nil {
			t.Fatalf("open: got %v, want nil", err)
		}
		return o
	}
	first := open(nil, func(*config.Config) {})
	same := open(first, func(c *config.Config) { c.Cover.Connections = 7 })
	if same.acme != first.acme {
		t.Error("another limit: got another manager, want the same")
	}
	manager := same.acme
	same.discard(first)
	if first.acme != manager || same.acme != nil {
		t.Error("a reload that was refused: got the manager taken from the cover in force, want it there")
	}
	if open(first, func(*config.Config) {}) != first {
		t.Error("a reload that changes nothing: got another cover, want the same, which has the connections")
	}
	again := open(first, func(c *config.Config) { c.Cover.Connections = 8 })
	again.take(first)
	if first.acme != nil || again.acme != manager {
		t.Error("a reload: got the manager left with the old cover, want it handed over")
	}
	other := open(again, func(c *config.Config) { c.Cover.ACME.Email = "a@example.org" })
	if other.acme == again.acme {
		t.Error("another account: got the same manager, want another")
	}
	for _, o := range []*coverOf{first, same, again, other} {
		o.close(t.Context())
	}

	cfg := acmeConfig("", "", ":443")
	cfg.State, cfg.Cover.Site, cfg.Cover.ACME.CARoot = dir, dir, root
	if _, err := openCover(env{cfg: cfg, log: slog.New(slog.DiscardHandler)}, nil, nil, nil); err == nil {
		t.Error("a root that is not there: got nil, want an error")
	}
	if err := os.WriteFile(root, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openCover(env{cfg: cfg, log: slog.New(slog.DiscardHandler)}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("a root that is none: got %v, want an error", err)
	}
}
