package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay/config"
	"relay/relay/mtproto"
)

// mtprotoAt is a configuration with mtproto at an address.
func mtprotoAt(t *testing.T, state, address, rest string) (*config.Config, []config.Table) {
	t.Helper()
	cfg, tabs := parsed(t, fmt.Sprintf("state = %q\n[[listen]]\naddress = %q\npublic = ['proxy.example.net']\ninbounds = ['mtproto']\n[admin]\nmetrics = ''\n%s", state, address, rest))
	return cfg, tabs
}

// freeAddress is one that can be bound, on loopback.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// foundUnder are the users whose clients are served under a name.
func foundUnder(users *auth.Users, name string) (out []string) {
	users.Candidates(mtproto.Label, name, netip.MustParseAddr("192.0.2.1"), func(u auth.User, _ *[auth.SecretSize]byte) bool {
		out = append(out, u.Name)
		return true
	})
	return out
}

// placesIn are the places that users of a state folder have, by their records.
func placesIn(t *testing.T, users *auth.Users) string {
	t.Helper()
	var out []string
	err := users.Each(func(r *auth.Record) bool { out = append(out, r.Name+"="+r.Places[mtproto.Label]); return true })
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

const twoNames = "[mtproto]\nnames = ['one.example', 'two.example']\n"

// A reload that is refused leaves everybody's links as they are, and a later one
// that is not changes them with a word.
func TestRefusedReloadKeepsPlaces(t *testing.T) {
	dir, err := os.MkdirTemp("", "rs") // a Unix socket has a short name
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var lines lockedBuffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	address := freeAddress(t)
	cfg, tabs := mtprotoAt(t, dir, address, twoNames)
	in, err := start(cfg, tabs, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.release()
	if err := in.users.Add(&auth.Record{Name: "a"}, &auth.Record{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	const placed = "a=one.example b=two.example"
	read := func(address, rest string) {
		in.again = func() (*config.Config, []config.Table, error) {
			cfg, tabs := mtprotoAt(t, dir, address, rest)
			return cfg, tabs, nil
		}
	}
	const other = "[mtproto]\nnames = ['three.example']\n"
	read("192.0.2.1:443", other)
	if err := in.reload(); err == nil {
		t.Fatal("reload with an address that is not ours: got nil, want an error")
	}
	if got := placesIn(t, in.users); got != placed {
		t.Errorf("places: got %s, want %s", got, placed)
	}
	if got := fmt.Sprint(foundUnder(in.users, "one.example"), foundUnder(in.users, "two.example")); got != "[a] [b]" {
		t.Errorf("users served: got %s, want [a] [b]", got)
	}
	if strings.Contains(lines.String(), "have changed") {
		t.Errorf("log: got %s, want no word of links that have changed", lines.String())
	}
	read(address, other)
	if err := in.reload(); err != nil {
		t.Fatal(err)
	}
	if got := foundUnder(in.users, "three.example"); len(got) != 2 {
		t.Errorf("users served after a reload: got %v, want both", got)
	}
	if !strings.Contains(lines.String(), "the MTProto links of 2 users have changed") {
		t.Errorf("log: got %s, want that the links have changed", lines.String())
	}
}

// A relay that does not start changes nobody's links.
func TestFailedStartKeepsPlaces(t *testing.T) {
	dir, err := os.MkdirTemp("", "rs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	try := func(address, rest string) (string, error) {
		cfg, tabs := mtprotoAt(t, dir, address, rest)
		in, err := start(cfg, tabs, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			store, openErr := auth.OpenStore(dir)
			if openErr != nil {
				t.Fatal(openErr)
			}
			defer store.Close()
			users := auth.NewUsers(store, slog.New(slog.DiscardHandler))
			defer users.Close()
			return placesIn(t, users), err
		}
		defer in.release()
		if _, _, err := in.users.Get("a"); err != nil {
			if err := in.users.Add(&auth.Record{Name: "a"}, &auth.Record{Name: "b"}); err != nil {
				t.Fatal(err)
			}
		}
		return placesIn(t, in.users), nil
	}
	address := freeAddress(t)
	const placed, other = "a=one.example b=two.example", "[mtproto]\nnames = ['three.example']\n"
	if got, err := try(address, twoNames); err != nil || got != placed {
		t.Fatalf("places: got %s and %v, want %s", got, err, placed)
	}
	if got, err := try("192.0.2.1:443", other); err == nil || got != placed {
		t.Errorf("places after an address that is not ours: got %s and %v, want %s and an error", got, err, placed)
	}
	socket := filepath.Join(dir, "admin.sock")
	if err := os.Mkdir(socket, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := try(address, other); err == nil || got != placed {
		t.Errorf("places after no control socket: got %s and %v, want %s and an error", got, err, placed)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	if got, err := try(address, other); err != nil || got != "a=three.example b=three.example" {
		t.Errorf("places after a start: got %s and %v, want the new name", got, err)
	}
}

// Links with names come back as they were when those without end.
func TestPlacesWithoutNames(t *testing.T) {
	for name, plain := range map[string]string{
		"no name at all": "[mtproto]\nsecrets = ['dd']\n[cover]\nforward = '127.0.0.1:9'\n",
		"another name":   "[mtproto]\nsecrets = ['dd', 'simple']\nnames = ['three.example']\n",
		"the cover's":    "[mtproto]\nsecrets = ['simple']\n[cover]\nname = 'www.example.org'\nforward = '127.0.0.1:9'\n",
	} {
		t.Run(name, func(t *testing.T) {
			store, err := auth.OpenStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			users := auth.NewUsers(store, slog.New(slog.DiscardHandler))
			defer users.Close()
			prepare := func(rest string) {
				cfg, tabs := mtprotoAt(t, "/nonexistent", "127.0.0.1:443", rest)
				found, err := mtprotoPrepare(cfg, optionsOf("mtproto", tabs), users)
				if err != nil {
					t.Fatal(err)
				}
				wantFindings(t, found)
			}
			prepare(twoNames)
			for _, n := range []string{"c", "d", "a"} {
				if err := users.Add(&auth.Record{Name: n}); err != nil {
					t.Fatal(err)
				}
			}
			const placed = "a=one.example c=one.example d=two.example"
			prepare(plain)
			if err := users.Add(&auth.Record{Name: "e"}); err != nil {
				t.Fatal(err)
			}
			if got := foundUnder(users, ""); len(got) != 4 {
				t.Errorf("users served without names: got %v, want all 4", got)
			}
			cfg, tabs := mtprotoAt(t, "/nonexistent", "203.0.113.7:443", plain)
			r, _, err := users.Get("a")
			if err != nil {
				t.Fatal(err)
			}
			if got := linkerOf(cfg, tabs, users).links(r); len(got) == 0 || strings.Contains(got[0].URL, "secret=ee") {
				t.Errorf("links without names: got %d, want some without a name", len(got))
			}
			prepare(twoNames)
			if got := placesIn(t, users); !strings.HasPrefix(got, placed) {
				t.Errorf("places with names again: got %s, want %s", got, placed)
			}
		})
	}
}
