package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testLabel = "mtproto"

var (
	homeAddr  = netip.MustParseAddr("198.51.100.7")
	otherAddr = netip.MustParseAddr("203.0.113.9")
)

// candidates are the names of the users that are tried, in order.
func (w *world) candidates(name string, source netip.Addr) (out []string) {
	w.Candidates(testLabel, name, source, func(u User, _ *[SecretSize]byte) bool {
		out = append(out, u.Name)
		return true
	})
	return out
}

func naming(names []string, most int) Naming {
	return Naming{Label: testLabel, Key: testLabel, Names: names, Most: most}
}

func (w *world) place(names []string, most int) (left string) {
	w.t.Helper()
	p, err := w.Place(naming(names, most))
	if err != nil {
		w.t.Fatalf("Place: got %v, want nil", err)
	}
	return strings.Join(p.Left, " ")
}

// where is where every user is placed.
func (w *world) where() string {
	var out []string
	_ = w.Each(func(r *Record) bool {
		out = append(out, r.Name+"="+r.Places[testLabel])
		return true
	})
	return strings.Join(out, " ")
}

func TestPlace(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "d", "e")
	names := []string{"one.example", "two.example"}
	if left := w.place(names, 2); left != "e" {
		t.Errorf("users without a place: got %q, want e", left)
	}
	const placed = "a=one.example b=two.example c=one.example d=two.example e="
	if got := w.where(); got != placed {
		t.Errorf("places: got %s, want %s", got, placed)
	}
	if err := w.Add(&Record{Name: "f"}); !errors.Is(err, ErrFull) {
		t.Errorf("add to full names: got %v, want ErrFull", err)
	}
	if err := w.Add(&Record{Name: "a"}); !errors.Is(err, ErrUserExists) {
		t.Errorf("add who is there to full names: got %v, want ErrUserExists", err)
	}
	w.reopen()
	if left := w.place(names, 3); left != "" {
		t.Errorf("users without a place after a restart: got %q, want none", left)
	}
	const more = "a=one.example b=two.example c=one.example d=two.example e=one.example"
	if got := w.where(); got != more {
		t.Errorf("places after a restart: got %s, want %s", got, more)
	}
	if err := w.Add(&Record{Name: "f"}); err != nil {
		t.Errorf("add: got %v, want nil", err)
	}
	if got, want := w.candidates("two.example", homeAddr), []string{"b", "d", "f"}; !slices.Equal(got, want) {
		t.Errorf("candidates of two: got %v, want %v", got, want)
	}
	// A name that is gone gives its users to the others, once.
	w.place([]string{"two.example", "three.example"}, 4)
	if got, want := w.candidates("three.example", homeAddr), []string{"a", "c", "e"}; !slices.Equal(got, want) {
		t.Errorf("candidates of three: got %v, want %v", got, want)
	}
	if got := w.candidates("one.example", homeAddr); len(got) > 0 {
		t.Errorf("candidates of one: got %v, want none", got)
	}
	if got := w.candidates("", homeAddr); len(got) != 4 {
		t.Errorf("candidates of all names: got %v, want 4 of them", got)
	}
}

// TestPlaceAskedFor: clients of imported users say a name already.
func TestPlaceAskedFor(t *testing.T) {
	w := newWorld(t, "a")
	w.place([]string{"one.example", "two.example"}, 3)
	at := func(name, place string) *Record {
		return &Record{Name: name, Places: map[string]string{testLabel: place}}
	}
	tried := []*Record{{Name: "free"}, at("b", "one.example"), at("c", "one.example"), at("d", "one.example"), at("e", "gone.example")}
	if err := w.Try(tried...); err != nil {
		t.Fatalf("Try: got %v, want nil", err)
	}
	if got := w.where(); got != "a=one.example" {
		t.Errorf("users after Try: got %s, want a alone", got)
	}
	rs := []*Record{{Name: "free"}, at("b", "one.example"), at("c", "one.example"), at("d", "one.example"), at("e", "gone.example")}
	if err := w.Add(rs...); err != nil {
		t.Fatalf("Add: got %v, want nil", err)
	}
	const want = "a=one.example b=one.example c=one.example d=two.example e=two.example free=two.example"
	if got := w.where(); got != want {
		t.Errorf("places: got %s, want %s", got, want)
	}
	for i, r := range tried {
		if r.Places[testLabel] != rs[i].Places[testLabel] {
			t.Errorf("place of %s: Try said %s, want %s as Add", r.Name, r.Places[testLabel], rs[i].Places[testLabel])
		}
	}
	if err := w.Try(at("g", "one.example")); !errors.Is(err, ErrFull) {
		t.Errorf("Try with full names: got %v, want ErrFull", err)
	}
	w.reopen()
	w.place([]string{"two.example", "one.example"}, 3)
	if got := w.where(); got != want {
		t.Errorf("places after a restart: got %s, want %s", got, want)
	}
}

