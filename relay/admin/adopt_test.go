package admin

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"relay/auth"
)

const importLabel = "socks5"

func importing(name, secret, place string) ImportUser {
	u := ImportUser{Name: name}
	u.Explicit = map[string]string{importLabel: secret}
	if place != "" {
		u.Places = map[string]string{importLabel: place}
	}
	return u
}

// said is what became of an import, in one line.
func said(out []Imported) string {
	var b strings.Builder
	for _, o := range out {
		fmt.Fprintf(&b, "%s->%s", o.Name, o.As)
		if o.Known {
			b.WriteString("!")
		}
		if at := o.Places[importLabel]; at != "" {
			b.WriteString("@" + at)
		}
		b.WriteString(" ")
	}
	return strings.TrimSpace(b.String())
}

func TestImport(t *testing.T) {
	f := newFixture(t, true)
	if _, err := f.users.Place(auth.Naming{Label: importLabel, Key: importLabel, Names: []string{"one.example", "two.example"}, Most: 2}); err != nil {
		t.Fatal(err)
	}
	a, b, c := strings.Repeat("a0", 16), strings.Repeat("b0", 16), strings.Repeat("c0", 16)
	for name, cl := range f.clients(t) {
		t.Run(name, func(t *testing.T) {
			for _, u := range []string{"tg", "tg-2"} {
				_ = cl.Remove(u)
			}
			first := Import{Users: []ImportUser{importing("tg", a, "two.example"), importing("tg", b, "two.example"), importing("x", a, "")}}
			const plan = "tg->tg@two.example tg->tg-2@two.example x->tg!@two.example"
			dry := first
			dry.DryRun = true
			for _, i := range []Import{dry, first} {
				out, err := cl.Import(i)
				if got := said(out); err != nil || got != plan {
					t.Errorf("import, dry %v: got %q and %v, want %q", i.DryRun, got, err, plan)
				}
				us, err := cl.Users()
				if want := map[bool]int{true: 0, false: 2}[i.DryRun]; err != nil || len(us) != want {
					t.Errorf("users, dry %v: got %d and %v, want %d", i.DryRun, len(us), err, want)
				}
			}
			// Their clients are found by the name and the secret that they have.
			var found []string
			f.users.Candidates(importLabel, "two.example", netip.MustParseAddr("192.0.2.1"), func(u auth.User, key *[auth.SecretSize]byte) bool {
				found = append(found, fmt.Sprintf("%s=%x", u.Name, key[:1]))
				return true
			})
			if got, want := strings.Join(found, " "), "tg=a0 tg-2=b0"; got != want {
				t.Errorf("candidates: got %q, want %q", got, want)
			}
			again, err := cl.Import(first)
			if got, want := said(again), "tg->tg!@two.example tg->tg-2!@two.example x->tg!@two.example"; err != nil || got != want {
				t.Errorf("the same again: got %q and %v, want %q", got, err, want)
			}
			// The links of who is here say one name.
			other := Import{Users: []ImportUser{importing("new", c, ""), importing("tg", a, "one.example")}}
			if _, err := cl.Import(other); err == nil || !strings.Contains(err.Error(), "tg under one.example has the secret of tg, who is here under two.example") {
				t.Errorf("the same under another name: got %v, want it refused", err)
			}
			other = Import{Users: []ImportUser{importing("new", c, "one.example"), importing("again", c, "two.example")}}
			if _, err := cl.Import(other); err == nil || !strings.Contains(err.Error(), "again under two.example has the same secret as new under one.example") {
				t.Errorf("one secret under two names: got %v, want it refused", err)
			}
			// Where one has no place, nobody is made; a look says where he would be.
			full := Import{Users: []ImportUser{importing("y", c, "two.example"), importing("z", strings.Repeat("d0", 16), "gone.example")}}
			if _, err := cl.Import(full); err == nil || !strings.Contains(err.Error(), "gone.example for 1 of the users, two.example for 1") {
				t.Errorf("import under a full name: got %v, want it refused", err)
			}
			full.DryRun = true
			out, err := cl.Import(full)
			if got, want := said(out), "y->y@one.example z->z@one.example"; err != nil || got != want {
				t.Errorf("dry import under a full name: got %q and %v, want %q", got, err, want)
			}
			if us, _ := cl.Users(); len(us) != 2 {
				t.Errorf("users in the end: got %d, want 2", len(us))
			}
		})
	}
}

// TestEnableMoves: while somebody was disabled, another has taken the place.
func TestEnableMoves(t *testing.T) {
	f := newFixture(t, true)
	if _, err := f.users.Place(auth.Naming{Label: importLabel, Key: importLabel, Names: []string{"one.example", "two.example"}, Most: 1}); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	for name, cl := range f.clients(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := cl.Add(Add{Names: []string{"a", "b"}}); err != nil {
				t.Fatal(err)
			}
			if u, err := cl.Change("a", Change{Disabled: &yes}); err != nil || u.Moved {
				t.Fatalf("disable: got moved %v and %v, want neither", u.Moved, err)
			}
			if _, err := cl.Add(Add{Names: []string{"c"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := cl.Change("a", Change{Disabled: &no}); err == nil || !strings.Contains(err.Error(), "no name has room") {
				t.Errorf("enable with full names: got %v, want it refused", err)
			}
			if err := cl.Remove("b"); err != nil {
				t.Fatal(err)
			}
			if u, err := cl.Change("a", Change{Disabled: &no}); err != nil || !u.Moved || u.Disabled {
				t.Errorf("enable: got moved %v, disabled %v and %v, want it moved", u.Moved, u.Disabled, err)
			}
			if u, err := cl.Change("a", Change{Disabled: &no}); err != nil || u.Moved {
				t.Errorf("enable again: got moved %v and %v, want neither", u.Moved, err)
			}
			for _, n := range []string{"a", "c"} {
				_ = cl.Remove(n)
			}
		})
	}
}

func TestImportRefuses(t *testing.T) {
	f := newFixture(t, false)
	good := importing("a", strings.Repeat("a0", 16), "")
	for _, tt := range []struct {
		name, want string
		user       ImportUser
	}{
		{"a name", "letters", importing("no spaces", "x", "")},
		{"a label", `no protocol "x"`, ImportUser{Name: "b", Limits: Limits{Explicit: map[string]string{"x": "y"}}}},
		{"a label of places", `no protocol "x"`, ImportUser{Name: "b", Places: map[string]string{"x": "y"}}},
		{"a secret", "1 to 127 bytes", importing("b", "", "")},
	} {
		_, err := Local(f.h).Import(Import{Users: []ImportUser{good, tt.user}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
		if us, _ := Local(f.h).Users(); len(us) != 0 {
			t.Errorf("%s: got %d users, want none", tt.name, len(us))
		}
	}
}
