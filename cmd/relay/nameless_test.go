package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"relay/auth"
	"relay/transport/faketls"
)

// Links that say no name are for as many users as can be tried, and no others have one.
func TestNamelessLinks(t *testing.T) {
	for _, tt := range []struct {
		options string
		full    bool // nobody fits in
		links   int  // of the user who is one too many
		warning string
	}{
		{"secrets = ['dd']", true, 0, ""},
		{"secrets = ['ee', 'dd']", false, 2, " has no dd or simple link: "},
		{"secrets = ['ee']", false, 2, ""},
	} {
		t.Run(tt.options, func(t *testing.T) {
			store, err := auth.OpenStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			users := auth.NewUsers(store, slog.New(slog.DiscardHandler))
			defer users.Close()
			cfg, tabs := parsed(t, "[[listen]]\naddress = '9.9.9.9:443'\ninbounds = ['mtproto']\n[mtproto]\nnames = ['a.example.org', 'b.example.org']\n"+tt.options)
			if _, err := prepare(cfg, tabs, users); err != nil {
				t.Fatal(err)
			}
			all := make([]*auth.Record, faketls.MaxCandidates)
			for i := range all {
				all[i] = &auth.Record{Name: fmt.Sprintf("u%03d", i)}
			}
			if err := users.Add(all...); err != nil {
				t.Fatal(err)
			}
			k := linkerOf(cfg, tabs, users)
			if w := k.warnings(all[0]); len(w) > 0 {
				t.Errorf("the first user: got warnings %q, want none", w)
			}
			late := &auth.Record{Name: "late"}
			if err := users.Add(late); (err != nil) != tt.full {
				t.Fatalf("one too many: got %v, want that nobody fits in: %v", err, tt.full)
			} else if err != nil {
				if !strings.Contains(err.Error(), "disable or remove users") || strings.Contains(err.Error(), "add a name") {
					t.Errorf("one too many: got %v, want what helps", err)
				}
				return
			}
			if got := len(k.links(late)); got != tt.links {
				t.Errorf("one too many: got %d links, want %d", got, tt.links)
			}
			if got := strings.Join(k.warnings(late), ""); !strings.Contains(got, tt.warning) || (got == "") != (tt.warning == "") {
				t.Errorf("one too many: got warning %q, want %q", got, tt.warning)
			}
		})
	}
}
