package main

import (
	"log/slog"
	"testing"

	"relay/auth"
)

// Users whose name is gone have other links from then on, which is said once.
func TestEndedLinks(t *testing.T) {
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	users := auth.NewUsers(store, slog.New(slog.DiscardHandler))
	defer users.Close()
	for _, tt := range []struct {
		name, options string
		add           string // a user
		want          []string
	}{
		{"at first", "names = ['a.example.org']", "alice", nil},
		{"another user", "names = ['a.example.org']", "bob", nil},
		{"one more name", "names = ['b.example.org', 'a.example.org']", "", nil},
		{"another name", "names = ['c.example.org']", "", []string{"the MTProto links of 2 users have changed and their old ones have ended, as their names are no names of ee secrets any more: a.example.org; show them the new ones"}},
		{"again", "names = ['c.example.org']", "", nil},
		{"names that are the cover's", "", "", []string{"the MTProto links of 2 users have changed and their old ones have ended, as their names are no names of ee secrets any more: c.example.org; "}},
		{"links without names", "secrets = ['dd']\nnames = ['d.example.org']", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, tabs := parsed(t, "[[listen]]\naddress = '127.0.0.1:443'\ninbounds = ['mtproto']\n[cover]\nname = 'www.example.org'\nforward = '127.0.0.1:8443'\n[mtproto]\n"+tt.options)
			got, err := mtprotoPrepare(cfg, optionsOf("mtproto", tabs), users)
			if err != nil {
				t.Fatalf("got %v, want nil", err)
			}
			wantFindings(t, got, tt.want...)
			if tt.add != "" {
				if err := users.Add(&auth.Record{Name: tt.add}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
