package interop

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// exit is a relay whose web site the links of a user lead to. It resolves knownName.
type exit struct {
	*relay
	file, addr string
	dns        *dnsServer
	user       userRecord
}

func newExit(t *testing.T) *exit {
	t.Helper()
	e := &exit{file: filepath.Join(t.TempDir(), "relay.toml"), addr: freePort(t), dns: startDNS(t)}
	state := t.TempDir()
	text := fmt.Sprintf("state = %q\n[[listen]]\naddress = %q\ninbounds = [\"web\"]\n"+
		"[cover]\nname = %q\nsite = %q\ncertificate = \"self-signed\"\n[egress]\nallow = [\"127.0.0.0/8\"]\n[dns]\nservers = [%q]\n",
		state, e.addr, coverName, newCover(t).dir, e.dns.addr)
	if err := os.WriteFile(e.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start(t)
	e.user = userCommand(t, "add", "alice", state)
	return e
}

// start runs it, at the address and with the state that it had.
func (e *exit) start(t *testing.T) {
	t.Helper()
	e.relay = start(t, []string{"web"}, "serve", "--config", e.file)
}

// link is one of its user's, xhttp or ws, that leads to at, with other values in the
// query.
func (e *exit) link(t *testing.T, kind, at string, changes ...string) string {
	t.Helper()
	links := e.user.Links["vless-"+kind]
	if len(links) == 0 {
		t.Fatalf("links of alice: got %q, want one for vless-%s", e.user.Links, kind)
	}
	u, err := url.Parse(links[0])
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
	}
	u.Host, u.RawQuery = at, q.Encode()
	return u.String()
}

// text is the link as a relay reads it.
func (l shareLink) text() string {
	q := url.Values{}
	for key, value := range l.query {
		if value != "" {
			q.Set(key, value)
		}
	}
	u := url.URL{Scheme: "vless", User: url.User(l.id), Host: net.JoinHostPort(l.host, l.port), RawQuery: q.Encode()}
	return u.String()
}

// connect runs "relay connect", which is open to loopback only and reads its links from
// a file.
func connect(t *testing.T, links ...string) *relay {
	t.Helper()
	file := filepath.Join(t.TempDir(), "links")
	if err := os.WriteFile(file, []byte(strings.Join(links, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, []string{"socks5", "http"}, "connect", "--listen", "127.0.0.1:0", "--state", t.TempDir(), "--log-level", "info", "@"+file)
	r.keepsSecrets(links...)
	return r
}

// entry runs "relay serve" with upstreams, and more of the configuration. Its ports
// take everybody, and targets on loopback.
func entry(t *testing.T, upstreams, more string) *relay {
	t.Helper()
	return serve(t, t.TempDir(), true, nil, more+upstreams)
}

// upstream is the table of one link.
func upstream(link string) string { return fmt.Sprintf("[[upstream]]\nlink = %q\n", link) }

// keepsSecrets wants neither the secrets of links nor targets in what the relay has
// said when the test ends.
func (r *relay) keepsSecrets(links ...string) {
	r.t.Cleanup(func() {
		said := r.stderr.String() + r.stdout.String()
		for _, text := range links {
			u, err := url.Parse(text)
			if err != nil {
				r.t.Fatal(err)
			}
			path, _, _ := strings.Cut(u.Query().Get("path"), "?")
			for what, secret := range map[string]string{"user id": u.User.Username(), "path": strings.Trim(path, "/"), "target": knownName} {
				if strings.Contains(said, secret) {
					r.t.Errorf("log: got the %s of a link in it, want none", what)
				}
			}
		}
	})
}

// relayClient is our own client of VLESS, in the place of somebody else's.
func relayClient(t *testing.T, l shareLink, _ vlessWay) *url.URL {
	t.Helper()
	// Where a mode cannot say that a direction has ended, the other one goes on for
	// that long.
	return entry(t, upstream(l.text()), "[limits]\nfin_timeout = \"3s\"\n").proxy("socks5")
}

// attempts is how many connections a censor has seen since then.
func (c *censor) attempts(since time.Time) (n int) {
	for _, f := range c.seen() {
		if f.Began.After(since) {
			n++
		}
	}
	return n
}
