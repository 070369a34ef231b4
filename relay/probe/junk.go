package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// junkLengths straddle what servers read before they judge: a record header, a
// SOCKS request, the salts of Shadowsocks, 50 and 64 bytes of other proxies,
// pages and records.
var junkLengths = []int{1, 2, 4, 5, 6, 10, 16, 20, 32, 40, 49, 50, 51, 63, 64, 65, 100, 200, 517, 1000, 1448, 4096, 5000, 16384, 16389, 20000}

func junkProbes() (list []Probe) {
	for _, n := range junkLengths {
		list = append(list, once(fmt.Sprintf("junk-%d", n), plural(n, "random byte"), noise(n)))
	}
	for _, n := range []int{1, 5, 6, 50, 64, 65, 200, 1000, 5000, 16384} {
		list = append(list, Probe{Name: fmt.Sprintf("junk-%d-fin", n), Sends: plural(n, "random byte") + " and FIN", run: func(c *conn) {
			c.send(noise(n))
			c.finish()
		}})
	}
	for _, n := range []int{5, 64, 200} {
		list = append(list, Probe{Name: fmt.Sprintf("junk-%d-bytewise", n), Sends: plural(n, "random byte") + ", 2 ms apart", run: func(c *conn) {
			c.pace(noise(n), 1, shortPause)
		}})
	}
	for _, n := range []int{1, 5, 64, 1000} {
		list = append(list,
			once(fmt.Sprintf("zeros-%d", n), plural(n, "zero byte"), make([]byte, n)),
			once(fmt.Sprintf("ff-%d", n), plural(n, "byte")+" 0xff", bytes.Repeat([]byte{0xff}, n)))
	}
	for _, version := range []uint16{0x0301, 0x0303} {
		for _, n := range []int{60, 512, 1800} {
			body := noise(n)
			list = append(list, once(fmt.Sprintf("dressed-%04x-%d", version, n),
				fmt.Sprintf("16 %02x %02x, a length that is right and %d random bytes", version>>8, version&0xff, n),
				plainRecord(recHandshake, version, body)))
			body = bytes.Clone(body)
			body[0], body[1], body[2], body[3] = msgClientHello, 0, byte((n-4)>>8), byte(n-4)
			list = append(list, once(fmt.Sprintf("dressed-hello-%04x-%d", version, n),
				fmt.Sprintf("the headers of a ClientHello of version %04x and %d random bytes", version, n-4),
				plainRecord(recHandshake, version, body)))
		}
	}
	list = append(list,
		once("letters-64", "64 letters", bytes.Repeat([]byte("ab"), 32)),
		once("newlines", "20 newlines", bytes.Repeat([]byte("\r\n"), 10)),
		once("text-line", "a line of text", []byte("hello, is anybody there?\r\n")),
		once("obfuscated2", "64 bytes as Telegram's obfuscated2 opens", obfuscated2()),
		once("obfuscated2-more", "64 bytes as Telegram's obfuscated2 opens, and 200 more", obfuscated2(), noise(200)),
		once("abridged", "Telegram's abridged opening", []byte{0xef, 0x0a}, make([]byte, 40)),
		once("intermediate", "Telegram's intermediate opening", []byte{0xee, 0xee, 0xee, 0xee, 40, 0, 0, 0}, make([]byte, 40)),
	)
	return list
}

// obfuscated2 is a frame of 64 bytes that begins as nothing else does.
func obfuscated2() []byte {
	b := noise(64)
	copy(b, []byte{0x9b, 0x41, 0x7c, 0x22, 0x5e, 0x13, 0x88, 0x01})
	return b
}

