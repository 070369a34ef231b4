package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"relay/auth"
	"relay/transport"
)

// named is a Sink whose streams say whose they are, and repeat what they hear.
type named struct{}

func (named) Stream(_ context.Context, u auth.User, c transport.Conn) error {
	defer c.Close()
	if _, err := io.WriteString(c, u.Name+":"); err != nil {
		return err
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	_, _ = c.Write(b)
	return c.CloseWrite()
}

// TestOthersSession has two users with the same id for their sessions: neither hears,
// feeds or ends that of the other.
func TestOthersSession(t *testing.T) {
	users := map[string]auth.User{password: {ID: 1, Name: "alice"}, strings.ToUpper(password): {ID: 2, Name: "bob"}}
	h := New(Options{Find: func(p string) (auth.User, bool) { u, ok := users[p]; return u, ok }, Sink: named{}})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mine, ok := h.Claim(r); ok {
			mine.ServeHTTP(w, r)
		}
	}))
	defer s.Close()
	ask := func(method, who, rest, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, s.URL+"/"+who+"/"+rest+"?x_padding="+strings.Repeat("X", leastPadding), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s %s: got %d", method, rest, res.StatusCode)
		}
		return res
	}
	alice := ask("GET", password, "sid", "")
	bob := strings.ToUpper(password)
	ask("POST", bob, "sid/0", "bob's")
	if got, err := io.ReadAll(ask("GET", bob, "sid", "").Body); string(got) != "bob:bob's" || err != nil {
		t.Errorf("bob: got %q, %v", got, err)
	}
	ask("POST", password, "sid/0", "alice")
	if got, err := io.ReadAll(alice.Body); string(got) != "alice:alice" || err != nil {
		t.Errorf("alice: got %q, %v", got, err)
	}
}

// TestLatePieces has pieces that come when their sessions have ended, or before they
// have begun: they do not keep others from beginning.
func TestLatePieces(t *testing.T) {
	h := New(Options{})
	key := func(i int) sessionKey { return sessionKey{1, fmt.Sprint(i)} }
	for i := range mostEnded + 2 {
		ses, err := h.sessions.downlink(key(i))
		if err != nil {
			t.Fatal(err)
		}
		h.sessions.remove(ses)
		for _, first := range []bool{true, false} {
			if _, err := h.sessions.uplink(key(i), first); err != errEnded {
				t.Fatalf("a piece of session %d: got %v, want %v", i, err, errEnded)
			}
		}
		if _, err := h.sessions.downlink(key(i)); err != errTwice {
			t.Fatalf("a downlink of session %d: got %v, want %v", i, err, errTwice)
		}
	}
	for _, i := range []int{2, mostEnded + 1} {
		if _, err := h.sessions.uplink(key(i), true); err != errEnded {
			t.Errorf("a piece of session %d: got %v, want %v", i, err, errEnded)
		}
	}
	if len(h.sessions.ended) != mostEnded || len(h.sessions.order) != mostEnded {
		t.Errorf("got %d and %d sessions remembered, want %d", len(h.sessions.ended), len(h.sessions.order), mostEnded)
	}
	for i := range mostEarlyOfUser {
		if _, err := h.sessions.uplink(sessionKey{1, fmt.Sprint("late", i)}, false); (err == nil) != (i < mostLateOfUser) {
			t.Errorf("late piece %d: got %v", i, err)
		}
	}
	if _, err := h.sessions.uplink(sessionKey{1, "new"}, true); err != nil {
		t.Errorf("a session that begins: got %v", err)
	}
}
