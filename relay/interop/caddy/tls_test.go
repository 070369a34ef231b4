package caddy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// tap is a connection whose bytes are kept.
type tap struct {
	net.Conn
	mu   sync.Mutex
	in   bytes.Buffer
	out  bytes.Buffer
	hook func(out []byte) []byte // changes what is sent
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.Write(b[:n])
	return n, err
}

func (c *tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.out.Write(b)
	c.mu.Unlock()
	if c.hook != nil {
		if _, err := c.Conn.Write(c.hook(bytes.Clone(b))); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *tap) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// records describes what a server sent: the type, version and length of each
// record, the ServerHello without what is random in it, and alerts.
func records(b []byte) string {
	var s strings.Builder
	hidden := false // behind ChangeCipherSpec, where a first byte means nothing
	for len(b) > 0 {
		if len(b) < 5 || len(b) < 5+int(binary.BigEndian.Uint16(b[3:])) {
			fmt.Fprintf(&s, "not a record: %q", b)
			break
		}
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		fmt.Fprintf(&s, "%d %x %d", b[0], b[1:3], n-5)
		switch body := b[5:n]; {
		case b[0] == 20:
			hidden = true
		case b[0] == 21 && len(body) == 2:
			fmt.Fprintf(&s, " alert %x", body)
		case b[0] == 22 && !hidden && len(body) > 38 && body[0] == 2:
			s.WriteString(serverHello(body))
		}
		s.WriteString("\n")
		b = b[n:]
	}
	return s.String()
}

// serverHello is the message with zeros for the random, unless it is the one of
// a HelloRetryRequest or ends in a downgrade mark, and for the key share.
func serverHello(body []byte) string {
	b := bytes.Clone(body[:4+(int(body[1])<<16|int(body[2])<<8|int(body[3]))])
	random := b[6:38]
	if random[0] != 0xcf || random[1] != 0x21 {
		clear(random[:24])
		if !bytes.HasPrefix(random[24:], []byte("DOWNGRD")) {
			clear(random[24:])
		}
	}
	if id := int(b[38]); id > 0 {
		clear(b[39 : 39+id]) // an echo
	}
	if i := bytes.Index(b, []byte{0x00, 0x33}); i > 38 && len(b) > i+8 {
		if n := int(binary.BigEndian.Uint16(b[i+2:])); n > 4 {
			clear(b[i+8 : i+4+n])
		}
	}
	return fmt.Sprintf(" ServerHello %x", b)
}

// hello is a client's handshake.
type hello struct {
	name   string
	config *tls.Config
}

func hellos() []hello {
	all := []hello{{"default", &tls.Config{}}}
	for _, p := range [][]string{{"h2"}, {"http/1.1"}, {"h2", "http/1.1"}, {"http/1.1", "h2"}, {"foo"}, {"foo", "h2"}, {"acme-tls/1"}, {"acme-tls/1", "h2"}, {"acme-tls/1", "x"}, {"h3"}, {"http/1.0"}} {
		all = append(all, hello{"alpn " + strings.Join(p, " "), &tls.Config{NextProtos: p}})
	}
	for _, c := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024} {
		all = append(all, hello{"curve " + c.String(), &tls.Config{CurvePreferences: []tls.CurveID{c}}},
			hello{"curve P-521, then " + c.String(), &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521, c}}})
	}
	for _, n := range []string{"WWW.EXAMPLE.ORG", second, third, "Static.Example.NET", "a.wild.example.net", "x." + third, "example.org", "x.www.example.org", "a.wild.example.org", "a.b.wild.example.org", "wild.example.org", "localhost", "", "127.0.0.1", "xn--nxasmq6b.example.org", "a..b", "*.wild.example.org", " www.example.org", strings.Repeat("a.", 120) + "org"} {
		all = append(all, hello{"name " + n, &tls.Config{ServerName: n}}, hello{"name, no curve, " + n, &tls.Config{ServerName: n, CurvePreferences: []tls.CurveID{tls.CurveP521}}},
			hello{"name, TLS 1.2, " + n, &tls.Config{ServerName: n, MaxVersion: tls.VersionTLS12}}, hello{"name, bad alpn, " + n, &tls.Config{ServerName: n, NextProtos: []string{"foo"}}})
	}
	for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS13; v++ {
		all = append(all, hello{tls.VersionName(v), &tls.Config{MinVersion: v, MaxVersion: v, NextProtos: []string{"h2", "http/1.1"}}})
	}
	for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, c := range suites {
			all = append(all, hello{c.Name, &tls.Config{CipherSuites: []uint16{c.ID}, MaxVersion: tls.VersionTLS12}},
				hello{c.Name + " h2", &tls.Config{CipherSuites: []uint16{c.ID}, MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}})
		}
	}
	return all
}

