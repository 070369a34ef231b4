package caddy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/auth"
)

// What clients of a user's send besides the path.
const (
	padded   = "Referer: https://" + name + "/?x_padding="
	upgrades = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	wsKey    = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)

var padding = padded + strings.Repeat("X", 100)

// path is one that is asked for, and in what it differs from a user's.
type path struct{ what, text string }

// wrongPaths are almost those of alice, or those of others.
func wrongPaths() []path {
	p := people.password["alice"]
	other := byte('a')
	if p[23] == other {
		other = 'b'
	}
	escaped := func(i int, b byte) string { return fmt.Sprintf("/%s%%%02x%s", p[:i], b, p[i+1:]) }
	all := []path{
		{"no letters", "/" + p[:7]}, {"one letter less", "/" + p[:23]}, {"without the first letter", "/" + p[1:]},
		{"one letter more", "/" + p + "x"}, {"another last letter", "/" + p[:23] + string(other)}, {"another first letter", "/" + string(p[0]^1) + p[1:]},
		{"capitals", "/" + strings.ToUpper(p)}, {"escaped, one letter in capitals", escaped(firstLetter(p), p[firstLetter(p)]-32)}, {"escaped, another letter", escaped(3, p[3]^1)},
		{"two slashes", "//" + p}, {"three slashes", "///" + p}, {"an escaped slash", "/%2f" + p}, {"a dot", "/./" + p}, {"two dots", "/../" + p}, {"below a folder", "/dir/" + p},
		{"a dot behind", "/" + p + "."}, {"dots behind", "/" + p + ".."}, {"a space behind", "/" + p + "%20"}, {"a zero byte behind", "/" + p + "%00"},
		{"a semicolon", "/" + p + ";"}, {"a query in place of it", "/?" + p}, {"a backslash", "/\\" + p}, {"a bad escape", "/" + p + "%zz"}, {"a fragment", "/#" + p},
		{"127 letters", "/" + strings.Repeat(p, 6)[:127]}, {"128 letters", "/" + strings.Repeat(p, 6)[:128]}, {"twice", "/" + p + p},
		{"of the same form", "/" + auth.NewKey().Password(auth.NewKey(), "web", 0)},
	}
	for _, who := range []string{"disabled", "expired", "removed", "rotated"} {
		all = append(all, path{"of a user who is " + who, "/" + people.password[who]})
	}
	return all
}

// firstLetter is where the first letter of a password is, which are digits too.
func firstLetter(p string) int {
	return strings.IndexFunc(p, func(r rune) bool { return r >= 'a' && r <= 'z' })
}

var wrongMethods = []string{"GET", "POST", "OPTIONS", "HEAD", "PUT", "CONNECT", "DELETE", "get"}

// wrong are all of what a client of a user's asks for at a path that is not, each
// on a connection with all methods.
func wrong(p path) (all []request) {
	for _, rest := range []string{"", "/", "/5f2b0a9e-sid", "/5f2b0a9e-sid/0"} {
		for label, header := range map[string]string{"": "Accept: */*", ", padded": padding} {
			var text strings.Builder
			for i, method := range wrongMethods {
				last := "Content-Length: 0"
				if i == len(wrongMethods)-1 {
					last = "Connection: close"
				}
				text.WriteString(lines(method+" "+p.text+rest+" HTTP/1.1", "Host: "+name, header, last))
			}
			all = append(all, one(p.what+rest+label, text.String()))
		}
	}
	return all
}

