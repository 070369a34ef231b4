package interop

import (
	"encoding/json"
	"net"
	"testing"
	"time"
)

// upstreamStatus is a way in relay status --json.
type upstreamStatus struct {
	Name       string
	Live       bool
	Opened     int64
	Score      float64
	Probed     *time.Time
	ProbeError string `json:"probe_error"`
}

// upstreamsOf are the ways that a relay with that state shows.
func upstreamsOf(t *testing.T, state string) []upstreamStatus {
	t.Helper()
	out := runProgram(t, 20*time.Second, nil, relayBin, "status", "--json", "--state", state)
	var st struct{ Upstreams []upstreamStatus }
	if err := json.Unmarshal([]byte(out.stdout), &st); err != nil {
		t.Fatalf("relay status: got %v, want JSON\n%s", err, out.stdout+out.stderr)
	}
	return st.Upstreams
}

// TestEntryProbe has two fronts, of which the first is dead. It comes alive, and is
// returned to.
func TestEntryProbe(t *testing.T) {
	integration(t)
	t.Parallel()
	s := webRelay(t, false)
	l := s.links["xhttp"]
	dead := freePort(t)
	front := func(addr string) string { return "[[upstream.front]]\nconnect = [\"" + addr + "\"]\n" }
	state := t.TempDir()
	r := serve(t, state, true, nil, upstream(l.text())+"probe = \"10s\"\n"+front(dead)+front(net.JoinHostPort(l.host, l.port)))
	target := listen(t, echo)
	use := func() {
		t.Helper()
		if err := roundTrip(dialVia(t, r.proxy("socks5"), target), "hello", shortLimit); err != nil {
			t.Fatal(err)
		}
	}
	use()
	if ways := upstreamsOf(t, state); len(ways) != 2 || ways[0].Live || !ways[1].Live || ways[0].Score >= ways[1].Score {
		t.Fatalf("with the first front dead: got %+v, want the second in use with the better score", ways)
	}
	// A censor that does nothing stands where the first front leads.
	censor := newCensorAt(t, dead, net.JoinHostPort(l.host, l.port), censorRules{})
	for end := time.Now().Add(40 * time.Second); ; pause(t, time.Second) {
		opened := upstreamsOf(t, state)[0].Opened
		use()
		ways := upstreamsOf(t, state)
		if ways[0].Opened > opened {
			if ways[0].Probed == nil || ways[0].ProbeError != "" || len(censor.seen()) == 0 {
				t.Errorf("on the first front again: got %+v and %d connections, want a good probe before", ways, len(censor.seen()))
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after 40 s: got %+v, want the first front in use", ways)
		}
	}
}