// TestPlaceEnabled: others may take the place of who is disabled.
func TestPlaceEnabled(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "d")
	names := []string{"one.example", "two.example"}
	w.place(names, 2)
	disable := func(name string, yes bool) error {
		_, err := w.Update(name, func(r *Record) error { r.Disabled = yes; return nil })
		return err
	}
	check := func(when, want string) {
		t.Helper()
		if got := w.where(); got != want {
			t.Errorf("places %s: got %s, want %s", when, got, want)
		}
		for _, n := range names {
			if got := w.candidates(n, homeAddr); len(got) != 2 {
				t.Errorf("candidates of %s %s: got %v, want 2", n, when, got)
			}
		}
	}
	if err := errors.Join(disable("a", true), w.Add(&Record{Name: "B"})); err != nil {
		t.Fatal(err)
	}
	const full = "B=one.example a=one.example b=two.example c=one.example d=two.example"
	check("with another in its place", full)
	if err := disable("a", false); !errors.Is(err, ErrFull) {
		t.Errorf("enable with full names: got %v, want ErrFull", err)
	}
	if r, _, err := w.Get("a"); err != nil || !r.Disabled {
		t.Errorf("after that: got disabled %v and %v, want it disabled", r.Disabled, err)
	}
	w.reopen()
	if left := w.place(names, 2); left != "" {
		t.Errorf("users without a place after a restart: got %q, want none", left)
	}
	check("after a restart", full)
	if err := errors.Join(w.Remove("b"), disable("a", false)); err != nil {
		t.Fatal(err)
	}
	const moved = "B=one.example a=two.example c=one.example d=two.example"
	check("when it is enabled", moved)
	if err := errors.Join(disable("a", true), disable("a", false)); err != nil {
		t.Fatal(err)
	}
	check("when its place is free", moved)
}

