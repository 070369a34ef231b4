package caddy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// answer is the upstream of both proxies. It shows what it was asked.
func answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch r.URL.Path {
	case "/server":
		h.Set("Server", "origin")
		h.Set("Via", "1.0 other")
		h.Set("Alt-Svc", "h3")
		h.Set("Keep-Alive", "timeout=5")
	case "/early":
		h.Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	case "/status":
		w.WriteHeader(http.StatusTeapot)
	case "/events":
		h.Set("Content-Type", "text/event-stream")
	case "/trailer":
		h.Set("Trailer", "T")
		defer h.Set("T", "t")
	case "/late":
		defer h.Set(http.TrailerPrefix+"T", "t")
	case "/abort":
		h.Set("Content-Length", "100")
		_, _ = w.Write([]byte("short"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "/nothing":
		panic(http.ErrAbortHandler)
	case "/pieces":
		for range 3 {
			_, _ = w.Write([]byte("piece\n"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(100 * time.Millisecond)
		}
		return
	case "/large":
		_, _ = w.Write([]byte(strings.Repeat("0123456789abcdef", 10000)))
		return
	case "/redirect":
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
		return
	case "/upgrade":
		switchProtocol(w, r)
		return
	}
	var asked []string
	for name, values := range r.Header {
		for _, v := range values {
			asked = append(asked, name+": "+v)
		}
	}
	slices.Sort(asked)
	_, _ = fmt.Fprintf(w, "%s %s %s %s\n%s\n", r.Method, r.RequestURI, r.Host, r.Proto, strings.Join(asked, "\n"))
}

func switchProtocol(w http.ResponseWriter, r *http.Request) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") +
		"\r\nSec-WebSocket-Accept: x\r\nServer: origin\r\n\r\n"))
	line, _ := buf.ReadString('\n')
	_, _ = c.Write([]byte("echo " + line))
}

func TestProxy(t *testing.T) {
	host := "Host: " + proxyName
	var all []request
	for _, path := range []string{"/", "/a%20b/c?d=e;f", "/server", "/early", "/status", "/events", "/trailer", "/late", "/abort", "/nothing", "/pieces", "/large", "/redirect", "//x//y", "/%zz"} {
		all = append(all, one("GET "+path, lines("GET "+path+" HTTP/1.1", host, "Connection: close")),
			one("gzip "+path, lines("GET "+path+" HTTP/1.1", host, "Connection: close", "Accept-Encoding: gzip")))
	}
	for _, method := range []string{"HEAD", "POST", "OPTIONS", "TRACE", "FOO", strings.Repeat("M", 33)} {
		all = append(all, one(method, lines(method+" / HTTP/1.1", host, "Connection: close")))
	}
	all = append(all,
		one("forwarded", lines("GET / HTTP/1.1", host, "Connection: close, X-Gone", "X-Gone: 1", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: x", "Forwarded: for=x", "Via: 1.0 x", "User-Agent: me", "Te: trailers, gzip", "Keep-Alive: 1")),
		one("HTTP/1.0", lines("GET / HTTP/1.0", host)), one("HTTP/1.0 chunked answer", lines("GET /pieces HTTP/1.0", host)),
		one("kept alive", lines("GET / HTTP/1.1", host)+lines("GET /pieces HTTP/1.1", host)+lines("GET /large HTTP/1.1", host)),
		one("body", lines("POST / HTTP/1.1", host, "Content-Length: 3", "Connection: close")+"abc"),
		one("chunked body", lines("POST / HTTP/1.1", host, "Transfer-Encoding: chunked", "Connection: close")+"3\r\nabc\r\n0\r\n\r\n"),
		one("expects", lines("POST / HTTP/1.1", host, "Expect: 100-continue", "Content-Length: 3", "Connection: close")+"abc"),
		one("CONNECT", lines("CONNECT "+proxyName+":443 HTTP/1.1", host, "Connection: close")),
		one("absolute", lines("GET http://"+proxyName+"/x HTTP/1.1", host, "Connection: close")),
		one("user", lines("GET http://u:p@"+proxyName+"/x HTTP/1.1", host, "Connection: close")),
		request{"upgrade", pieces(lines("GET /upgrade HTTP/1.1", host, "Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x"), "hello\n")},
		one("upgrade, hasty", lines("GET /upgrade HTTP/1.1", host, "Connection: Upgrade", "Upgrade: other")+"hello\n"),
		one("upgrade, refused", lines("GET / HTTP/1.1", host, "Connection: Upgrade", "Upgrade: websocket")),
	)
	for _, q := range all {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			config := clientConfig("http/1.1")
			config.ServerName = proxyName
			compare(t, proxied, script{pieces: q.pieces, tls: config})
		})
	}
}
