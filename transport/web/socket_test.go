package web

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/websocket"
)

// openSocket asks for a WebSocket and returns the connection behind the answer.
func openSocket(t *testing.T, s *stand, path, headers string, behind []byte) (*http.Response, *bufio.Reader, *tls.Conn) {
	t.Helper()
	config := s.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	head := "GET " + path + " HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + headers + "\r\n"
	// What comes behind the request may be read together with it.
	if _, err := c.Write(append([]byte(head), behind...)); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res, br, c
}

func TestSocket(t *testing.T) {
	most, over := random(earlySocket), random(4096)
	s := newStand(t, false, joined(echo))
	payload := random(1 << 20)
	for _, tt := range []struct {
		name, rest, protocol, early string
	}{
		{name: "plain"},
		{name: "early in the header", protocol: base64.RawURLEncoding.EncodeToString([]byte("early bytes")), early: "early bytes"},
		{name: "early in another alphabet", protocol: base64.StdEncoding.EncodeToString([]byte("early?~~bytes")), early: "early?~~bytes"},
		{name: "early in the path", rest: base64.RawURLEncoding.EncodeToString([]byte("early bytes")), early: "early bytes"},
		{name: "as much as there may be", protocol: base64.RawURLEncoding.EncodeToString(most), early: string(most)},
		{name: "more than nginx takes back", protocol: base64.RawURLEncoding.EncodeToString(over), early: string(over)},
		{name: "a protocol by name", protocol: "chat, superchat"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			headers := ""
			if tt.protocol != "" {
				headers = "Sec-WebSocket-Protocol: " + tt.protocol + "\r\n"
			}
			codec := websocket.NewClient()
			behind, _ := codec.Encode(nil, []byte("right behind"))
			res, br, c := openSocket(t, s, "/"+password+"/"+tt.rest, headers, behind)
			// The answer of RFC 6455, Section 1.3, to the key there.
			if res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("got %d %v", res.StatusCode, res.Header)
			}
			want := ""
			if tt.early != "" && tt.rest == "" {
				want = tt.protocol
			}
			if got := res.Header.Get("Sec-WebSocket-Protocol"); got != want {
				t.Errorf("protocol: got %q, want %q", got, want)
			}
			size := 0 // of the head
			for name, values := range res.Header {
				size += len(name) + len(": \r\n") + len(values[0])
			}
			if size += len("HTTP/1.1 101 Switching Protocols\r\n\r\n"); size > mostAnswer && len(tt.early) <= earlySocket {
				t.Errorf("head: got %d bytes, want %d at most", size, mostAnswer)
			}
			padded := want != "" && len(tt.early) <= earlySocket
			if n := len(res.Header.Get("X-Padding")); (n >= leastPadding && n <= mostPadding/2) != padded || n > 0 && !padded {
				t.Errorf("padding: got %d bytes beside the protocol %q, want some where it comes back", n, want)
			}
			go func() {
				for rest := payload; len(rest) > 0; {
					n := min(len(rest), 70_001)
					wire, _ := codec.Encode(nil, rest[:n])
					if _, err := c.Write(wire); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				_, _ = c.Write(codec.End(nil))
			}()
			var got []byte
			for b := make([]byte, 16<<10); ; {
				n, err := br.Read(b)
				if err != nil {
					t.Fatalf("after %d bytes: %v", len(got), err)
				}
				if got, err = codec.Decode(got, b[:n]); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if want := append([]byte(tt.early+"right behind"), payload...); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes that differ, want %d", len(got), len(want))
			}
		})
	}
	for name, path := range map[string]string{
		"wrong path": "/" + password + "x/", "path that is no early payload": "/" + password + "/not base64!",
		"long early payload": "/" + password + "/" + strings.Repeat("A", 2*mostEarly),
	} {
		if res, _, _ := openSocket(t, s, strings.ReplaceAll(path, " ", "%20"), "", nil); res.StatusCode != http.StatusTeapot {
			t.Errorf("%s: got %d, want the site's answer", name, res.StatusCode)
		}
	}
}

// gated is a TLS connection over a Gate, as the site's are.
type gated struct {
	transport.Conn
	noWait bool
}

func (g *gated) NoWait(on bool)  { g.noWait = on }
func (g *gated) WaitRead() error { return transport.WaitRead(g.Conn) }

func (g *gated) Read(b []byte) (int, error) {
	if g.noWait {
		return transport.TryRead(g.Conn, b)
	}
	return g.Conn.Read(b)
}

// TestSecured reads TLS over a gate: whatever comes, in whatever pieces, is read,
// and WaitRead waits for payload, not for bytes.
func TestSecured(t *testing.T) {
	s := newStand(t, false, joined(echo)) // for its certificate
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	client := tls.Client(&slow{Conn: raw}, &tls.Config{InsecureSkipVerify: true})
	server := tls.Server(&gated{Conn: far.(transport.Conn)}, &tls.Config{Certificates: s.TLS.Certificates})
	go func() { _ = client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	payload := random(200_000)
	go func() {
		for rest, n := payload, 1; len(rest) > 0; n = n*3 + 1 {
			n = min(n, len(rest), 20_000)
			_, _ = client.Write(rest[:n])
			rest = rest[n:]
		}
		_ = client.CloseWrite()
	}()
	c := newSecured(server)
	if c.below == nil {
		t.Fatal("the gate was not found")
	}
	var got []byte
	for b := make([]byte, 5000); ; {
		if err := c.WaitRead(); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(b[:1+len(got)%len(b)])
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("after %d bytes: %d, %v", len(got), n, err)
		}
	}
	if !bytes.Equal(got, payload) {
		t.Errorf("got %d bytes that differ, want %d", len(got), len(payload))
	}
}

// slow is a connection that sends each record in two pieces, some time apart.
type slow struct{ net.Conn }

func (s *slow) Write(b []byte) (int, error) {
	half := len(b) / 2
	if n, err := s.Conn.Write(b[:half]); err != nil {
		return n, err
	}
	time.Sleep(200 * time.Microsecond)
	n, err := s.Conn.Write(b[half:])
	return half + n, err
}
