package auth

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stopRelay opens the users again as commands do where no relay runs.
func (w *world) stopRelay() {
	w.t.Helper()
	w.reopen()
	w.Users.stopped = true
}

// planned is where clients of every user are looked for.
func (w *world) planned() string {
	var out []string
	_ = w.Each(func(r *Record) bool {
		at, _ := w.PlaceOf(testLabel, r)
		out = append(out, r.Name+"="+at)
		return true
	})
	return strings.Join(out, " ")
}

// TestPlaceStopped: a look at a stopped relay tells what a start would do, and does
// nothing.
func TestPlaceStopped(t *testing.T) {
	w := newWorld(t, "c", "d")
	one, two := []string{"one.example"}, []string{"one.example", "two.example"}
	w.place(two, 9)
	if err := w.Add(&Record{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	const placed = "a=one.example c=one.example d=two.example"
	w.stopRelay()
	file := filepath.Join(w.dir, StoreFile)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Place(naming(one, 9))
	if err != nil || len(p.Left) > 0 || len(p.Moved) != 1 || p.Moved["two.example"] != 1 {
		t.Errorf("plan: got %v and %v, want one moved from two.example", p, err)
	}
	if got, want := w.planned(), "a=one.example c=one.example d=one.example"; got != want {
		t.Errorf("planned: got %s, want %s", got, want)
	}
	if err := w.Try(&Record{Name: "x"}); err != nil {
		t.Errorf("Try: got %v, want nil", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("database after a look: got another one (%v), want it as it was", err)
	}
	// A change of one user moves nobody, him included.
	if _, err := w.Update("d", func(r *Record) error { r.MaxConns = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := w.where(); got != placed {
		t.Errorf("places after a change: got %s, want %s", got, placed)
	}
	if got, want := w.planned(), "a=one.example c=one.example d=one.example"; got != want {
		t.Errorf("planned after a change: got %s, want %s", got, want)
	}
	w.reopen()
	w.place(two, 9)
	if got := w.where(); got != placed {
		t.Errorf("places under the old names: got %s, want %s", got, placed)
	}
}

// TestPlaceStoppedFirst: who had no place has the one that was shown, whoever is
// added before the relay starts.
func TestPlaceStoppedFirst(t *testing.T) {
	w := newWorld(t, "a", "c")
	names := []string{"one.example", "two.example"}
	w.stopRelay()
	w.place(names, 9)
	const planned = "a=one.example c=two.example"
	if got := w.planned(); got != planned {
		t.Errorf("planned: got %s, want %s", got, planned)
	}
	if got, want := w.where(), "a= c="; got != want {
		t.Errorf("places after a look: got %s, want %s", got, want)
	}
	w.stopRelay()
	w.place(names, 9)
	if err := w.Add(&Record{Name: "b"}, &Record{Name: "b2"}); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.place(names, 9)
	if got, want := w.where(), "a=one.example b=one.example b2=two.example c=two.example"; got != want {
		t.Errorf("places after a start: got %s, want %s", got, want)
	}
}

// TestPlaceKeys: links of another kind have places of their own.
func TestPlaceKeys(t *testing.T) {
	w := newWorld(t, "b", "d")
	names := []string{"one.example", "two.example"}
	w.place(names, 9)
	if err := w.Add(&Record{Name: "a"}, &Record{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	const placed = "a=one.example b=one.example c=two.example d=two.example"
	plain := Naming{Label: testLabel, Key: testLabel + "/plain", Names: []string{Unnamed}, Most: 9}
	if p, err := w.Place(plain); err != nil || len(p.Moved) > 0 {
		t.Errorf("without names: got %v and %v, want nobody moved", p.Moved, err)
	}
	if got := w.candidates("", homeAddr); len(got) != 4 {
		t.Errorf("candidates without names: got %v, want all 4", got)
	}
	if got := w.where(); got != placed {
		t.Errorf("places: got %s, want %s", got, placed)
	}
	if p, err := w.Place(naming(names, 9)); err != nil || len(p.Moved) > 0 {
		t.Errorf("with names again: got %v and %v, want nobody moved", p.Moved, err)
	}
	if got := w.where(); got != placed {
		t.Errorf("places with names again: got %s, want %s", got, placed)
	}
}

// TestPlaceGiven: clients of who is given a secret from elsewhere say its name.
func TestPlaceGiven(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.place([]string{"one.example", "two.example"}, 2)
	give := func(name, at string) error {
		_, err := w.Update(name, func(r *Record) error { r.SetPlace(testLabel, at); return nil })
		return err
	}
	if err := give("a", "two.example"); err != nil {
		t.Errorf("a place with room: got %v, want nil", err)
	}
	if got := w.candidates("two.example", homeAddr); len(got) != 2 {
		t.Errorf("candidates: got %v, want a and b", got)
	}
	for _, at := range []string{"two.example", "gone.example"} {
		if err := w.Add(&Record{Name: "c" + at[:1]}); err != nil {
			t.Fatal(err)
		}
		if err := give("c"+at[:1], at); !errors.Is(err, ErrNoPlace) {
			t.Errorf("%s, full or unknown: got %v, want ErrNoPlace", at, err)
		}
	}
	if got, want := w.where(), "a=two.example b=two.example cg=one.example ct=one.example"; got != want {
		t.Errorf("places: got %s, want %s", got, want)
	}
}

// TestFullSaysWhat: how many, and what helps.
func TestFullSaysWhat(t *testing.T) {
	w := newWorld(t, "a")
	w.place([]string{"one.example"}, 1)
	err := w.Add(&Record{Name: "b"})
	if err == nil || !strings.Contains(err.Error(), "1 name with 1 users; ") || !strings.Contains(err.Error(), "disable or remove users") {
		t.Errorf("add to a full name: got %v, want what frees places", err)
	}
}

// TestPlaceNotSaved: users are found as before where places cannot be written.
func TestPlaceNotSaved(t *testing.T) {
	w := newWorld(t, "a")
	w.place([]string{"one.example"}, 1)
	_ = w.store.Close()
	if _, err := w.Place(naming([]string{"two.example"}, 1)); err == nil {
		t.Fatal("a database that is closed: got nil, want an error")
	}
	if got := w.candidates("one.example", homeAddr); len(got) != 1 {
		t.Errorf("candidates after that: got %v, want a", got)
	}
}

func TestTwin(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, _, _ := w.Get("alice")
	key, _ := alice.Secret(w.Realm(), testLabel)
	for name, tt := range map[string]struct{ user, password, want string }{
		"a derived secret":    {"bob", strings.Repeat("0", 32), ""},
		"somebody's":          {"bob", hex.EncodeToString(key[:]), "alice"},
		"one's own":           {"alice", hex.EncodeToString(key[:]), ""},
		"somebody's, as text": {"bob", alice.Password(w.Realm(), testLabel), "alice"},
	} {
		r := &Record{Name: tt.user}
		r.SetExplicit(testLabel, tt.password)
		if got, err := w.Twin(r, testLabel); got != tt.want || err != nil {
			t.Errorf("%s: got %q and %v, want %q", name, got, err, tt.want)
		}
	}
}

func TestNewStopped(t *testing.T) {
	s := openTest(t, t.TempDir())
	addTest(t, s, "a")
	u := NewStopped(s, slog.New(slog.DiscardHandler))
	defer u.Close()
	if _, err := u.Place(naming([]string{"one.example"}, 1)); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Get("a"); err != nil || len(r.Places) > 0 {
		t.Errorf("after a look: got %v and %v, want no place", r.Places, err)
	}
}

// TestNameless: clients that say no name are those of the oldest users, whatever their
// places, and however the others come and go.
func TestNameless(t *testing.T) {
	w := newWorld(t)
	const most = 4
	w.place([]string{"one.example", "two.example"}, most)
	add := func(names ...string) {
		t.Helper()
		for _, n := range names {
			if err := w.Add(&Record{Name: n}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wants := func(when, want string) {
		t.Helper()
		got := w.candidates("", netip.Addr{})
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: got %s found without a name, want %s", when, s, want)
		}
		_ = w.Each(func(r *Record) bool {
			if got, want := w.Nameless(testLabel, r), slices.Contains(strings.Fields(want), r.Name) || r.Disabled; got != want {
				t.Errorf("%s: Nameless of %s: got %v, want %v", when, r.Name, got, want)
			}
			return true
		})
	}
	add("f", "e", "d", "c", "b", "a")
	wants("six", "c d e f")
	if _, err := w.Update("e", func(r *Record) error { r.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	wants("one is disabled", "b c d f")
	if _, err := w.Update("e", func(r *Record) error { r.Disabled = false; return nil }); err != nil {
		t.Fatal(err)
	}
	wants("and enabled", "c d e f")
	if err := w.Remove("f"); err != nil {
		t.Fatal(err)
	}
	add("g")
	wants("one is removed, one is new", "b c d e")
	w.place([]string{"two.example", "one.example"}, most)
	wants("placed again", "b c d e")
}

// TestPlaceOfLeftOut: who has no place is found nowhere, whatever the record says.
func TestPlaceOfLeftOut(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.place([]string{"one.example"}, 2)
	w.place([]string{"two.example"}, 1)
	if got, want := w.planned(), "a=two.example b="; got != want {
		t.Errorf("places: got %s, want %s", got, want)
	}
}
