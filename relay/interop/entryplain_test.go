package interop

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/transport/browser"
)

const (
	entryBytes = 20 << 20 // of a transfer through an entry
	// mostAtOnce is how many connections an entry may have for its streams: a
	// browser's two or three, where censors count six.
	mostAtOnce = 3
)

// entryWays are the modes of our own client.
var entryWays = []vlessWay{
	{name: "relay stream-one", link: "xhttp", changes: map[string]string{"mode": "stream-one"}, start: relayClient, sample: true},
	{name: "relay stream-up", link: "xhttp", changes: map[string]string{"mode": "stream-up"}, start: relayClient},
	{name: "relay packet-up", link: "xhttp", changes: map[string]string{"mode": "packet-up"}, start: relayClient, sample: true},
	{name: "relay ws", link: "ws", changes: map[string]string{"ed": ""}, start: relayClient},
	{name: "relay ws early", link: "ws", changes: ed2048, start: relayClient, sample: true},
}

// TestEntry has a relay as the client of another one, and of Xray: what a person gets
// from the clients of TestVLESS, an entry has to give.
func TestEntry(t *testing.T) {
	integration(t)
	for _, server := range vlessServers {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			s.down, s.up = entryBytes, entryBytes
			for _, w := range entryWays {
				if s.sample && !w.sample {
					continue
				}
				t.Run(w.name, func(t *testing.T) { s.use(t, w, vlessScenarios) })
			}
		})
	}
	t.Run("sing-box", func(t *testing.T) {
		s := singServer(t)
		s.down, s.up = entryBytes, entryBytes
		for _, w := range singWays {
			t.Run(w.name, func(t *testing.T) { s.use(t, w, vlessScenarios) })
		}
	})
}

// singWays are those of them that sing-box's server has, each by the listener that it
// is for.
var singWays = []vlessWay{
	{name: "relay ws", link: "ws", changes: map[string]string{"ed": ""}, start: relayClient},
	{name: "relay ws early", link: "ws early", changes: ed2048, start: relayClient},
}

// TestConnect is a person's computer: relay connect, and programs that use it.
func TestConnect(t *testing.T) {
	integration(t)
	t.Parallel()
	e := newExit(t)
	c := newCensor(t, e.addr, censorRules{})
	r := connect(t, e.link(t, "xhttp", c.addr))
	o := startOrigin(t, false)
	site := named(o)
	file := filepath.Join(t.TempDir(), "20MiB.bin")
	if err := os.WriteFile(file, patternBytes(entryBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []curlMode{curlSOCKS5h, curlConnect} {
		t.Run(mode.name, func(t *testing.T) {
			via := mode.via(r.proxy(mode.protocol))
			curl(t, nil, append(via, site+"/hello")...).check(t, greeting)
			curl(t, nil, append(via, "-T", file, site+"/sum")...).check(t, fmt.Sprintf("%d %s", entryBytes, patternSum(entryBytes)))
			curlFile(t, via, fmt.Sprintf("%s/bytes/%d", site, entryBytes), patternSum(entryBytes))
			if res := curl(t, nil, append(via, "http://"+unknownName+"/")...); res.ExitCode == 0 {
				t.Errorf("a name that the exit does not know: got status %d, want an error", res.HTTPCode)
			}
		})
	}
	t.Run("together", func(t *testing.T) {
		curlTogether(t, curlSOCKS5h.via(r.proxy("socks5")), o, site)
	})
	if got := c.peak(); got > mostAtOnce {
		t.Errorf("connections at a time: got %d, want at most %d", got, mostAtOnce)
	}
	ja4 := []string{browser.Bundled().TLS.JA4(false), browser.Bundled().TLS.JA4(true)}
	for _, f := range c.seen() {
		if f.Name != coverName || !slices.Contains(ja4, f.fingerprint(t)) {
			t.Errorf("connection: got name %q and JA4 %s, want %s and one of %q", f.Name, f.fingerprint(t), coverName, ja4)
		}
	}
	if got := e.dns.names(); !slices.Equal(got, []string{knownName, unknownName}) {
		t.Errorf("names asked for by the exit: got %q, want the targets", got)
	}
}

// patternSum is the hash of n bytes of the pattern.
func patternSum(n int64) string {
	h := sha256.New()
	_, _ = io.Copy(h, pattern(n))
	return sum(h)
}

// curlFile downloads and compares the hash.
func curlFile(t *testing.T, via []string, link, want string) {
	t.Helper()
	h := sha256.New()
	errs := new(lockedBuffer)
	if code := runTo(t, time.Minute, nil, h, errs, "curl", append(via, "-f", link)...); code != 0 || sum(h) != want {
		t.Errorf("%s: got exit %d, sum %s; want exit 0, sum %s\n%s", link, code, sum(h), want, errs)
	}
}

// curlTogether holds 50 requests at the origin until the last of them has come.
func curlTogether(t *testing.T, via []string, o *originSite, site string) {
	t.Helper()
	dir := t.TempDir()
	res := runProgram(t, time.Minute, nil, "curl", append(via, "-f", "-Z", "--parallel-immediate", "--parallel-max", "50",
		"-o", filepath.Join(dir, "#1"), site+"/together/[1-50]")...)
	if res.code != 0 {
		t.Errorf("got exit %d, want 0\n%s", res.code, res.stderr)
	}
	for i := 1; i <= o.together; i++ {
		got, _ := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		if want := fmt.Sprintf("number %d", i); string(got) != want {
			t.Errorf("request %d: got %q, want %q", i, got, want)
		}
	}
}

// TestEntryDatagrams sends what TestPythonDatagrams sends, through an entry and its
// exit, which resolves the name.
func TestEntryDatagrams(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, kind := range []string{"xhttp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			e, echo := newExit(t), echoDatagrams(t).Port()
			state := t.TempDir()
			userCommand(t, "add", "bob", state)
			r := serve(t, state, false, nil, "[socks5]\nudp = true\n"+upstream(e.link(t, kind, e.addr)))
			via := r.as("socks5", userCommand(t, "show", "bob", state).credential(t, "socks5"))
			password, _ := via.User.Password()
			_, dnsPort, _ := net.SplitHostPort(e.dns.addr)
			res := runProgram(t, time.Minute, nil, "/usr/bin/python3", filepath.Join("testdata", "datagrams.py"),
				via.Hostname(), via.Port(), via.User.Username(), password, fmt.Sprint(echo), dnsPort, knownName,
				"1", "100", "1200", "1472", "8192") // no empty ones, which XUDP has not, and none longer than clients of it take
			if res.code != 0 || res.stdout != "ok\n" {
				t.Errorf("got exit %d, %q, want exit 0, ok\n%s", res.code, res.stdout, res.stderr)
			}
		})
	}
}

