package caddy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

type request struct {
	name   string
	pieces [][]byte
}

func one(name, s string) request { return request{name, pieces(s)} }

// files are requests that the folder answers.
func files() []request {
	var all []request
	for _, path := range []string{
		"/", "/index.html", "/file.txt", "/app.js", "/style.css", "/data.json", "/img.png", "/noext", "/odd.zzzz",
		"/zero.txt", "/.hidden", "/dir", "/dir/", "/dir?a=b", "/dir/?a=b", "/txt/", "/txt", "/empty", "/empty/",
		"/isdir/", "/isdir", "/isdir/index.html", "/missing", "/missing/", "/file.txt/", "/file.txt/x", "/file.txt?x#y",
		"/../file.txt", "/%2e%2e/file.txt", "/dir/../file.txt", "/dir/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd",
		"//file.txt", "//dir", "//example.com", "//example.com/", "/./file.txt", "/dir//index.html", "/dir//", "/%2e",
		"/%00", "/file.txt%00", "/a%20b/%c3%bc.txt", "/a%20b/%fc.txt", "/a b", "/\\..\\file.txt", "/%5c..%5cfile.txt",
		"/" + strings.Repeat("n", 255), "/" + strings.Repeat("n", 256), "/" + strings.Repeat("n/", 2100), "/%zz", "/%",
		"/link.txt", "/dir/up.txt", "/loop", "/gone", "/link.txt/", "/FILE.TXT", "/file.txt ", "/file.txt%20", "/?", "/?a;b", "/large.bin",
		"/Caddyfile", "/.well-known/acme-challenge/x", "/.well-known/acme-challenge", "/.well-known/pki-validation/x.txt",
	} {
		all = append(all, one("GET "+path[:min(len(path), 60)], get("GET", path)))
	}
	for _, path := range []string{"/", "/dir", "/missing", "/file.txt", "/zero.txt"} {
		all = append(all, one("HEAD "+path, get("HEAD", path)))
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "get", strings.Repeat("M", 32), strings.Repeat("M", 33)} {
		for _, path := range []string{"/", "/missing", "/dir"} {
			all = append(all, one(method+" "+path, get(method, path)))
		}
	}
	tag := `"` + strconv.FormatInt(modified.UnixNano(), 36) + strconv.FormatInt(int64(len(fileText)), 36) + `"`
	for _, h := range []string{
		"Range: bytes=0-4", "Range: bytes=5-", "Range: bytes=-5", "Range: bytes=0-", "Range: bytes=999-", "Range: bytes=0-1,4-5",
		"Range: bytes=4-1", "Range: x", "Range: bytes=0-99999", "If-None-Match: *", `If-None-Match: "x"`, "If-None-Match: " + tag,
		"If-Modified-Since: Wed, 04 Mar 2026 05:06:07 GMT", "If-Modified-Since: Wed, 04 Mar 2020 05:06:07 GMT", "If-Modified-Since: x",
		`If-Match: "x"`, "If-Match: *", "If-Unmodified-Since: Wed, 04 Mar 2020 05:06:07 GMT", "If-Range: x\r\nRange: bytes=0-1",
		"Accept-Encoding: gzip", "Accept-Encoding: br, zstd, gzip", "Accept: application/json", "Upgrade: h2c", "Upgrade: websocket",
		"Expect: 100-continue", "Expect: something", "Content-Length: 0", "Transfer-Encoding: identity", "TE: trailers", "X: " + strings.Repeat("x", 5000),
	} {
		all = append(all, one("GET file, "+h[:min(len(h), 60)], get("GET", "/file.txt", h)))
		all = append(all, one("POST file, "+h[:min(len(h), 60)], get("POST", "/file.txt", h)))
	}
	return all
}