// protocolProbes speak something else to a TLS port.
func protocolProbes() []Probe {
	v2 := func(command byte) []byte {
		b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, 0x11, 0, 12)
		return append(b, 127, 0, 0, 1, 127, 0, 0, 1, 0x30, 0x39, 1, 0xbb)
	}
	query := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01")
	inFront := func(name, sends string, head []byte) Probe {
		return Probe{Name: name, Sends: sends + " in front of a ClientHello", run: func(c *conn) {
			c.send(head, c.hello().records())
		}}
	}
	return []Probe{
		once("socks5", "a SOCKS5 greeting, no password", []byte{5, 1, 0}),
		once("socks5-password", "a SOCKS5 greeting, password", []byte{5, 1, 2}),
		once("socks5-both", "a SOCKS5 greeting, both methods", []byte{5, 2, 0, 2}),
		once("socks5-request", "a SOCKS5 greeting and a request in one write", []byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 80}),
		once("socks4", "a SOCKS4 request", []byte{4, 1, 0, 80, 127, 0, 0, 1, 0}),
		once("socks4a", "a SOCKS4a request", []byte("\x04\x01\x00\x50\x00\x00\x00\x01\x00example.com\x00")),
		once("ssh", "an SSH banner", []byte("SSH-2.0-OpenSSH_9.2\r\n")),
		once("smtp", "an SMTP greeting", []byte("EHLO example.com\r\n")),
		once("ftp", "an FTP login", []byte("USER anonymous\r\n")),
		once("imap", "an IMAP command", []byte("a1 CAPABILITY\r\n")),
		once("redis", "a Redis command", []byte("*1\r\n$4\r\nPING\r\n")),
		once("sip", "a SIP request", []byte("OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n")),
		once("rtsp", "an RTSP request", []byte("OPTIONS / RTSP/1.0\r\n\r\n")),
		once("dns", "a DNS query over TCP", binary.BigEndian.AppendUint16(nil, uint16(len(query))), query),
		once("rdp", "an RDP connection request", []byte("\x03\x00\x00\x2c\x27\xe0\x00\x00\x00\x00\x00Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x03\x00\x00\x00")[:44]),
		once("smb", "an SMB negotiation", []byte("\x00\x00\x00\x54\xffSMB\x72"), make([]byte, 79)),
		once("postgres", "a Postgres request for TLS", []byte{0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}),
		once("ldap", "an LDAP bind", []byte{0x30, 0x0c, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0}),
		once("mqtt", "an MQTT connect", []byte("\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test")),
		once("bittorrent", "a BitTorrent handshake", []byte("\x13BitTorrent protocol"), noise(48)),
		once("openvpn", "an OpenVPN reset over TCP", []byte{0, 14, 0x38}, noise(13)),
		once("tor", "a Tor VERSIONS cell", []byte{0, 0, 7, 0, 6, 0, 3, 0, 4, 0, 5}),
		once("trojan", "a Trojan request in the clear", bytes.Repeat([]byte("0a1b2c3d4e5f6a7b"), 4)[:56], []byte("\r\n\x01\x03\x0bexample.com\x00\x50\r\n")),
		once("vless", "a VLESS request in the clear", []byte{0}, noise(16), []byte{0, 1, 0, 80, 1, 127, 0, 0, 1}),
		once("proxy-v1", "a PROXY protocol header, version 1", []byte("PROXY TCP4 127.0.0.1 127.0.0.1 12345 443\r\n")),
		once("proxy-v2", "a PROXY protocol header, version 2", v2(1)),
		inFront("proxy-v1-hello", "a PROXY protocol header, version 1,", []byte("PROXY TCP4 127.0.0.1 127.0.0.1 12345 443\r\n")),
		inFront("proxy-v1-unknown-hello", "PROXY UNKNOWN", []byte("PROXY UNKNOWN\r\n")),
		inFront("proxy-v2-hello", "a PROXY protocol header, version 2,", v2(1)),
		inFront("proxy-v2-local-hello", "a PROXY protocol header, version 2, LOCAL,", v2(0)),
		inFront("newline-hello", "an empty line", []byte("\r\n")),
		inFront("zero-hello", "a zero byte", []byte{0}),
	}
}

// plainProbes are HTTP in the clear on the TLS port.
func plainProbes() []Probe {
	rows := []struct{ name, sends, text string }{
		{"get", "GET /", "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-10", "GET / of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"},
		{"get-09", "GET / of HTTP/0.9", "GET /\r\n"},
		{"get-no-host", "GET / without Host", "GET / HTTP/1.1\r\n\r\n"},
		{"get-close", "GET / with Connection: close", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"},
		{"get-404", "GET of what is not there", "GET /nothing/here HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"get-absolute", "GET of an absolute URI", "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n"},
		{"get-proxy", "GET of an absolute URI with a proxy password", "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nProxy-Authorization: Basic YTpi\r\n\r\n"},
		{"post", "POST with a body", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\nhello"},
		{"head", "HEAD /", "HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"options", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"connect", "CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"},
		{"connect-10", "CONNECT of HTTP/1.0", "CONNECT 127.0.0.1:80 HTTP/1.0\r\n\r\n"},
		{"connect-proxy", "CONNECT with a proxy password", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"},
		{"upgrade", "GET / that asks for h2c", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"},
		{"websocket", "GET / that asks for a WebSocket", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"},
		{"h2-preface", "the preface of HTTP/2", h2Preface},
		{"h2-settings", "the preface of HTTP/2 and SETTINGS", h2Preface + string(frame(frameSettings, 0, 0))},
		{"long-header", "GET / with a header of 9000 bytes", "GET / HTTP/1.1\r\nHost: HOST\r\nX: " + string(bytes.Repeat([]byte{'x'}, 9000)) + "\r\n\r\n"},
		{"long-line", "GET of a URI of 9000 bytes without an end", "GET /" + string(bytes.Repeat([]byte{'x'}, 9000))},
		{"bad-method", "a method nobody has", "BREW / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"bad-version", "GET / of HTTP/9.9", "GET / HTTP/9.9\r\nHost: HOST\r\n\r\n"},
		{"half", "the first half of a request", "GET / HTTP/1.1\r\nHost: "},
		{"verb", "GET and a space", "GET "},
		{"letter", "the letter G", "G"},
		{"lower", "get / in lower case", "get / http/1.1\r\nhost: HOST\r\n\r\n"},
		{"pipelined", "two requests at once", "GET / HTTP/1.1\r\nHost: HOST\r\n\r\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	}
	var list []Probe
	for _, r := range rows {
		list = append(list, Probe{Name: "plain-" + r.name, Sends: r.sends + ", in the clear", run: func(c *conn) {
			c.send(bytes.ReplaceAll([]byte(r.text), []byte("HOST"), []byte(c.host)))
		}})
	}
	return append(list,
		Probe{Name: "plain-get-bytewise", Sends: "GET / in the clear, 2 ms apart", run: func(c *conn) {
			c.pace([]byte("GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n"), 1, shortPause)
		}},
		Probe{Name: "plain-get-late", Sends: "GET / in the clear, 400 ms after the first letter", run: func(c *conn) {
			c.send([]byte("G"))
			c.pause(verdictPause)
			c.send([]byte("ET / HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n"))
		}},
		Probe{Name: "plain-get-fin", Sends: "GET / in the clear and FIN", run: func(c *conn) {
			c.send([]byte("GET / HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n"))
			c.finish()
		}})
}
