package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/relay/config"
)

// certificate writes a certificate for names.
func certificate(t *testing.T, names ...string) string {
	t.Helper()
	cert, _ := pairSigned(t, time.Now().Add(90*24*time.Hour), newKey(t), names...)
	return cert
}

// What a prober finds out about names, of the cover and of ee secrets, is said
// before he does.
func TestNameFindings(t *testing.T) {
	one, two := certificate(t, "www.example.org", "*.cdn.example.org"), certificate(t, "static.example.net")
	files := func(certs ...string) string {
		var list []string
		for _, c := range certs {
			list = append(list, fmt.Sprintf("{ cert = %q, key = '/k' }", c))
		}
		return "certificate = [" + strings.Join(list, ", ") + "]"
	}
	site := "name = 'www.example.org'\nsite = '" + t.TempDir() + "'\n"
	const (
		mtproto  = "[mtproto]\nnames = ['www.example.org', 'a.cdn.example.org']\n"
		unserved = "the site does not answer to a.cdn.example.org, which ee secrets carry: a prober who asks for it is refused where users are not; add it to names below [cover], or forward to a server that has it"
	)
	for _, tt := range []struct {
		name, cover, more string
		want              []string
	}{
		{"one name", site + files(one), "", nil},
		{"no site", "name = 'www.example.org'\nsite = '/nowhere/site'\n" + files(one), "", []string{"/nowhere/site, the folder of the site, is not here"}},
		{"ee names that the site lacks", site + files(one), mtproto, []string{unserved}},
		{"ee names that it has", site + "names = ['A.cdn.example.org']\n" + files(one), mtproto, nil},
		{"ee names of a server elsewhere", "forward = '127.0.0.1:8443'\n", mtproto, nil},
		{"self-signed", site + "names = ['a.cdn.example.org']\ncertificate = 'self-signed'", mtproto, nil},
		{"two certificates", site + "names = ['static.example.net']\n" + files(one, two), "", nil},
		{
			"a name without a certificate", site + "names = ['static.example.net', 'b.a.cdn.example.org']\n" + files(one), "",
			[]string{"no certificate of the cover is for static.example.net: the relay does not start", "no certificate of the cover is for b.a.cdn.example.org"},
		},
		{"no such file", site + files(one, "/nowhere/cert.pem"), "", []string{"/nowhere/cert.pem: no such file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tabs := tables()
			src := "[[listen]]\naddress = '127.0.0.1:443'\ninbounds = ['mtproto']\n[cover]\n" + tt.cover + "\n" + tt.more
			cfg, faults := config.Parse("r", []byte(src), inboundNames(), tabs)
			if faults != nil {
				t.Fatalf("got %v, want no fault", faults)
			}
			got := append(coverFindings(cfg), partFindings(cfg, tabs)...)
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(string(got[i]), want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

// A folder that serve does not open is said before.
func TestFolderFindings(t *testing.T) {
	dir := t.TempDir()
	file, shut := filepath.Join(dir, "file"), filepath.Join(dir, "shut")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(shut, 0)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, folder, want string }{
		{"a folder", dir, ""},
		{"no site", "", ""},
		{"not there", filepath.Join(dir, "none"), ", the folder of the site, is not here: a relay on this machine does not start"},
		{"a file", file, ", the folder of the site, cannot be opened: not a directory: a relay that runs as the same user does not start"},
		{"not for this user", shut, ", the folder of the site, cannot be opened: permission denied: a relay that runs as the same user does not start"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.folder == shut && os.Geteuid() == 0 {
				t.Skip("root may do all")
			}
			got := coverFindings(&config.Config{Cover: config.Cover{Site: tt.folder}})
			if tt.want == "" {
				wantFindings(t, got)
			} else {
				wantFindings(t, got, tt.folder+tt.want)
			}
		})
	}
}

// Junk is refused as a TLS server does where the site speaks TLS, and nowhere else.
func TestRefusedWithTLSOnly(t *testing.T) {
	cfg := acmeConfig(":80", "")
	cfg.State, cfg.Listen = t.TempDir(), nil
	cfg.Cover.Site, cfg.Cover.Certificate.Word = cfg.State, "self-signed"
	in := &instance{log: slog.New(slog.DiscardHandler)}
	o, err := openCover(in.env(cfg, config.Listen{}), nil, nil, nil)
	if err != nil {
		t.Fatalf("openCover: got %v, want nil", err)
	}
	defer o.close(t.Context())
	got, err := in.listeners(cfg, nil, o)
	if err != nil || len(got) != 1 {
		t.Fatalf("listeners: got %d and %v, want that of port 80", len(got), err)
	}
	if o.cover.Refuse == nil || got[0].Cover.Refuse != nil || got[0].Cover.Site == nil {
		t.Errorf("got refused with TLS: %t, without: %t; want true, false", o.cover.Refuse != nil, got[0].Cover.Refuse != nil)
	}
}