// sockets ask for a WebSocket at a path, and go on as if they had it.
func sockets(p path, right bool) (all []request) {
	frame := "\x82\x85\x01\x02\x03\x04hello\x89\x80\x01\x02\x03\x04"
	early := strings.Repeat("QUJD", 100)
	ask := func(what, rest string, headers ...string) {
		all = append(all, one(p.what+", WebSocket, "+what, lines(append([]string{"GET " + p.text + rest + " HTTP/1.1", "Host: " + name}, headers...)...)+frame))
	}
	up := strings.TrimSuffix(upgrades, "\r\n")
	if !right {
		ask("good key", "", up, wsKey)
		ask("early in the header", "/", up, wsKey, "Sec-WebSocket-Protocol: "+early)
		ask("early in the path", "/"+early, up, wsKey)
		ask("padded", "/", up, wsKey, padding)
	}
	ask("no key", "/", up)
	ask("short key", "/", up, "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==")
	ask("long key", "/", up, "Sec-WebSocket-Key: "+strings.Repeat("dGhl", 10))
	ask("bad key", "/", up, "Sec-WebSocket-Key: ????????????????????????")
	ask("early, not base64", "/!!!!", up, wsKey)
	ask("early, 12 kB", "/", up, wsKey, "Sec-WebSocket-Protocol: "+strings.Repeat("QUJD", 4000))
	ask("version 12", "/", strings.Replace(up, "13", "12", 1), wsKey)
	ask("no version", "/", "Connection: Upgrade", "Upgrade: websocket", wsKey)
	ask("not upgraded", "/", "Upgrade: websocket", "Sec-WebSocket-Version: 13", wsKey)
	ask("h2c", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
	return all
}

// bodies are uploads to a path; the headers make them a user's, if the path does.
func bodies(p path, headers ...string) (all []request) {
	head := func(method, rest string, more ...string) string {
		return lines(slices.Concat([]string{method + " " + p.text + rest + " HTTP/1.1", "Host: " + name}, headers, more)...)
	}
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 16<<10, strings.Repeat("x", 16<<10))
	add := func(what, text string) { all = append(all, one(p.what+", "+what, text)) }
	add("1 MB", head("POST", "/sid", "Content-Length: 1000000")+strings.Repeat("x", 1000000))
	add("a small piece", head("POST", "/sid/0", "Content-Length: 5")+"hello"+head("GET", "/sid"))
	add("endless chunks", head("POST", "/sid", "Transfer-Encoding: chunked")+strings.Repeat(chunk, 100))
	add("a chunk, open", head("POST", "/", "Transfer-Encoding: chunked")+chunk)
	add("a bad chunk", head("POST", "/sid", "Transfer-Encoding: chunked")+"zz\r\n")
	add("half of a body", head("POST", "/sid/0", "Content-Length: 100")+"hello")
	add("half of a head", strings.TrimSuffix(head("POST", "/sid/0", "Content-Length: 100"), "\r\n\r\n"))
	add("expects", head("POST", "/sid/0", "Content-Length: 5", "Expect: 100-continue"))
	add("GET with a body", head("GET", "/sid", "Content-Length: 5")+"hello")
	all = append(all, request{p.what + ", expects, sends later", pieces(head("POST", "/sid/0", "Content-Length: 5", "Expect: 100-continue"), "hello")})
	return all
}

// refused are requests to alice's path that are not what her clients send.
func refused() (all []request) {
	p := people.password["alice"]
	right := path{"alice", "/" + p}
	ask := func(method, rest string, headers ...string) {
		what := method + " " + rest
		if len(headers) > 0 {
			what += ", " + headers[0]
		}
		all = append(all, one(what[:min(len(what), 70)], get(method, right.text+rest, headers...)))
	}
	pads := func(n int) string { return padded + strings.Repeat("X", n) }
	for _, rest := range []string{"/sid", "/sid/0", "/", "", "?x_padding=" + strings.Repeat("X", 100)} {
		for _, method := range []string{"HEAD", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", strings.Repeat("M", 33)} {
			ask(method, rest, padding)
		}
	}
	for _, method := range []string{"GET", "POST"} {
		for _, h := range []string{
			"X: y", pads(0), pads(99), pads(1001), pads(5000), "Referer: https://" + name + "/", "Referer: https://" + name + "/?a#x_padding=" + strings.Repeat("X", 100),
			"Referer: https://" + name + "/?x_padding=%zz", "Referer: https://" + name + "/?X_Padding=" + strings.Repeat("X", 100), "Referrer" + padding[7:],
		} {
			ask(method, "/sid", h)
		}
		for _, rest := range []string{"/s%20d", "/s.d", "/s%2fd/x", "/" + strings.Repeat("s", 65), "/sid/x", "/sid/-1", "/sid/+1", "/sid/1/2", "/sid/", "/sid//", "//sid", "/sid/0x1", "/sid/99999999999999999999", "/sid/1e3", "/%c3%a9"} {
			ask(method, rest, padding)
		}
		ask(method, "/sid?x_padding="+strings.Repeat("X", 99))
		ask(method, "/sid?x_padding=X&x_padding="+strings.Repeat("X", 100))
		ask(method, "/sid?%zz&ax_padding="+strings.Repeat("X", 100))
	}
	ask("GET", "", padding)
	ask("GET", "/", padding)
	ask("GET", "/sid/0", padding)
	return slices.Concat(all, sockets(right, true), bodies(right))
}

