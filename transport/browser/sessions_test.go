package browser

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	utls "github.com/refraction-networking/utls"
)

func state(t *testing.T, ticket string) *utls.ClientSessionState {
	t.Helper()
	s, err := utls.NewResumptionState([]byte(ticket), new(utls.SessionState))
	if err != nil {
		t.Fatalf("state: got %v, want nil", err)
	}
	return s
}

func taken(t *testing.T, c *cache) string {
	t.Helper()
	s, ok := c.Get("ignored")
	if !ok {
		return ""
	}
	ticket, _, err := s.ResumptionState()
	if err != nil {
		t.Fatalf("ticket: got %v, want nil", err)
	}
	return string(ticket)
}

func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &cache{s: new(Sessions), name: "a"}
		wants := func(when string, want ...string) {
			t.Helper()
			for _, w := range want {
				if got := taken(t, a); got != w {
					t.Errorf("%s: got %q, want %q", when, got, w)
				}
			}
		}
		wants("in the beginning", "")
		for _, ticket := range []string{"1", "2", "3"} {
			a.Put("ignored", state(t, ticket))
		}
		wants("the newest two, once", "3", "2", "", "")
		a.Put("ignored", state(t, "old"))
		time.Sleep(ticketLife - time.Second)
		a.Put("ignored", state(t, "new"))
		time.Sleep(2 * time.Second)
		wants("after two days", "new", "", "")
		a.Put("ignored", state(t, "useless"))
		a.Put("ignored", nil)
		wants("after one that was refused", "")
		a.Put("ignored", state(t, string(make([]byte, maxTicket+1))))
		wants("one that would fill a hello", "")
		a.retry = true
		a.Put("ignored", state(t, "of a server with other keys"))
		wants("that cannot be used", "")
	})
}

func TestTicketsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Sessions)
		for i := range maxNames + 10 {
			(&cache{s: s, name: fmt.Sprint(i)}).Put("", state(t, "x"))
			time.Sleep(time.Second)
		}
		if len(s.names) != maxNames {
			t.Errorf("names: got %d, want %d", len(s.names), maxNames)
		}
		for i, want := range map[int]string{0: "", 9: "", 10: "x", maxNames + 9: "x"} {
			if got := taken(t, &cache{s: s, name: fmt.Sprint(i)}); got != want {
				t.Errorf("name %d: got %q, want %q: the oldest go first", i, got, want)
			}
		}
	})
}
