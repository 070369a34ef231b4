package probe

import (
	"fmt"
	"slices"
	"strings"
)

// secure completes a handshake with one ALPN name.
func (c *conn) secure(protocol string) bool {
	c.h2 = protocol == "h2"
	return c.complete(alpn(protocol))
}

// complete completes a handshake, of TLS 1.3 where the reference has it.
func (c *conn) complete(changes ...change) bool {
	switch {
	case c.blind:
		return false
	case c.only12:
		return c.complete12(changes...)
	}
	return c.handshake13(c.hello(slices.Concat(known13, changes)...)) == nil
}

func (c *conn) complete12(changes ...change) bool {
	return c.handshake12(c.hello(slices.Concat(known12, changes)...)) == nil
}

// What we can complete a handshake with.
var (
	known13 = []change{only13, suites(suiteAES128, suiteAES256)}
	known12 = []change{old(0x0303), suites(0xc02f, 0xc02b), with(extGroups, list16(groupX25519, groupP256)), without(extMaster)}
)

// say protects application data and sends it, in records of at most 16 kB.
func (c *conn) say(text ...[]byte) bool {
	var out []byte
	for b := join(text...); len(b) > 0; {
		n := min(len(b), 16384)
		out = append(out, c.tls.seal(recData, b[:n])...)
		b = b[n:]
	}
	return c.send(out)
}

// talk is a probe that completes a handshake for HTTP/1.1 and goes on.
//
//go:noinline
func talk(name, sends string, run func(*conn)) Probe {
	return Probe{Name: name, Sends: sends, run: func(c *conn) {
		if c.secure("http/1.1") {
			run(c)
		}
	}}
}

// request is a text with the host in its place.
func (c *conn) request(text string) []byte {
	return []byte(strings.ReplaceAll(text, "HOST", c.host))
}

const getRoot = "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"

// h1Rows are requests that are sent as one write after the handshake: name, what
// it sends in words, and the text.
func h1Rows() [][3]string { return slices.Concat(getRows(), methodRows(), otherRows()) }