// TestPlaceLeftOut: a change of who has no place takes nobody's.
func TestPlaceLeftOut(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.place([]string{"one.example"}, 3)
	if left := w.place([]string{"one.example"}, 2); left != "c" {
		t.Errorf("users without a place: got %q, want c", left)
	}
	for _, name := range []string{"c", "a"} {
		if _, err := w.Update(name, func(r *Record) error { r.MaxConns = 1; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.candidates("one.example", homeAddr), []string{"b", "a"}; !slices.Equal(got, want) {
		t.Errorf("candidates: got %v, want %v", got, want)
	}
	if err := w.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update("c", func(r *Record) error { r.MaxConns = 2; return nil }); err != nil {
		t.Fatal(err)
	}
	if got, want := w.candidates("one.example", homeAddr), []string{"b", "c"}; !slices.Equal(got, want) {
		t.Errorf("candidates with room again: got %v, want %v", got, want)
	}
}

func TestHolders(t *testing.T) {
	w := newWorld(t, "alice")
	const old = "000102030405060708090a0b0c0d0e0f"
	imported, bad := &Record{Name: "bob", Disabled: true}, &Record{Name: "carol"}
	imported.SetExplicit(testLabel, old)
	bad.SetExplicit(testLabel, "no secret")
	if err := w.Add(imported, bad); err != nil {
		t.Fatal(err)
	}
	got, err := w.Holders(testLabel)
	if err != nil || len(got) != 2 {
		t.Fatalf("holders: got %d and %v, want 2 and nil", len(got), err)
	}
	key, _ := imported.Secret(Key{}, testLabel)
	if got[key] != "bob" {
		t.Errorf("holder of the imported secret: got %q, want bob", got[key])
	}
}

func TestSecretOfARecord(t *testing.T) {
	w := newWorld(t, "alice")
	r, _, _ := w.Get("alice")
	first, ok := r.Secret(w.Realm(), testLabel)
	if !ok || first == ([SecretSize]byte{}) {
		t.Fatalf("secret: got %v, %v, want one", first, ok)
	}
	r.Rotate(testLabel)
	if second, _ := r.Secret(w.Realm(), testLabel); second == first {
		t.Error("secret of the next generation: got the same, want another")
	}
	for text, want := range map[string]bool{"000102030405060708090a0b0c0d0e0f": true, "0001": false, "x": false} {
		r.SetExplicit(testLabel, text)
		if _, ok := r.Secret(w.Realm(), testLabel); ok != want {
			t.Errorf("explicit secret %q: got %v, want %v", text, ok, want)
		}
	}
}

func TestCandidatesOrder(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "d")
	w.place([]string{"x.example"}, 10)
	users := make(map[string]User)
	w.Candidates(testLabel, "x.example", homeAddr, func(u User, _ *[SecretSize]byte) bool { users[u.Name] = u; return true })
	s, err := w.Begin(users["c"], otherAddr, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	w.Proved(homeAddr, users["b"])
	w.Proved(homeAddr, users["d"])
	for _, tt := range []struct {
		source netip.Addr
		want   string
	}{
		{homeAddr, "d b c a"}, {netip.MustParseAddr("198.51.100.200"), "d b c a"}, {otherAddr, "c a b d"},
	} {
		if got := strings.Join(w.candidates("x.example", tt.source), " "); got != tt.want {
			t.Errorf("candidates for %v: got %s, want %s", tt.source, got, tt.want)
		}
	}
	n := 0
	w.Candidates(testLabel, "x.example", homeAddr, func(User, *[SecretSize]byte) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("candidates after the right one: got %d tried, want 2", n)
	}
}

// Who is not served has no secret.
func TestCandidatesOfChangedUsers(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "d")
	w.place([]string{"x.example"}, 10)
	var before [SecretSize]byte
	var old User
	w.Candidates(testLabel, "x.example", homeAddr, func(u User, k *[SecretSize]byte) bool { old, before = u, *k; return u.Name != "c" })
	change := func(name string, f func(*Record)) {
		if _, err := w.Update(name, func(r *Record) error { f(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change("a", func(r *Record) { r.Disabled = true })
	change("b", func(r *Record) { r.Expires = w.now().Add(time.Minute) })
	change("c", func(r *Record) { r.Rotate(testLabel) })
	if err := w.Remove("d"); err != nil {
		t.Fatal(err)
	}
	if got, want := w.candidates("x.example", homeAddr), []string{"b", "c"}; !slices.Equal(got, want) {
		t.Errorf("candidates: got %v, want %v", got, want)
	}
	if _, ok := w.SecretOf(old); ok {
		t.Error("secret of a credential that was replaced: got one, want none")
	}
	w.ahead.Store(int64(time.Hour))
	w.Candidates(testLabel, "x.example", homeAddr, func(u User, k *[SecretSize]byte) bool {
		if u.Name != "c" || *k == before {
			t.Errorf("candidate: got %s, want c with a new secret", u.Name)
		}
		if got, ok := w.SecretOf(u); !ok || got != *k {
			t.Errorf("SecretOf: got %v, want the same", ok)
		}
		return true
	})
	change("a", func(r *Record) { r.Disabled = false })
	if got, want := w.candidates("x.example", homeAddr), []string{"c", "a"}; !slices.Equal(got, want) {
		t.Errorf("candidates: got %v, want %v", got, want)
	}
}

// Sources are forgotten, the oldest first, and cost a bounded memory.
func TestProvedIsBounded(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.place([]string{"x.example"}, 10)
	var users []User
	w.Candidates(testLabel, "x.example", homeAddr, func(u User, _ *[SecretSize]byte) bool { users = append(users, u); return true })
	w.Proved(homeAddr, users[1])
	for i := range 3 * mostRecent {
		w.Proved(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), users[0])
		w.Proved(netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 0}), users[0])
	}
	s := w.placed()
	if n := len(s.recent) + len(s.before); n > 2*mostRecent {
		t.Errorf("sources remembered: got %d, want at most %d", n, 2*mostRecent)
	}
	if got := w.candidates("x.example", homeAddr)[0]; got != "a" {
		t.Errorf("first candidate of a source long ago: got %s, want a", got)
	}
}

// Everything at once, for the race detector.
func TestSecretsTogether(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.place([]string{"x.example", "y.example"}, 64)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 20 {
				name := fmt.Sprintf("u%d-%d", i, n)
				if err := w.Add(&Record{Name: name}); err != nil {
					t.Errorf("add: got %v, want nil", err)
				}
				w.Candidates(testLabel, "x.example", homeAddr, func(u User, _ *[SecretSize]byte) bool { w.Proved(homeAddr, u); return true })
				if _, err := w.Update(name, func(r *Record) error { r.Rotate(testLabel); return nil }); err != nil {
					t.Errorf("update: got %v, want nil", err)
				}
				_ = w.Remove(name)
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			w.place([]string{"x.example", "y.example"}, 64)
		}
	})
	wg.Wait()
	if got := w.candidates("", homeAddr); len(got) != 3 {
		t.Errorf("candidates in the end: got %v, want 3", got)
	}
}

func BenchmarkCandidates(b *testing.B) {
	s := openTest(b, b.TempDir())
	var names []string
	for i := range 256 {
		names = append(names, fmt.Sprintf("user%d", i))
	}
	addTest(b, s, names...)
	u := newUsers(s, nil, time.Now)
	defer u.Close()
	if _, err := u.Place(naming([]string{"x.example"}, 256)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		u.Candidates(testLabel, "x.example", homeAddr, func(User, *[SecretSize]byte) bool { n++; return true })
	}
}