// TestWeb asks for what would be a user's streams, had the path been one's.
func TestWeb(t *testing.T) {
	before := people.streams.Load()
	t.Run("all", func(t *testing.T) {
		for i, p := range wrongPaths() {
			all := slices.Concat(wrong(p), sockets(p, false))
			if i%7 == 0 || strings.HasPrefix(p.what, "of ") {
				all = slices.Concat(all, bodies(p, padding))
			}
			for _, q := range all {
				t.Run(q.name, func(t *testing.T) {
					t.Parallel()
					compare(t, secure, script{pieces: q.pieces, tls: clientConfig("http/1.1")})
				})
			}
		}
	})
	if n := people.streams.Load() - before; n > 0 {
		t.Errorf("streams: got %d at paths that are nobody's", n)
	}
}

// TestWebRefused has alice's path right and something else wrong.
func TestWebRefused(t *testing.T) {
	before := people.streams.Load()
	t.Run("all", func(t *testing.T) {
		for _, q := range refused() {
			for _, half := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, ended %v", q.name, half), func(t *testing.T) {
					t.Parallel()
					compare(t, secure, script{pieces: q.pieces, half: half, tls: clientConfig("http/1.1")})
				})
			}
		}
	})
	if n := people.streams.Load() - before; n > 0 {
		t.Errorf("streams: got %d of requests that are not a client's", n)
	}
}

// TestWebOrigin is both without TLS.
func TestWebOrigin(t *testing.T) {
	all := slices.Concat(files()[:20], refused())
	for _, p := range wrongPaths() {
		all = append(all, sockets(p, false)[0], wrong(p)[5])
	}
	for _, q := range all {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			compare(t, bare, script{pieces: q.pieces})
		})
	}
}

// rightly asks for a stream of alice's.
func rightly(c io.Writer) error {
	_, err := io.WriteString(c, lines("POST /"+people.password["alice"]+"/ HTTP/1.1", "Host: "+name, padding, "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n")
	return err
}

// TestWebServed makes sure that what the others compare is there: alice is served.
func TestWebServed(t *testing.T) {
	for _, p := range ours {
		for label, address := range map[string]string{"secure": p.secure, "bare": p.bare} {
			var config *tls.Config
			if label == "secure" {
				config = clientConfig("http/1.1")
			}
			var head bytes.Buffer
			_ = rightly(&head)
			o := play(t, address, script{pieces: [][]byte{head.Bytes()}, tls: config})
			if !strings.HasPrefix(o.said, "HTTP/1.1 200 OK\r\n") || !strings.Contains(o.said, "\r\n5\r\nhello\r\n") {
				t.Errorf("%s, %s: got %s, want an echo", p.label, label, o)
			}
		}
	}
}

// TestWebReplay sends again what a client has sent who was served: all at once, in
// the pieces in which it was sent, at once and a moment later, and half of it.
func TestWebReplay(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		for _, way := range []string{"at once", "in pieces", "later", "without the end", "a half", "hello", "ended"} {
			t.Run(fmt.Sprintf("%s, resumed %v", way, resumed), func(t *testing.T) {
				t.Parallel()
				compareWith(t, secure, func(address string) string { return again(t, address, resumed, way) })
			})
		}
	}
}

// again records a client and replays it to the same server.
func again(t *testing.T, address string, resumed bool, way string) string {
	t.Helper()
	config := clientConfig("http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	sent := record(t, address, config)
	if resumed {
		sent = record(t, address, config)
	}
	all := bytes.Join(sent, nil)
	s := script{pieces: [][]byte{all}}
	switch way {
	case "in pieces":
		s.pieces = sent
	case "later":
		time.Sleep(1500 * time.Millisecond)
	case "without the end":
		s.pieces = [][]byte{all[:len(all)-1]}
	case "a half":
		s.pieces = [][]byte{all[:len(all)/2]}
	case "hello":
		s.pieces = [][]byte{all[:5+int(binary.BigEndian.Uint16(all[3:]))]}
	case "ended":
		s.half = true
	}
	o := play(t, address, s)
	return records([]byte(o.said)) + o.end
}

// record is what a client of alice's writes.
func record(t *testing.T, address string, config *tls.Config) [][]byte {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	defer raw.Close()
	var sent [][]byte
	c := tls.Client(&tap{Conn: raw, hook: func(b []byte) []byte { sent = append(sent, bytes.Clone(b)); return b }}, config)
	if err := rightly(c); err != nil {
		t.Fatalf("client: got %v, want nil", err)
	}
	_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 1000)); n == 0 {
		t.Fatalf("answer: got %v, want one", err)
	}
	_ = c.CloseWrite()
	return sent
}

func bare(p peer) string { return p.bare }