func getRows() [][3]string {
	many := strings.Builder{}
	for i := range 150 {
		fmt.Fprintf(&many, "X-Header-%d: value\r\n", i)
	}
	return [][3]string{
		{"get", "GET /", getRoot},
		{"get-close", "GET / with Connection: close", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"},
		{"get-404", "GET of what is not there", "GET /nothing/here HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-favicon", "GET /favicon.ico", "GET /favicon.ico HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-index", "GET /index.html", "GET /index.html HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-query", "GET / with a query", "GET /?bridge=aaaa HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-api", "GET /api/v1/session", "GET /api/v1/session HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-dots", "GET of a path with dots", "GET /../../etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-escaped", "GET of a path with escapes", "GET /%2e%2e/%00 HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-slashes", "GET //", "GET // HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-range", "GET / of a range", "GET / HTTP/1.1\r\nHost: HOST\r\nRange: bytes=0-3\r\n\r\n"},
		{"get-range-bad", "GET / of a range beyond the end", "GET / HTTP/1.1\r\nHost: HOST\r\nRange: bytes=99999999-\r\n\r\n"},
		{"get-gzip", "GET / with Accept-Encoding", "GET / HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: gzip, br\r\n\r\n"},
		{"get-since", "GET / with If-Modified-Since", "GET / HTTP/1.1\r\nHost: HOST\r\nIf-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT\r\n\r\n"},
		{"get-absolute", "GET of an absolute URI", "GET https://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-proxy", "GET of somebody else's URI", "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n"},
		{"get-wrong-host", "GET / for a host that is not here", "GET / HTTP/1.1\r\nHost: wrong.example\r\n\r\n"},
		{"get-bad-host", "GET / for a host with a slash", "GET / HTTP/1.1\r\nHost: a/b c\r\n\r\n"},
		{"get-no-host", "GET / without Host", "GET / HTTP/1.1\r\n\r\n"},
		{"get-two-hosts", "GET / with two Hosts", "GET / HTTP/1.1\r\nHost: HOST\r\nHost: b.example\r\n\r\n"},
		{"get-ip-host", "GET / for an address", "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"},
		{"get-10", "GET / of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"},
		{"get-10-keep", "GET / of HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n"},
		{"get-09", "GET / of HTTP/0.9", "GET /\r\n"},
		{"get-20", "GET / of HTTP/2.0 as text", "GET / HTTP/2.0\r\nHost: HOST\r\n\r\n"},
		{"get-bad-version", "GET / of HTTP/1.x", "GET / HTTP/1.x\r\nHost: HOST\r\n\r\n"},
		{"get-lf", "GET / with lines that end in LF", "GET / HTTP/1.1\nHost: HOST\n\n"},
		{"get-folded", "GET / with a folded header", "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\r\n b\r\n\r\n"},
		{"get-space", "GET / with a space before the colon", "GET / HTTP/1.1\r\nHost: HOST\r\nX : a\r\n\r\n"},
		{"get-nul", "GET / with a zero byte in a header", "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\x00b\r\n\r\n"},
		{"get-colonless", "GET / with a header without a colon", "GET / HTTP/1.1\r\nHost: HOST\r\nnothing\r\n\r\n"},
		{"get-body", "GET / with a body", "GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\nhello"},
		{"get-empty-lines", "empty lines and GET /", "\r\n\r\n" + getRoot},
		{"get-long-uri", "GET of a URI of 9000 bytes", "GET /" + strings.Repeat("x", 9000) + " HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-longer-uri", "GET of a URI of 40000 bytes", "GET /" + strings.Repeat("x", 40000) + " HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-long-header", "GET / with a header of 40000 bytes", "GET / HTTP/1.1\r\nHost: HOST\r\nX: " + strings.Repeat("x", 40000) + "\r\n\r\n"},
		{"get-many-headers", "GET / with 150 headers", "GET / HTTP/1.1\r\nHost: HOST\r\n" + many.String() + "\r\n"},
	}
}

func methodRows() [][3]string {
	return [][3]string{
		{"head", "HEAD /", "HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"post", "POST / with a body", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\nhello"},
		{"post-api", "POST /api/v1/session with a token", "POST /api/v1/session HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer aaaa\r\nContent-Length: 5\r\n\r\nhello"},
		{"post-short", "POST / with half of its body", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 50\r\n\r\nhello"},
		{"post-no-length", "POST / without a length", "POST / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"post-bad-length", "POST / with a length of -1", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n"},
		{"post-two-lengths", "POST / with two lengths", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"},
		{"post-huge", "POST / that announces 1 TB", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1099511627776\r\n\r\n"},
		{"post-chunked", "POST / in chunks", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"post-bad-chunk", "POST / with a chunk size that is none", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n"},
		{"post-both", "POST / with a length and chunks", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"post-odd-coding", "POST / with a transfer coding nobody has", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: identity, odd\r\n\r\n"},
		{"expect", "POST / that expects 100-continue", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"},
		{"expect-odd", "GET / that expects something else", "GET / HTTP/1.1\r\nHost: HOST\r\nExpect: tea\r\n\r\n"},
		{"put", "PUT /", "PUT /x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\n\r\nx"},
		{"delete", "DELETE /", "DELETE / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"options", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"options-root", "OPTIONS /", "OPTIONS / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"trace", "TRACE /", "TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"propfind", "PROPFIND /", "PROPFIND / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"brew", "a method nobody has", "BREW / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"lower", "get / in lower case", "get / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	}
}

// otherRows ask for something else than HTTP/1.1, or do not ask.
func otherRows() [][3]string {
	return [][3]string{
		{"connect", "CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"},
		{"connect-password", "CONNECT with a proxy password", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"},
		{"websocket", "GET / that asks for a WebSocket", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"},
		{"h2c", "GET / that asks for h2c", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"},
		{"h2-preface", "the preface of HTTP/2", h2Preface},
		{"pipelined", "three requests at once", getRoot + "GET /nothing HTTP/1.1\r\nHost: HOST\r\n\r\n" + getRoot},
		{"half", "the first half of a request", "GET / HTTP/1.1\r\nHo"},
		{"junk", "64 random bytes", string(noise(64))},
		{"socks", "a SOCKS5 greeting", "\x05\x01\x00"},
		{"trojan", "a Trojan request", strings.Repeat("0a1b2c3d", 7) + "\r\n\x01\x03\x0bexample.com\x00\x50\r\n\r\n"},
		{"vless", "a VLESS request", "\x00" + string(noise(16)) + "\x00\x01\x00\x50\x01\x7f\x00\x00\x01"},
	}
}

func h1Probes() (list []Probe) {
	for _, r := range h1Rows() {
		list = append(list, talk("web-"+r[0], "a handshake for HTTP/1.1; "+r[1], func(c *conn) { c.say(c.request(r[2])) }))
	}
	return append(list,
		talk("web-twice", "a handshake; GET /; after the answer GET / again", func(c *conn) {
			n := c.received()
			c.say(c.request(getRoot))
			if c.answer(n) {
				c.say(c.request(getRoot))
			}
		}),
		talk("web-bytewise", "a handshake; GET / in records of a byte", func(c *conn) {
			c.sayEach(c.request(getRoot), shortPause)
		}),
		talk("web-late", "a handshake; 400 ms; GET /", func(c *conn) {
			c.pause(verdictPause)
			c.say(c.request(getRoot))
		}),
		talk("web-expect-body", "a handshake; POST that expects 100-continue; after the answer its body", func(c *conn) {
			n := c.received()
			c.say(c.request("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"))
			if c.answer(n) {
				c.say([]byte("hello"))
			}
		}),
		talk("web-get-fin", "a handshake; GET / and FIN", func(c *conn) {
			c.say(c.request(getRoot))
			c.finish()
		}),
		talk("web-get-notify", "a handshake; GET / and close_notify", func(c *conn) {
			c.say(c.request(getRoot))
			c.send(c.tls.seal(recAlert, []byte{1, 0}))
		}),
		Probe{Name: "web-no-alpn", Sends: "a handshake without ALPN; GET /", run: func(c *conn) {
			if c.complete(without(extALPN)) {
				c.say(c.request(getRoot))
			}
		}},
		Probe{Name: "web-wrong-sni", Sends: "a handshake for wrong.example; GET / for it", run: func(c *conn) {
			if c.complete(alpn("http/1.1"), without(extName), ahead(extName, nameList("wrong.example"))) {
				c.say([]byte("GET / HTTP/1.1\r\nHost: wrong.example\r\n\r\n"))
			}
		}},
		Probe{Name: "web-other-host", Sends: "a handshake for wrong.example; GET / for the right host", run: func(c *conn) {
			if c.complete(alpn("http/1.1"), without(extName), ahead(extName, nameList("wrong.example"))) {
				c.say(c.request(getRoot))
			}
		}},
		Probe{Name: "web-no-sni", Sends: "a handshake without a server name; GET /", run: func(c *conn) {
			if c.complete(alpn("http/1.1"), without(extName)) {
				c.say(c.request(getRoot))
			}
		}})
}
