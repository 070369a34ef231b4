package probe

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Errors of HTTP/2, RFC 9113, Section 7.
const (
	h2Cancel = 8
)

//go:noinline
func setting(id uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), v)
}

//go:noinline
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// get is the HEADERS frame of a request for path.
func (c *conn) get(stream uint32, path string, more ...string) []byte {
	return frame(frameHeaders, flagEndHeaders|flagEndStream, stream, c.fields("GET", path, more...))
}

func (c *conn) fields(method, path string, more ...string) []byte {
	return block(append([]string{":method", method, ":scheme", "https", ":authority", c.host, ":path", path}, more...)...)
}

// opening is what a client of HTTP/2 begins with.
func opening() []byte {
	return join([]byte(h2Preface), frame(frameSettings, 0, 0, setting(3, 100), setting(4, 65535)))
}

// h2Row is what is sent in one write after a handshake for h2.
type h2Row struct {
	name, sends string
	bytes       func(c *conn) []byte
}

//go:noinline
func fixed(b ...[]byte) func(*conn) []byte {
	all := join(b...)
	return func(*conn) []byte { return all }
}

// h2First are rows that come in place of the opening.
func h2First() []h2Row {
	return []h2Row{
		{"nothing", "nothing", func(*conn) []byte { return nil }},
		{"preface", "the preface only", func(*conn) []byte { return []byte(h2Preface) }},
		{"opening", "preface and SETTINGS", func(*conn) []byte { return opening() }},
		{"bad-preface", "a wrong preface", func(*conn) []byte { return []byte("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n") }},
		{"short-preface", "half of the preface", func(*conn) []byte { return []byte(h2Preface)[:10] }},
		{"http1", "GET / of HTTP/1.1", func(c *conn) []byte { return c.request(getRoot) }},
		{"junk", "64 random bytes", func(*conn) []byte { return noise(64) }},
		{"no-settings", "preface and a request, no SETTINGS", func(c *conn) []byte { return join([]byte(h2Preface), c.get(1, "/")) }},
		{"ping-first", "preface and PING, no SETTINGS", func(*conn) []byte { return join([]byte(h2Preface), frame(framePing, 0, 0, noise(8))) }},
	}
}

// h2Requests follow the opening, once it has been answered.
func h2Requests() []h2Row {
	return []h2Row{
		{"get", "GET /", func(c *conn) []byte { return c.get(1, "/") }},
		{"get-404", "GET of what is not there", func(c *conn) []byte { return c.get(1, "/nothing/here") }},
		{"get-stream-5", "GET / on stream 5", func(c *conn) []byte { return c.get(5, "/") }},
		{"get-stream-2", "GET / on stream 2", func(c *conn) []byte { return c.get(2, "/") }},
		{"get-stream-0", "GET / on stream 0", func(c *conn) []byte { return c.get(0, "/") }},
		{"get-twice", "GET / on stream 3 and then on 1", func(c *conn) []byte { return join(c.get(3, "/"), c.get(1, "/")) }},
		{"get-same", "GET / twice on one stream", func(c *conn) []byte { return join(c.get(1, "/"), c.get(1, "/")) }},
		{"head", "HEAD /", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, c.fields("HEAD", "/"))
		}},
		{"post", "POST / with a body", func(c *conn) []byte {
			return join(frame(frameHeaders, flagEndHeaders, 1, c.fields("POST", "/", "content-length", "5")), frame(frameData, flagEndStream, 1, []byte("hello")))
		}},
		{"post-wrong-length", "POST / with a wrong length", func(c *conn) []byte {
			return join(frame(frameHeaders, flagEndHeaders, 1, c.fields("POST", "/", "content-length", "9")), frame(frameData, flagEndStream, 1, []byte("hello")))
		}},
		{"connect", "CONNECT", func(*conn) []byte {
			return frame(frameHeaders, flagEndHeaders, 1, block(":method", "CONNECT", ":authority", "example.com:443"))
		}},
		{"websocket", "CONNECT for a WebSocket", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders, 1, c.fields("CONNECT", "/", ":protocol", "websocket"))
		}},
		{"options", "OPTIONS *", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, c.fields("OPTIONS", "*"))
		}},
		{"trace", "TRACE /", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, c.fields("TRACE", "/"))
		}},
		{"no-method", "a request without a method", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, block(":scheme", "https", ":authority", c.host, ":path", "/"))
		}},
		{"no-authority", "a request without an authority", func(*conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, block(":method", "GET", ":scheme", "https", ":path", "/"))
		}},
		{"wrong-authority", "a request for a host that is not here", func(*conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, block(":method", "GET", ":scheme", "https", ":authority", "wrong.example", ":path", "/"))
		}},
		{"host-beside", "a Host header other than the authority", func(c *conn) []byte { return c.get(1, "/", "host", "wrong.example") }},
		{"host-same", "a Host header beside the authority", func(c *conn) []byte { return c.get(1, "/", "host", c.host) }},
		{"path-absolute", "a path that is a whole URL", func(c *conn) []byte { return c.get(1, "http://wrong.example/") }},
		{"late-pseudo", "a pseudo header after the others", func(c *conn) []byte {
			return frame(frameHeaders, flagEndHeaders|flagEndStream, 1, block("a", "b", ":method", "GET", ":scheme", "https", ":authority", c.host, ":path", "/"))
		}},
		{"upper-header", "a header name in upper case", func(c *conn) []byte { return c.get(1, "/", "X-Upper", "a") }},
		{"connection-header", "a Connection header", func(c *conn) []byte { return c.get(1, "/", "connection", "close") }},
		{"big-headers", "a header of 12000 bytes", func(c *conn) []byte { return c.get(1, "/", "x", strings.Repeat("x", 12000)) }},
		{"bigger-headers", "headers of 80000 bytes in CONTINUATIONs", func(c *conn) []byte {
			b := c.fields("GET", "/", "x", strings.Repeat("x", 80000))
			out := frame(frameHeaders, flagEndStream, 1, b[:16000])
			for b = b[16000:]; len(b) > 16000; b = b[16000:] {
				out = append(out, frame(frameContinuation, 0, 1, b[:16000])...)
			}
			return append(out, frame(frameContinuation, flagEndHeaders, 1, b)...)
		}},
		{"bad-hpack", "a header block that cannot be read", fixed(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, bytes.Repeat([]byte{0xff}, 20)))},
		{"hpack-index", "a header of an index that is not there", fixed(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, []byte{0xfe}))},
		{"empty-block", "an empty header block", fixed(frame(frameHeaders, flagEndHeaders|flagEndStream, 1))},
	}
}

