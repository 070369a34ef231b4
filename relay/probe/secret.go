package probe

import (
	"fmt"
	"slices"
	"strings"
)

// secretPath has the form of the paths by which relays know their users, and is
// nobody's. What is sent to it is what their clients send.
const secretPath = "/q3kx7c2mzt5abn4wyhu6fjdp"

// secretPadding is a header that such clients have.
var secretPadding = "Referer: https://HOST/?x_padding=" + strings.Repeat("X", 300)

const secretUpgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"

// secretRequest is a head for HTTP/1.1.
func secretRequest(method, path string, headers ...string) string {
	return strings.Join(append([]string{method + " " + path + " HTTP/1.1", "Host: HOST"}, headers...), "\r\n") + "\r\n\r\n"
}

// secretRows are h1Rows at secretPath and near it.
func secretRows() (rows [][3]string) {
	add := func(name, sends, text string) { rows = append(rows, [3]string{name, sends, text}) }
	for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD", "PUT", "CONNECT"} {
		word := strings.ToLower(method)
		add(word, method+" of a path of the right form", secretRequest(method, secretPath+"/"))
		add(word+"-session", method+" of a session there, with padding", secretRequest(method, secretPath+"/4f1a-sid", secretPadding))
	}
	for i, path := range []string{
		secretPath, "/" + secretPath + "/sid", "/%71" + secretPath[2:] + "/sid", secretPath + "./sid", secretPath + "%2fsid", "/." + secretPath + "/sid",
		strings.ToUpper(secretPath) + "/sid", secretPath[:8] + "/sid", secretPath[:9] + "/sid", "/" + strings.Repeat("q", 127) + "/sid", "/" + strings.Repeat("q", 128) + "/sid",
	} {
		add(fmt.Sprintf("form-%d", i+1), "GET of "+path[:min(len(path), 60)]+", with padding", secretRequest("GET", path, secretPadding))
	}
	early := strings.Repeat("QUJD", 300)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	const frame = "\x82\x85\x01\x02\x03\x04hello"
	ws := func(name, sends, path string, headers ...string) {
		add("socket"+name, "a request for a WebSocket "+sends+"; a frame", secretRequest("GET", path, append([]string{secretUpgrade}, headers...)...)+frame)
	}
	ws("", "there", secretPath+"/", key)
	ws("-early", "there, with early data", secretPath+"/", key, "Sec-WebSocket-Protocol: "+early)
	ws("-early-path", "there, with early data in the path", secretPath+"/"+early, key)
	ws("-no-key", "there, without a key", secretPath+"/")
	ws("-bad-key", "there, with a key of 3 bytes", secretPath+"/", "Sec-WebSocket-Key: QUJD")
	chunks := strings.Repeat("4000\r\n"+strings.Repeat("x", 0x4000)+"\r\n", 64)
	add("piece", "a small piece of a session's upload", secretRequest("POST", secretPath+"/sid/0", secretPadding, "Content-Length: 5")+"hello")
	add("half-piece", "half of a piece of a session's upload", secretRequest("POST", secretPath+"/sid/0", secretPadding, "Content-Length: 5000")+"hello")
	add("half-head", "half of the head of an upload", strings.TrimSuffix(secretRequest("POST", secretPath+"/sid/0", secretPadding), "\r\n\r\n"))
	add("expect", "a piece of an upload that expects 100-continue", secretRequest("POST", secretPath+"/sid/0", secretPadding, "Content-Length: 5", "Expect: 100-continue"))
	add("1mb", "an upload of 1 MB", secretRequest("POST", secretPath+"/sid", secretPadding, "Content-Length: 1048576")+strings.Repeat("x", 1<<20))
	add("endless", "an upload in chunks, 1 MB of it, that has no end", secretRequest("POST", secretPath+"/sid", secretPadding, "Transfer-Encoding: chunked")+chunks)
	return rows
}

// secretRows2 are h2Requests there.
func secretRows2() (rows []h2Row) {
	add := func(name, sends string, f func(c *conn) []byte) { rows = append(rows, h2Row{name, sends, f}) }
	head := func(c *conn, flags byte, stream uint32, method, path string, more ...string) []byte {
		padding := strings.TrimPrefix(string(c.request(secretPadding)), "Referer: ")
		return frame(frameHeaders, flagEndHeaders|flags, stream, c.fields(method, secretPath+path, append([]string{"referer", padding}, more...)...))
	}
	for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD", "PUT"} {
		add(strings.ToLower(method), method+" of a session at a path of the right form", func(c *conn) []byte {
			return head(c, flagEndStream, 1, method, "/4f1a-sid")
		})
	}
	add("bare", "GET of that without padding", func(c *conn) []byte { return c.get(1, secretPath+"/4f1a-sid") })
	add("open", "the head of an upload there", func(c *conn) []byte { return head(c, 0, 1, "POST", "/sid") })
	add("piece", "a small piece of an upload there", func(c *conn) []byte {
		return join(head(c, 0, 1, "POST", "/sid/0"), frame(frameData, flagEndStream, 1, noise(50)))
	})
	// More than a frame would race with the answer.
	add("16kb", "an upload of 16 kB there", func(c *conn) []byte {
		return join(head(c, 0, 1, "POST", "/sid"), frame(frameData, flagEndStream, 1, noise(16384)))
	})
	add("socket", "CONNECT for a WebSocket there", func(c *conn) []byte {
		return frame(frameHeaders, flagEndHeaders, 1, block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", c.host, ":path", secretPath+"/", "sec-websocket-version", "13"))
	})
	add("window-tiny", "a download there with a window of 1", func(c *conn) []byte {
		return join(frame(frameSettings, 0, 0, setting(4, 1)), head(c, flagEndStream, 1, "GET", "/sid"))
	})
	add("window-overflow", "an upload there and WINDOW_UPDATE beyond 2^31 on it", func(c *conn) []byte {
		return join(head(c, 0, 1, "POST", "/sid"), frame(frameWindow, 0, 1, u32(0x7fffffff)))
	})
	return rows
}

func secretProbes() (list []Probe) {
	for _, r := range secretRows() {
		list = append(list, talk("secret-"+r[0], "a handshake for HTTP/1.1; "+r[1], func(c *conn) { c.say(c.request(r[2])) }))
	}
	return slices.Concat(list, h2List("secret-h2-", secretRows2()))
}
