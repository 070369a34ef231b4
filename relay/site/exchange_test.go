package site

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// claimOurs claims /ours, whose answer is empty, and what else goes to h.
func claimOurs(h http.Handler) []Claim {
	return []Claim{func(r *http.Request) (http.Handler, bool) {
		if r.URL.Path == "/ours" {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), true
		}
		return h, h != nil && strings.HasPrefix(r.URL.Path, "/handler")
	}}
}

// wire is an HTTP/2 connection to a site that sends what a test says.
type wire struct {
	*http2.Framer
	t    *testing.T
	enc  *hpack.Encoder
	buf  strings.Builder
	next uint32
}

// newWire connects; ours says that its first request is a user's.
func newWire(t *testing.T, s *Site, ours bool) *wire {
	t.Helper()
	c := tls.Client(visit(t, s.Serve), clientTLS(s, "h2"))
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	w := &wire{Framer: http2.NewFramer(c, c), t: t, next: 1}
	w.AllowIllegalWrites = true
	w.enc = hpack.NewEncoder(&w.buf)
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatalf("preface: got %v, want nil", err)
	}
	_ = w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8 << 20})
	_ = w.WriteWindowUpdate(0, 64<<20)
	path := "/missing"
	if ours {
		path = "/ours"
	}
	w.ask(":method", "GET", ":scheme", "https", ":authority", siteName, ":path", path)
	return w
}

// ask sends a request and returns its answer as text.
func (w *wire) ask(fields ...string) string {
	w.t.Helper()
	return w.send("", fields...)
}

// send is ask with a body; "-" is one that is empty.
func (w *wire) send(body string, fields ...string) string {
	w.t.Helper()
	return w.answer(w.begin(body, fields...))
}

// begin is send without the answer.
func (w *wire) begin(body string, fields ...string) (id uint32) {
	id = w.next
	w.next += 2
	w.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = w.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(w.buf.String()), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		body = strings.TrimPrefix(body, "-")
		for len(body) > 16384 {
			_ = w.WriteData(id, false, []byte(body[:16384]))
			body = body[16384:]
		}
		_ = w.WriteData(id, true, []byte(body))
	}
	return id
}

// answer is what comes for a stream: heads with their fields in order, the body and
// the end.
func (w *wire) answer(id uint32) string {
	w.t.Helper()
	var out strings.Builder
	length, sum := 0, uint32(0)
	for {
		f, err := w.ReadFrame()
		if err != nil {
			return out.String() + fmt.Sprintf("the connection ends: %v\n", err)
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, f := range f.Fields {
				if f.Name == "date" || f.Name == "x-date" {
					f.Value = "-"
				}
				fmt.Fprintf(&out, "%s: %s\n", f.Name, f.Value)
			}
			if !f.StreamEnded() {
				fmt.Fprintf(&out, "--\n")
				continue
			}
		case *http2.DataFrame:
			length += len(f.Data())
			for _, b := range f.Data() {
				sum = sum*31 + uint32(b)
			}
			if length < 200 {
				fmt.Fprintf(&out, "%s", f.Data())
			}
			if !f.StreamEnded() {
				continue
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return out.String() + "a reset\n"
			}
			return out.String() + fmt.Sprintf("%d bytes, %x, the end\n", length, sum)
		default:
			continue
		}
		return out.String() + fmt.Sprintf("%d bytes, %x, the end\n", length, sum)
	}
}

// get is the head of a GET.
func get(path string, more ...string) []string {
	return method("GET", path, more...)
}

func method(m, path string, more ...string) []string {
	return append([]string{":method", m, ":scheme", "https", ":authority", siteName, ":path", path}, more...)
}

// same compares the answers of both servers to the same requests.
func same(t *testing.T, s *Site, requests map[string][]string, bodies map[string]string) {
	t.Helper()
	ours, theirs := newWire(t, s, true), newWire(t, s, false)
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		t.Run(name, func(t *testing.T) {
			got, want := ours.send(bodies[name], requests[name]...), theirs.send(bodies[name], requests[name]...)
			if got != want {
				t.Errorf("got\n%s\nwant, from the other server\n%s", got, want)
			}
			if strings.Contains(got+want, "connection ends") {
				ours, theirs = newWire(t, s, true), newWire(t, s, false)
			}
		})
	}
}