// targets are requests for hosts and URLs that are out of the ordinary.
func targets() []request {
	h := "Host: " + name
	return []request{
		one("host with port", lines("GET / HTTP/1.1", h+":443", "Connection: close")),
		one("host in capitals", lines("GET / HTTP/1.1", "Host: WWW.Example.ORG", "Connection: close")),
		one("second name", lines("GET /dir HTTP/1.1", "Host: "+second, "Connection: close")),
		one("third name", lines("GET /dir?a HTTP/1.1", "Host: "+third+":443", "Connection: close")), one("third name in capitals", lines("GET / HTTP/1.1", "Host: Static.EXAMPLE.net", "Connection: close")),
		one("absolute, second name", lines("GET https://"+second+"/file.txt HTTP/1.1", h, "Connection: close")),
		one("host with dot", lines("GET / HTTP/1.1", h+".", "Connection: close")),
		one("other host", lines("GET / HTTP/1.1", "Host: example.com", "Connection: close")),
		one("other host, file", lines("GET /missing HTTP/1.1", "Host: example.com", "Connection: close")),
		one("other host, POST", lines("POST / HTTP/1.1", "Host: example.com", "Connection: close", "Content-Length: 3")+"abc"),
		one("other host, HEAD", lines("HEAD / HTTP/1.1", "Host: example.com", "Connection: close")),
		one("address as host", lines("GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: close")),
		one("IPv6 host", lines("GET / HTTP/1.1", "Host: [::1]:443", "Connection: close")),
		one("no host", lines("GET / HTTP/1.1", "Connection: close")),
		one("empty host", lines("GET / HTTP/1.1", "Host:", "Connection: close")),
		one("empty host, missing file", lines("GET /x HTTP/1.1", "Host: ", "Connection: close")),
		one("two hosts", lines("GET / HTTP/1.1", h, h, "Connection: close")),
		one("bad host", lines("GET / HTTP/1.1", "Host: a b/c", "Connection: close")),
		one("HTTP/1.0", lines("GET / HTTP/1.0", h)),
		one("HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n"),
		one("HTTP/1.0 keep-alive", lines("GET / HTTP/1.0", h, "Connection: keep-alive")),
		one("HTTP/1.0 chunked", lines("POST / HTTP/1.0", h, "Transfer-Encoding: chunked")+"0\r\n\r\n"),
		one("HTTP/0.9", "GET /\r\n\r\n"), one("no version", "GET / \r\n\r\n"), one("HTTP/1.2", lines("GET / HTTP/1.2", h, "Connection: close")),
		one("HTTP/2.0", lines("GET / HTTP/2.0", h)), one("HTTP/3.7", lines("GET / HTTP/3.7", h)), one("HTTP/x", lines("GET / HTTP/x", h)),
		one("absolute", lines("GET http://"+name+"/file.txt HTTP/1.1", h, "Connection: close")),
		one("absolute https", lines("GET https://"+name+"/file.txt HTTP/1.1", "Host: example.com", "Connection: close")),
		one("absolute, other host", lines("GET http://example.com/ HTTP/1.1", h, "Connection: close")),
		one("absolute, colons", lines("GET http://a:b:c/ HTTP/1.1", h, "Connection: close")),
		one("absolute, user", lines("GET http://u:p@"+name+"/dir HTTP/1.1", h, "Connection: close")),
		one("absolute, folder", lines("GET http://"+name+" HTTP/1.1", h, "Connection: close")),
		one("opaque", lines("GET http:file.txt HTTP/1.1", h, "Connection: close")),
		one("OPTIONS *", lines("OPTIONS * HTTP/1.1", h, "Connection: close")),
		one("OPTIONS *, body", lines("OPTIONS * HTTP/1.1", h, "Connection: close", "Content-Length: 2")+"ab"),
		one("OPTIONS *, 5 KB", lines("OPTIONS * HTTP/1.1", h, "Content-Length: 5000")+strings.Repeat("x", 5000)), one("OPTIONS *, chunked", lines("OPTIONS * HTTP/1.1", h, "Transfer-Encoding: chunked")+"3\r\nabc\r\n0\r\n\r\n"+get("GET", "/")),
		one("OPTIONS *, 900 KB", lines("OPTIONS * HTTP/1.1", "Host: x", "Content-Length: 900000")+strings.Repeat("x", 900000)), one("OPTIONS /", lines("OPTIONS / HTTP/1.1", "Host: x", "Connection: close")),
		one("GET *", lines("GET * HTTP/1.1", h, "Connection: close")),
		one("CONNECT", lines("CONNECT "+name+":443 HTTP/1.1", h, "Connection: close")),
		one("CONNECT elsewhere", lines("CONNECT example.com:443 HTTP/1.1", "Host: example.com:443", "Connection: close")),
		one("CONNECT, colons", lines("CONNECT ::1:443 HTTP/1.1", h, "Connection: close")),
		one("CONNECT with path", lines("CONNECT /file.txt HTTP/1.1", h, "Connection: close")),
		one("relative", lines("GET file.txt HTTP/1.1", h, "Connection: close")),
		one("fragment", lines("GET /file.txt#x HTTP/1.1", h, "Connection: close")),
	}
}