// h2Frames follow the opening too.
func h2Frames() []h2Row {
	return []h2Row{
		{"settings-flood", "200 SETTINGS", fixed(repeat(200, frame(frameSettings, 0, 0)))},
		{"settings-ack", "an acknowledgement nobody asked for", fixed(frame(frameSettings, flagAck, 0), frame(frameSettings, flagAck, 0))},
		{"settings-odd", "SETTINGS of 5 bytes", fixed(frame(frameSettings, 0, 0, noise(5)))},
		{"settings-stream", "SETTINGS on stream 1", fixed(frame(frameSettings, 0, 1))},
		{"settings-window", "SETTINGS with a window of 2^31", fixed(frame(frameSettings, 0, 0, setting(4, 1<<31)))},
		{"settings-frame", "SETTINGS with a frame size of 1", fixed(frame(frameSettings, 0, 0, setting(5, 1)))},
		{"settings-push", "SETTINGS with push of 2", fixed(frame(frameSettings, 0, 0, setting(2, 2)))},
		{"settings-unknown", "SETTINGS of an unknown number", fixed(frame(frameSettings, 0, 0, setting(0x9999, 1)))},
		{"ping", "PING", fixed(frame(framePing, 0, 0, noise(8)))},
		{"ping-flood", "50 PINGs", fixed(repeat(50, frame(framePing, 0, 0, noise(8))))},
		{"ping-odd", "PING of 7 bytes", fixed(frame(framePing, 0, 0, noise(7)))},
		{"ping-stream", "PING on stream 1", fixed(frame(framePing, 0, 1, noise(8)))},
		{"goaway", "GOAWAY", fixed(frame(frameGoAway, 0, 0, u32(0), u32(0)))},
		{"goaway-short", "GOAWAY of 4 bytes", fixed(frame(frameGoAway, 0, 0, u32(0)))},
		{"goaway-get", "GOAWAY and GET /", func(c *conn) []byte { return join(frame(frameGoAway, 0, 0, u32(0), u32(0)), c.get(1, "/")) }},
		{"window-0", "WINDOW_UPDATE of 0", fixed(frame(frameWindow, 0, 0, u32(0)))},
		{"window-overflow", "WINDOW_UPDATE beyond 2^31", fixed(frame(frameWindow, 0, 0, u32(0x7fffffff)))},
		{"window-idle", "WINDOW_UPDATE on a stream that is not open", fixed(frame(frameWindow, 0, 7, u32(1)))},
		{"window-stream", "GET / and WINDOW_UPDATE beyond 2^31 on its stream", func(c *conn) []byte {
			return join(frame(frameHeaders, flagEndHeaders, 1, c.fields("POST", "/")), frame(frameWindow, 0, 1, u32(0x7fffffff)))
		}},
		{"window-tiny", "GET / with a window of 1", func(c *conn) []byte {
			return join(frame(frameSettings, 0, 0, setting(4, 1)), c.get(1, "/"))
		}},
		{"priority", "PRIORITY", fixed(frame(framePriority, 0, 3, u32(0), []byte{15}))},
		{"priority-self", "PRIORITY of a stream on itself", fixed(frame(framePriority, 0, 3, u32(3), []byte{15}))},
		{"priority-short", "PRIORITY of 4 bytes", fixed(frame(framePriority, 0, 3, u32(0)))},
		{"priority-update", "PRIORITY_UPDATE", fixed(frame(16, 0, 0, u32(1), []byte("u=1")))},
		{"unknown-frame", "a frame of type 99", fixed(frame(99, 0, 0, noise(10)))},
		{"unknown-then-get", "a frame of type 99 and GET /", func(c *conn) []byte { return join(frame(99, 0xff, 9, noise(10)), c.get(1, "/")) }},
		{"push", "PUSH_PROMISE", fixed(frame(framePush, flagEndHeaders, 1, u32(2)))},
		{"data-idle", "DATA on a stream that is not open", fixed(frame(frameData, 0, 1, noise(10)))},
		{"data-0", "DATA on stream 0", fixed(frame(frameData, 0, 0, noise(10)))},
		{"data-padded", "DATA with more padding than content", func(c *conn) []byte {
			return join(frame(frameHeaders, flagEndHeaders, 1, c.fields("POST", "/")), frame(frameData, flagPadded, 1, []byte{200, 1}))
		}},
		{"continuation", "CONTINUATION without HEADERS", fixed(frame(frameContinuation, flagEndHeaders, 1))},
		{"headers-cut", "HEADERS and then PING in place of CONTINUATION", func(c *conn) []byte {
			return join(frame(frameHeaders, flagEndStream, 1, c.fields("GET", "/")), frame(framePing, 0, 0, noise(8)))
		}},
		{"reset-idle", "RST_STREAM of a stream that is not open", fixed(frame(frameReset, 0, 1, u32(h2Cancel)))},
		{"rapid-reset", "20 requests, each cancelled at once", func(c *conn) (out []byte) {
			for i := range uint32(20) {
				// Requests with a body to come, so that no answer overtakes the reset.
				out = append(out, frame(frameHeaders, flagEndHeaders, 2*i+1, c.fields("POST", "/", "content-length", "5"))...)
				out = append(out, frame(frameReset, 0, 2*i+1, u32(h2Cancel))...)
			}
			return out
		}},
		{"long-frame", "a frame of 16385 bytes", fixed(frame(frameData, 0, 1, noise(16385)))},
		{"huge-frame", "the header of a frame of 16 MB", fixed([]byte{0xff, 0xff, 0xff, frameData, 0, 0, 0, 0, 1})},
		{"reserved-bit", "PING with the reserved bit", fixed(frame(framePing, 0, 1<<31, noise(8)))},
	}
}