// TestFlight compares everything that the servers send until the client has said
// something after its handshake: record by record, with the ServerHello.
func TestFlight(t *testing.T) {
	for _, h := range hellos() {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			compareWith(t, secure, func(address string) string { return flight(t, address, h.config.Clone()) })
		})
	}
}

func flight(t *testing.T, address string, config *tls.Config) string {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	defer raw.Close()
	named := config.ServerName != "" || strings.Contains(t.Name(), "name")
	if !named {
		config.ServerName = name
	}
	config.InsecureSkipVerify = true
	c := &tap{Conn: raw}
	client := tls.Client(c, config)
	if err = client.Handshake(); err == nil && len(config.NextProtos) < 2 {
		_, err = client.Write([]byte("rubbish\r\n\r\n"))
	}
	state := client.ConnectionState()
	o := listenTo(client)
	if err != nil {
		o = listenTo(c) // what remains
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Session ids and tickets are as long as each other; certificates are equal.
	return fmt.Sprintf("%s\n%v, %x, %v, %s", records(c.in.Bytes()), state.NegotiatedProtocol, state.Version, err, o.end)
}

// TestResumption resumes a session twice, and one whose ticket is broken.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			compareWith(t, secure, func(address string) string {
				var s strings.Builder
				cache := tls.NewLRUClientSessionCache(4)
				for range 3 {
					raw, err := net.Dial("tcp", address)
					if err != nil {
						t.Fatalf("dial: got %v, want nil", err)
					}
					config := clientConfig("http/1.1")
					config.MaxVersion, config.ClientSessionCache = version, cache
					c := &tap{Conn: raw}
					client := tls.Client(c, config)
					_, err = io.WriteString(client, get("GET", "/file.txt"))
					_, _ = io.Copy(io.Discard, client)
					fmt.Fprintf(&s, "%v, resumed %v\n%s\n", err, client.ConnectionState().DidResume, records(c.in.Bytes()))
					_ = raw.Close()
				}
				return s.String()
			})
		})
	}
}