// TestExchangeFolder: a user's connection shows the pages that others do.
func TestExchangeFolder(t *testing.T) {
	big := strings.Repeat("0123456789", 300<<10/10)
	dir := writeFolder(t, map[string]string{
		"index.html": "<p>page\n", "folder/index.html": "in it\n", "style.css": "p{}", "none": "no type at all\n", "big.bin": big,
		"middle.txt": strings.Repeat("x", 5000), "empty.txt": "",
	})
	s := newSite(t, Options{Folder: dir, Claims: claimOurs(nil)})
	theirs := newWire(t, s, false)
	var etag string
	for _, line := range strings.Split(theirs.ask(get("/style.css")...), "\n") {
		if v, ok := strings.CutPrefix(line, "etag: "); ok {
			etag = v
		}
	}
	same(t, s, map[string][]string{
		"a page": get("/"), "HEAD": method("HEAD", "/"), "a file": get("/style.css"), "HEAD of a file": method("HEAD", "/big.bin"),
		"no type": get("/none"), "big": get("/big.bin"), "middle": get("/middle.txt"), "empty": get("/empty.txt"),
		"a range": get("/big.bin", "range", "bytes=5-9"), "two ranges": get("/big.bin", "range", "bytes=5-4,1"),
		"a range that is none": get("/big.bin", "range", "bytes=999999999-"), "the end": get("/big.bin", "range", "bytes=-3"),
		"404": get("/missing"), "HEAD of nothing": method("HEAD", "/missing"), "redirect": get("/folder"), "in a folder": get("/folder/"),
		"redirect to a file": get("/style.css/"), "if none match": get("/style.css", "if-none-match", etag), "if match": get("/style.css", "if-match", `"x"`),
		"if modified": get("/style.css", "if-modified-since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)),
		"POST":        method("POST", "/"), "POST with a body": method("POST", "/style.css"), "PUT": method("PUT", "/style.css"), "DELETE": method("DELETE", "/"),
		"a long method": method(strings.Repeat("M", 40), "/"), "OPTIONS": method("OPTIONS", "/"), "OPTIONS *": method("OPTIONS", "*"), "GET *": get("*"),
		"OPTIONS * with a body": method("OPTIONS", "*"), "TRACE": method("TRACE", "/"),
		"a wrong host":  {":method", "GET", ":scheme", "https", ":authority", "example.com", ":path", "/"},
		"no host":       {":method", "GET", ":scheme", "https", ":path", "/"},
		"Host alone":    {":method", "GET", ":scheme", "https", ":path", "/", "host", siteName},
		"Host as well":  get("/", "host", siteName),
		"another Host":  get("/", "host", "example.com"),
		"two Hosts":     get("/", "host", siteName, "host", siteName),
		"host and port": {":method", "GET", ":scheme", "https", ":authority", siteName + ":443", ":path", "/"},
		"a user":        {":method", "GET", ":scheme", "https", ":authority", "me@" + siteName, ":path", "/"},
		"a bad host":    {":method", "GET", ":scheme", "https", ":authority", "a b", ":path", "/"},
		"http":          {":method", "GET", ":scheme", "http", ":authority", siteName, ":path", "/"},
		"ftp":           {":method", "GET", ":scheme", "ftp", ":authority", siteName, ":path", "/"},
		"CONNECT path":  method("CONNECT", "/"),
		"cookies":       get("/", "cookie", "a=b", "cookie", "c=d"), "no slash": get("style.css"), "dots": get("/folder/../style.css"),
		"escapes": get("/%73tyle.css"), "a bad escape": get("/%zz"), "a query": get("/?a=b"), "a fragment": get("/#a"), "two slashes": get("//style.css"),
		"a URL": get("https://" + siteName + "/"), "a dot file": get("/.htaccess"), "a zero": get("/%00"),
		"a length": method("POST", "/", "content-length", "5"), "a length that is none": method("POST", "/", "content-length", "x"),
		"te": get("/", "te", "trailers"), "expect": method("POST", "/", "expect", "100-continue"),
	}, map[string]string{"POST with a body": "hello", "PUT": strings.Repeat("x", 100000), "a length": "hello", "OPTIONS * with a body": "x", "expect": "hello"})
	// The other server does so as well, or answers before the body has come.
	if got := newWire(t, s, true).send("hello", method("POST", "/", "content-length", "x")...); got != "a reset\n" {
		t.Errorf("a body of no length: got\n%s\nwant a reset", got)
	}
}