// TestTunnel does what relay quickstart --tunnel says: it pastes the line that is printed.
// The target is another one, as this test leaves the machine alone.
func TestTunnel(t *testing.T) {
	integration(t)
	t.Parallel()
	dir := t.TempDir()
	r := start(t, []string{"socks5", "http"}, "quickstart", "--tunnel", "--dir", dir, "--listen", "127.0.0.1:0", "--egress-allow", "127.0.0.0/8")
	const theirs = "https://www.example.org/"
	printed := ""
	for end := time.Now().Add(10 * time.Second); printed == "" && time.Now().Before(end); pause(t, 20*time.Millisecond) {
		for line := range strings.Lines(r.stdout.String()) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") && strings.HasSuffix(line, theirs) {
				printed = line
			}
		}
	}
	if printed == "" {
		t.Fatalf("got no line with curl, want one:\n%s", r.stdout)
	}
	o := startOrigin(t, true)
	line := strings.TrimSuffix(printed, theirs) + "-sS -k --noproxy '' " + o.URL + "/hello"
	if res := runProgram(t, time.Minute, nil, "sh", "-c", line); res.code != 0 || res.stdout != greeting {
		t.Errorf("%s: got exit %d and %q, want the page\n%s", line, res.code, res.stdout, res.stderr)
	}
	// A stranger has the address only.
	l, err := parseShareLink(userCommand(t, "show", "alice", filepath.Join(dir, "exit")).Links["vless-xhttp"][0])
	if err != nil {
		t.Fatal(err)
	}
	at := net.JoinHostPort(l.host, l.port)
	for path, want := range map[string]int{"/": 200, "/nothing/": 404} {
		res := curl(t, nil, "-q", "-sS", "-k", "--noproxy", "*", "--connect-to", "::"+at, "https://"+l.name()+path)
		if res.ExitCode != 0 || res.HTTPCode != want || res.HTTPVersion != "2" || want == 200 && !strings.Contains(res.Body, "<h1>Welcome</h1>") {
			t.Errorf("a stranger at %s: got exit %d (%s), HTTP/%s, status %d, %q, want the site over HTTP/2", path, res.ExitCode, res.ErrorMsg, res.HTTPVersion, res.HTTPCode, res.Body)
		}
	}
}