func h2Probes() (list []Probe) {
	row := func(r h2Row, then func(c *conn, b []byte)) {
		list = append(list, Probe{Name: "h2-" + r.name, Sends: "a handshake for HTTP/2; " + r.sends, run: func(c *conn) {
			if c.secure("h2") && c.quiet() {
				then(c, r.bytes(c))
			}
		}})
	}
	for _, r := range h2First() {
		row(r, func(c *conn, b []byte) { c.say(b) })
	}
	list = append(list, h2List("h2-", slices.Concat(h2Requests(), h2Frames()))...)
	row(h2Row{"get-at-once", "opening and GET / in one write", func(c *conn) []byte { return join(opening(), c.get(1, "/")) }},
		func(c *conn, b []byte) { c.say(b) })
	row(h2Row{"get-fin", "GET / and FIN", func(c *conn) []byte { return c.get(1, "/") }},
		func(c *conn, b []byte) {
			if c.begin() {
				c.say(b)
				c.finish()
			}
		})
	row(h2Row{"get-pieces", "GET / 9 bytes at a time", func(c *conn) []byte { return c.get(1, "/") }},
		func(c *conn, b []byte) {
			for ok := c.begin(); ok && len(b) > 0; b = b[min(9, len(b)):] {
				ok = c.say(b[:min(9, len(b))]) && c.pause(shortPause)
			}
		})
	return list
}

// h2List are rows that follow the opening.
func h2List(prefix string, rows []h2Row) (list []Probe) {
	for _, r := range rows {
		list = append(list, Probe{Name: prefix + r.name, Sends: "a handshake for HTTP/2; " + r.sends, run: func(c *conn) {
			if c.secure("h2") && c.quiet() && c.begin() {
				c.say(r.bytes(c))
			}
		}})
	}
	return list
}

// begin sends the opening of HTTP/2 and acknowledges the server's settings.
func (c *conn) begin() bool {
	return c.say(opening()) && c.quiet() && c.say(frame(frameSettings, flagAck, 0)) && c.quiet()
}
