package interop

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEntrySilence has curl wait through an entry and its exit: for the rest of an answer,
// and between two requests on one connection. With the tag soak that is for longer than a
// minute.
func TestEntrySilence(t *testing.T) {
	integration(t)
	t.Parallel()
	const half = 100 << 10
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(2*half))
		_, _ = io.Copy(w, pattern(half))
		if req.URL.Path == "/silent" {
			_ = http.NewResponseController(w).Flush()
			pause(t, vlessSilent)
		}
		_, _ = io.Copy(w, pattern(half))
	}))
	t.Cleanup(site.Close)
	s := webRelay(t, false)
	var all sync.WaitGroup
	for _, w := range entryWays {
		if w.name == "relay ws" {
			continue // it is as the other one is
		}
		via := curlSOCKS5h.via(w.start(t, s.links[w.link].with(w.changes), w))
		all.Go(func() {
			out := runProgram(t, vlessSilent+time.Minute, nil, "curl", append(via, "-f", "-o", "/dev/null", "-w", "%{size_download}", site.URL+"/silent")...)
			if want := fmt.Sprint(2 * half); out.code != 0 || out.stdout != want {
				t.Errorf("%s, silence in an answer: got exit %d and %s bytes, want 0 and %s\n%s", w.name, out.code, out.stdout, want, out.stderr)
			}
		})
		all.Go(func() {
			// So many a minute: curl waits between them.
			rate := fmt.Sprintf("%d/h", time.Hour/vlessSilent)
			out := runProgram(t, vlessSilent+time.Minute, nil, "curl", append(via, "-f", "--rate", rate, "-o", "/dev/null", "-o", "/dev/null",
				"-w", "%{size_download} %{num_connects}\\n", site.URL+"/a", site.URL+"/b")...)
			if want := fmt.Sprintf("%d 1\n%d 0\n", 2*half, 2*half); out.code != 0 || out.stdout != want {
				t.Errorf("%s, silence between requests: got exit %d and %q, want 0 and %q\n%s", w.name, out.code, out.stdout, want, out.stderr)
			}
		})
	}
	all.Wait()
}

// impatient are limits of a server with little patience.
const impatient = "http2_max_concurrent_streams 8; keepalive_requests 20; keepalive_timeout 5s; keepalive_time 10s; client_body_timeout 5s;"

// impatientWays are how streams go through such a front, and whether one lives that says
// nothing up for longer than the front waits for a body: where uploads last it is cut.
var impatientWays = []struct {
	name, mode, lines string
	lives             bool
}{
	{"packet-up, buffered", "packet-up", "", true},
	{"packet-up", "packet-up", unbuffered, true},
	{"stream-up", "stream-up", unbuffered, false},
	{"stream-one", "stream-one", unbuffered, false},
	{"websocket", "websocket", unbuffered, true},
}

// TestEntryImpatient has nginx in a CDN's place that ends connections after a few requests
// or seconds, takes few at a time, and does not wait for uploads. Nothing fails but the
// streams that it cuts, and those end soon.
func TestEntryImpatient(t *testing.T) {
	integration(t)
	s := webRelay(t, true)
	for _, w := range impatientWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			front := cdnFront{"impatient", "kept", w.lines, impatient, nil, false}.start(t, s.links["xhttp"])
			r := entry(t, upstream(s.links["xhttp"].text())+frontOf(front, w.mode), "[limits]\nfin_timeout = \"3s\"\n")
			o := startOrigin(t, false)
			idle := dialVia(t, r.proxy("socks5"), listen(t, echo))
			if err := roundTrip(idle, "hello", shortLimit); err != nil {
				t.Fatal(err)
			}
			silent := time.Now()
			manySmall(t, r, o)
			if err := get(r, fmt.Sprintf("%s/bytes/%d", o.URL, entryBytes), whole(entryBytes)); err != nil {
				t.Errorf("20 MiB down: %v", err)
			}
			// nginx 1.22 forgets now and then, where processors are busy, to open the
			// window of an upload again that it passes on as it comes, and ends it
			// after client_body_timeout.
			if err := put(r, o.URL+"/sum", entryBytes); err != nil {
				t.Logf("20 MiB up: %v, once more", err)
				if err := put(r, o.URL+"/sum", entryBytes); err != nil {
					t.Errorf("20 MiB up: %v", err)
				}
			}
			pause(t, 7*time.Second-time.Since(silent))
			began := time.Now()
			err := roundTrip(idle, "hello", shortLimit)
			took := time.Since(began)
			switch {
			case w.lives && err != nil:
				t.Errorf("a stream that was silent for 7 s: got %v, want it to live", err)
			case !w.lives && err == nil:
				t.Error("a stream that was silent for 7 s: got it alive, want it cut: say so in the table")
			case took > 5*time.Second:
				t.Errorf("a stream that was silent for 7 s: got %v after %v, want it within 5 s", err, took)
			}
			t.Logf("silent stream: %v after %v", err, took)
		})
	}
}

// get makes a request with a connection of its own.
func get(r *relay, link string, check func(io.Reader) error) error {
	res, err := manyRequests(r.proxy("socks5")).Get(link)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return check(res.Body)
}

// put uploads so many bytes.
func put(r *relay, link string, size int64) error {
	req, err := http.NewRequest(http.MethodPut, link, pattern(size))
	if err != nil {
		return err
	}
	res, err := manyRequests(r.proxy("socks5")).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if want := fmt.Sprintf("%d %s", size, patternSum(size)); err == nil && string(b) != want {
		err = fmt.Errorf("got %q, want %q", b, want)
	}
	return err
}

// manySmall makes 300 requests, ten at a time.
func manySmall(t *testing.T, r *relay, o *originSite) {
	t.Helper()
	const requests, atOnce = 300, 10
	var all sync.WaitGroup
	var next, failed atomic.Int32
	began := time.Now()
	for range atOnce {
		all.Go(func() {
			for next.Add(1) <= requests {
				if err := get(r, o.URL+"/hello", whole(len(greeting))); err != nil {
					failed.Add(1)
					t.Logf("a small request: %v", err)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d requests: got %d failed, want none", requests, n)
	}
	t.Logf("%d requests: %d failed, %v", requests, failed.Load(), time.Since(began).Round(time.Millisecond))
}