// framing are requests whose lines or bodies are out of the ordinary.
func framing() []request {
	h := "Host: " + name
	return []request{
		one("chunked", lines("POST /file.txt HTTP/1.1", h, "Connection: close", "Transfer-Encoding: chunked")+"3\r\nabc\r\n0\r\n\r\n"),
		one("bad chunk", lines("POST /file.txt HTTP/1.1", h, "Transfer-Encoding: chunked")+"zz\r\nabc\r\n0\r\n\r\n"),
		one("gzip, chunked", lines("POST /file.txt HTTP/1.1", h, "Transfer-Encoding: gzip, chunked")+"0\r\n\r\n"),
		one("length and chunked", lines("POST /file.txt HTTP/1.1", h, "Content-Length: 3", "Transfer-Encoding: chunked")+"0\r\n\r\n"),
		one("two lengths", lines("POST /file.txt HTTP/1.1", h, "Content-Length: 3", "Content-Length: 4")+"abcd"),
		one("same length twice", lines("POST /file.txt HTTP/1.1", h, "Content-Length: 3", "Content-Length: 3")+"abc"),
		one("bad length", lines("POST /file.txt HTTP/1.1", h, "Content-Length: -3")),
		one("plus length", lines("POST /file.txt HTTP/1.1", h, "Content-Length: +3")+"abc"),
		one("short body", lines("POST /file.txt HTTP/1.1", h, "Content-Length: 30")+"abc"),
		one("large body", lines("POST /file.txt HTTP/1.1", h, "Content-Length: 200000")+strings.Repeat("x", 200000)),
		one("huge body", lines("POST /file.txt HTTP/1.1", h, "Content-Length: 900000")+strings.Repeat("x", 900000)),
		one("huge body, missing", lines("POST /missing HTTP/1.1", h, "Content-Length: 900000")+strings.Repeat("x", 900000)),
		one("GET with body", lines("GET /file.txt HTTP/1.1", h, "Content-Length: 3")+"abc"),
		one("pipelined", lines("GET /file.txt HTTP/1.1", h)+lines("GET /missing HTTP/1.1", h)+lines("GET / HTTP/1.1", h, "Connection: close")),
		one("pipelined behind an error", lines("GET /file.txt HTTP/1.1", h)+"rubbish\r\n\r\n"+lines("GET / HTTP/1.1", h)),
		{"kept alive", pieces(lines("GET /file.txt HTTP/1.1", h), lines("GET /missing HTTP/1.1", h), lines("POST / HTTP/1.1", h, "Content-Length: 1")+"x")},
		{"in pieces", pieces("GE", "T / HT", "TP/1.1\r\nHo", "st: "+name+"\r\n\r", "\n")},
		{"expects, sends later", pieces(lines("POST /file.txt HTTP/1.1", h, "Expect: 100-continue", "Content-Length: 3"), "abc")},
		one("only newline", "\r\n\r\n"), one("newline first", "\r\n"+get("GET", "/")), one("LF only", "GET /file.txt HTTP/1.1\nHost: "+name+"\nConnection: close\n\n"),
		one("no colon", lines("GET / HTTP/1.1", h, "rubbish")), one("space before colon", lines("GET / HTTP/1.1", h, "A : b")),
		one("folded", lines("GET / HTTP/1.1", h, "A: b", " c", "Connection: close")), one("folded first", lines("GET / HTTP/1.1", " A: b", h)),
		one("zero byte", lines("GET / HTTP/1.1", h, "A: \x00")), one("bad name", lines("GET / HTTP/1.1", h, "A@: b")), one("8 bit", lines("GET / HTTP/1.1", h, "A: \xff", "Connection: close")),
		one("bad method", lines("G@T / HTTP/1.1", h)), one("space first", lines(" GET / HTTP/1.1", h)), one("two spaces", lines("GET  / HTTP/1.1", h)),
		one("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), one("preface, broken", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), one("h2c upgrade", lines("GET /file.txt HTTP/1.1", h, "Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")),
		one("many headers", get("GET", "/file.txt", strings.Repeat("A: b\r\n", 3000)+"B: c")), one("header of 1 MB", get("GET", "/file.txt", "A: "+strings.Repeat("x", 1<<20))),
		one("header of 1.1 MB", get("GET", "/file.txt", "A: "+strings.Repeat("x", 1100<<10))), one("line of 1.1 MB", "GET /"+strings.Repeat("x", 1100<<10)),
		one("TLS hello", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"), one("nothing", ""), one("half a request", "GET / HTTP/1.1\r\nHo"),
	}
}

func TestHTTP1(t *testing.T) {
	for _, q := range slices.Concat(files(), targets(), framing()) {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			compare(t, secure, script{pieces: q.pieces, tls: clientConfig("http/1.1")})
		})
	}
}

// TestHTTP1Ended is TestHTTP1 with clients that close their half behind the
// request, and without ALPN.
func TestHTTP1Ended(t *testing.T) {
	for _, q := range slices.Concat(targets(), framing()) {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			compare(t, secure, script{pieces: q.pieces, tls: clientConfig(), half: true})
		})
	}
}

// TestPlain is port 80.
func TestPlain(t *testing.T) {
	for _, q := range slices.Concat(files()[:70], targets(), framing()) {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			compare(t, plain, script{pieces: q.pieces})
		})
	}
}