// firstRecord is the hello that a client sends.
func firstRecord(t *testing.T) []byte {
	near, far := net.Pipe()
	defer near.Close()
	go func() { _ = tls.Client(far, clientConfig("h2", "http/1.1")).Handshake() }()
	head := make([]byte, 5)
	if _, err := io.ReadFull(near, head); err != nil {
		t.Fatalf("hello: got %v, want nil", err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(near, body); err != nil {
		t.Fatalf("hello: got %v, want nil", err)
	}
	return append(head, body...)
}

// rubbish is what probes send: broken hellos, other protocols, too much.
func rubbish(t *testing.T) []request {
	h := firstRecord(t)
	change := func(at int, b ...byte) string {
		c := bytes.Clone(h)
		copy(c[at:], b)
		return string(c)
	}
	ccs := "\x14\x03\x03\x00\x01\x01"
	all := []request{
		one("nothing", ""), one("one byte", "\x16"), one("half a head", "\x16\x03"), one("head", string(h[:5])), one("half a hello", string(h[:200])),
		one("hello", string(h)), one("hello twice", string(h)+string(h)), one("hello and data", string(h)+"\x17\x03\x03\x00\x01x"),
		one("hello and rubbish", string(h)+strings.Repeat("rubbish ", 10)), one("hello and much rubbish", string(h)+strings.Repeat("rubbish ", 2000)),
		one("hello and alert", string(h)+"\x15\x03\x03\x00\x02\x02\x28"), one("hello and warning", string(h)+"\x15\x03\x03\x00\x02\x01\x00"),
		one("alert", "\x15\x03\x01\x00\x02\x02\x28"), one("warnings", strings.Repeat("\x15\x03\x01\x00\x02\x01\x5a", 20)), one("data", "\x17\x03\x03\x00\x01x"), one("ccs", ccs),
		one("empty records", strings.Repeat("\x16\x03\x01\x00\x00", 40)), one("record type", change(0, 0x18)), one("record version", change(1, 2, 0)), one("record version 3.4", change(1, 3, 4)),
		one("record version 9.9", change(1, 9, 9)), one("length 0", change(3, 0, 0)), one("length 1", change(3, 0, 1)), one("length 16385", change(3, 0x40, 1)), one("length 18432", change(3, 0x48, 0)), one("length 18433", change(3, 0x48, 1)), one("length ffff", change(3, 0xff, 0xff)),
		one("message type", change(5, 2)), one("message 0", change(5, 0)), one("message finished", change(5, 20)), one("message length", change(6, 0, 0, 4)), one("message too long", change(6, 2, 0, 0)), one("message of 16 MB", change(6, 0xff, 0xff, 0xff)),
		one("hello version 0", change(9, 0, 0)), one("hello version 3.1", change(9, 3, 1)), one("hello version 3.4", change(9, 3, 4)), one("session id", change(43, 33)), one("session id 0", change(43, 0)), one("suites odd", change(76, 0, 1)), one("no suites", change(76, 0, 0)),
		one("SSL 2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"+strings.Repeat("x", 40)), one("SSH", "SSH-2.0-x\r\n"), one("SMTP", "EHLO x\r\n"), one("SOCKS 5", "\x05\x01\x00"), one("zeros", strings.Repeat("\x00", 64)), one("random", "\x8b\x1f\xee\x01\x02\x9c\x44\xa7\x10\xfe"),
		{"split hello", [][]byte{h[:1], h[1:5], h[5:100], h[100:]}},
		one("fragmented hello", "\x16\x03\x01\x00\x04"+string(h[5:9])+"\x16\x03\x01"+string([]byte{byte((len(h) - 9) >> 8), byte(len(h) - 9)})+string(h[9:])),
	}
	for i := range h {
		if i%37 == 11 {
			all = append(all, one(fmt.Sprintf("bit of byte %d", i), change(i, h[i]^1)))
		}
	}
	for _, n := range []int{1, 15, 16, 17, 18, 32, 33} {
		all = append(all, one(fmt.Sprintf("%d ccs behind hello", n), string(h)+strings.Repeat(ccs, n)), one(fmt.Sprintf("%d ccs before hello", n), strings.Repeat(ccs, n)+string(h)))
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "CONNECT", "PRI", "get"} {
		all = append(all, one("plain "+method, get(method, "/")))
	}
	for _, n := range []int{5, 100, 300, 511, 512, 513, 516, 517, 518, 519, 600, 699, 700, 701, 1023, 1024, 1025, 2000, 5000, 70000} {
		all = append(all, one(fmt.Sprintf("plain GET of %d", n), "GET /"+strings.Repeat("x", n-5)), one(fmt.Sprintf("rubbish of %d", n), strings.Repeat("r", n)),
			one(fmt.Sprintf("hello and %d", n), string(h)+strings.Repeat("r", n)))
	}
	return all
}

// TestRubbish compares alerts, and whether the end is a FIN or a reset.
func TestRubbish(t *testing.T) {
	for _, q := range rubbish(t) {
		for _, half := range []bool{false, true} {
			label := q.name
			if half {
				label += ", ended"
			}
			t.Run(label, func(t *testing.T) {
				t.Parallel()
				compareWith(t, secure, func(address string) string {
					o := play(t, address, script{pieces: q.pieces, half: half})
					if o.said == "" || o.said[0] == 'H' {
						return o.String()
					}
					return records([]byte(o.said)) + o.end
				})
			})
		}
	}
}
