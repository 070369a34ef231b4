package interop

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed testdata/page.html
var page string

const parts = 20

// partSize is different for each part, so that no two can be mixed up unseen.
func partSize(i int) int64 { return int64(1000 + 7919*i) }

// TestChromium loads a page and its 20 parts in a real browser, by a name that
// only the relay can resolve.
func TestChromium(t *testing.T) {
	integration(t)
	port := partsSite(t)
	dns := startDNS(t)
	r := serve(t, t.TempDir(), true, dns, "")
	loadParts(t, port, r)
	names := dns.names()
	if !slices.Contains(names, knownName) {
		t.Errorf("names the relay asked for: got %q, want %q among them", names, knownName)
	}
	t.Logf("names the browser asked the relay for: %q", names)
}

// TestEntryChromium does the same by relay connect and its exit.
func TestEntryChromium(t *testing.T) {
	integration(t)
	port, e := partsSite(t), newExit(t)
	loadParts(t, port, connect(t, e.link(t, "xhttp", e.addr)))
	if names := e.dns.names(); !slices.Contains(names, knownName) {
		t.Errorf("names the exit asked for: got %q, want %q among them", names, knownName)
	}
}

// loadParts loads the page at knownName through the SOCKS5 port of a relay.
func loadParts(t *testing.T, port string, r *relay) {
	t.Helper()
	res := chromium(t, "http://"+knownName+":"+port+"/",
		"--proxy-server=socks5://"+r.proxy("socks5").Host,
		"--proxy-bypass-list=<-loopback>",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
	var total int64
	for i := range parts {
		total += partSize(i)
	}
	want := fmt.Sprintf(`<pre id="sum">%d parts, %d bytes</pre>`, parts, total)
	if res.code != 0 || !strings.Contains(res.stdout, want) {
		t.Errorf("got exit %d and\n%s\nwant exit 0 and %s\n%s", res.code, res.stdout, want, res.stderr)
	}
}

// partsSite has the page and its parts.
func partsSite(t *testing.T) (port string) {
	t.Helper()
	var once sync.Once
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, page)
	})
	mux.HandleFunc("GET /part/{i}", func(w http.ResponseWriter, req *http.Request) {
		i, err := strconv.Atoi(req.PathValue("i"))
		if err != nil || i < 0 || i >= parts {
			http.NotFound(w, req)
			return
		}
		_, _ = io.Copy(w, pattern(partSize(i)))
	})
	mux.HandleFunc("GET /done", func(http.ResponseWriter, *http.Request) { once.Do(func() { close(done) }) })
	mux.HandleFunc("GET /hold.png", func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-done:
		case <-req.Context().Done():
		}
	})
	origin := httptest.NewServer(mux)
	t.Cleanup(origin.Close)
	return strings.TrimPrefix(origin.Listener.Addr().String(), "127.0.0.1:")
}

// chromium prints the document at url as it is after the load event.
func chromium(t *testing.T, url string, more ...string) programResult {
	t.Helper()
	args := append(chromiumArgs(t.TempDir()), more...)
	return runProgram(t, 90*time.Second, nil, "chromium", append(args, "--dump-dom", url)...)
}

// chromiumArgs are those of a browser that asks nobody for anything by itself.
func chromiumArgs(home string) []string {
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage",
		"--user-data-dir=" + filepath.Join(home, "profile"),
	}
}
