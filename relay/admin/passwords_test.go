package admin

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"relay/auth"
)

// withPasswords is a fixture whose clients of one label give no user name.
func withPasswords(t *testing.T) *fixture {
	f := newFixture(t, true)
	f.b.Passwords = map[string]func(string) (string, string, error){
		importLabel: func(text string) (password, place string, err error) {
			if password, place, _ = strings.Cut(text, "@"); len(password) != 32 {
				return "", "", errors.New("no secret")
			}
			return strings.ToLower(password), place, nil
		},
	}
	f.b.Warnings = func(r *auth.Record) []string { return []string{"of " + r.Name} }
	f.h = Handler(f.b)
	names := auth.Naming{Label: importLabel, Key: importLabel, Names: []string{"one.example", "two.example"}, Most: 3}
	if _, err := f.users.Place(names); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPasswordsFromElsewhere(t *testing.T) {
	f := withPasswords(t)
	c := Local(f.h)
	secret := func(digit string) string { return strings.Repeat(digit, 32) }
	give := func(p string) Limits { return Limits{Explicit: map[string]string{importLabel: p}} }
	if _, err := c.Add(Add{Names: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(Add{Names: []string{"c"}, Limits: give(secret("C") + "@two.example")}); err != nil {
		t.Errorf("a secret with a name: got %v, want nil", err)
	}
	if _, err := c.Change("a", Change{Limits: give(secret("a") + "@two.example")}); err != nil {
		t.Errorf("a secret with a name for somebody: got %v, want nil", err)
	}
	var found []string
	f.users.Candidates(importLabel, "two.example", netip.MustParseAddr("192.0.2.1"), func(u auth.User, key *[auth.SecretSize]byte) bool {
		found = append(found, u.Name)
		return true
	})
	if got := strings.Join(found, " "); got != "b c a" {
		t.Errorf("users of the name: got %s, want b c a", got)
	}
	for _, tt := range []struct {
		name, password, text string
		usage                bool
	}{
		{"no secret", "junk", "no secret", true},
		{"empty", "", "1 to 127 bytes", true},
		{"somebody's", secret("c"), "c has this password for socks5 already", false},
		{"somebody's with another name", secret("c") + "@one.example", "c has this", false},
		{"a full name", secret("d") + "@two.example", "not known here, or full", false},
		{"another name", secret("d") + "@three.example", "not known here, or full", false},
	} {
		var ae *Error
		_, err := c.Add(Add{Names: []string{"x"}, Limits: give(tt.password)})
		if !errors.As(err, &ae) || !strings.Contains(ae.Text, tt.text) || ae.Usage != tt.usage || strings.Contains(ae.Text, secret("c")) {
			t.Errorf("%s, a new user: got %v, want %q", tt.name, err, tt.text)
		}
		if _, err := c.User("x"); err == nil {
			t.Errorf("%s: got the user, want none", tt.name)
		}
		// A third user of one.example, as two.example is full.
		_ = c.Remove("e")
		before, err := c.Add(Add{Names: []string{"e"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Change("e", Change{Limits: give(tt.password)})
		if !errors.As(err, &ae) || !strings.Contains(ae.Text, tt.text) || ae.Usage != tt.usage {
			t.Errorf("%s, a change: got %v, want %q", tt.name, err, tt.text)
		}
		if after, err := c.User("e"); err != nil || after.Links[0].URL != before[0].Links[0].URL {
			t.Errorf("%s: got another link and %v, want the one before", tt.name, err)
		}
	}
	if u, err := c.Change("c", Change{Limits: give(secret("c"))}); err != nil || len(u.Warnings) != 1 {
		t.Errorf("the same again: got %v and %v, want nil and the warning", u.Warnings, err)
	}
}

// Two users who are given a password at once do not get the same.
func TestPasswordsAtOnce(t *testing.T) {
	f := withPasswords(t)
	c := Local(f.h)
	if _, err := c.Add(Add{Names: []string{"a", "b", "c"}}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		var all sync.WaitGroup
		var errs [3]error
		for i, name := range []string{"a", "b", "c"} {
			all.Go(func() {
				_, errs[i] = c.Change(name, Change{Limits: Limits{Explicit: map[string]string{importLabel: strings.Repeat("a", 32)}}})
			})
		}
		all.Wait()
		good := 0
		for i, err := range errs {
			if err == nil {
				good++
				if _, err := c.Change([]string{"a", "b", "c"}[i], Change{Rotate: []string{importLabel}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if good != 1 {
			t.Fatalf("users who got it: %d, want 1 (%v)", good, errs)
		}
	}
}
