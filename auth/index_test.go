package auth

import (
	"bytes"
	"testing"
	"time"
)

func TestIndex(t *testing.T) {
	const label = "web"
	w := newWorld(t, "before")
	if err := w.Index(label); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(&Record{Name: "after"}); err != nil {
		t.Fatal(err)
	}
	password := func(name string) string {
		r, _, err := w.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		return r.Password(w.Realm(), label)
	}
	found := func(p string) string { u, _ := w.Find(label, p); return u.Name }
	for _, name := range []string{"before", "after"} {
		if got := found(password(name)); got != name {
			t.Errorf("the password of %s is %q's", name, got)
		}
	}
	for _, p := range []string{"", "nobody's", password("after") + "x"} {
		if u, ok := w.Find(label, p); ok {
			t.Errorf("%q is %s's", p, u.Name)
		}
	}
	if _, ok := w.Find("socks5", password("after")); ok {
		t.Error("found under a label that has no index")
	}

	old := password("after")
	user, _ := w.Find(label, old)
	before, ok := w.UUID(user)
	if !ok || before[6]>>4 != 4 || before[8]>>6 != 2 {
		t.Errorf("UUID %x, %v: want one of version 4", before, ok)
	}
	if bytes.Contains([]byte(old), before[:4]) {
		t.Error("the UUID is part of the password")
	}
	if _, err := w.Update("after", func(r *Record) error { r.Rotate(label); return nil }); err != nil {
		t.Fatal(err)
	}
	if found(old) != "" || found(password("after")) != "after" {
		t.Error("rotating has not replaced the password")
	}
	if _, ok := w.UUID(user); ok {
		t.Error("the UUID of a user who proved an old password")
	}
	user, _ = w.Find(label, password("after"))
	if id, ok := w.UUID(user); !ok || id == before {
		t.Errorf("rotating has left the UUID: %x, %v", id, ok)
	}

	change := func(f func(*Record)) {
		t.Helper()
		if _, err := w.Update("after", func(r *Record) error { f(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(func(r *Record) { r.Disabled = true })
	if got := found(password("after")); got != "" {
		t.Error("a disabled user is found")
	}
	change(func(r *Record) { r.Disabled, r.Expires = false, w.now().Add(time.Minute) })
	if got := found(password("after")); got != "after" {
		t.Error("an enabled user is not found")
	}
	w.ahead.Add(int64(time.Hour))
	if got := found(password("after")); got != "" {
		t.Error("an expired user is found")
	}
	p := password("before")
	if err := w.Remove("before"); err != nil {
		t.Fatal(err)
	}
	if found(p) != "" {
		t.Error("a removed user is found")
	}
}

func TestExplicitUUID(t *testing.T) {
	r := &Record{Key: NewKey()}
	r.SetExplicit(uuidOf("web"), "0123abcd-4567-89ab-cdef-0123456789ab")
	id, ok := r.UUID(NewKey(), "web")
	if want := "\x01\x23\xab\xcd\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab"; !ok || string(id[:]) != want {
		t.Errorf("%x, %v, want %x", id, ok, want)
	}
	r.Rotate("web")
	if again, ok := r.UUID(NewKey(), "web"); !ok || again == id {
		t.Error("rotating has left the explicit UUID")
	}
	for _, bad := range []string{"", "0123", "0123abcd-4567-89ab-cdef-0123456789a", "g123abcd456789abcdef0123456789ab", "0123abcd-4567-89ab-cdef-0123456789abcd"} {
		if _, ok := ParseUUID(bad); ok {
			t.Errorf("%q is a UUID", bad)
		}
	}
}
