package caddy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestNames asks for hosts on connections for other names of the same server.
func TestNames(t *testing.T) {
	hosts := []string{name, second, third, "CDN.example.org:8443", third + ":443", third + ".", "example.net", "a.wild.example.org", "x." + third, "127.0.0.1", ""}
	for _, sni := range []string{second, third, "STATIC.example.net", "a.wild.example.org", "a.wild.example.net"} {
		for _, host := range hosts {
			t.Run(sni+" "+host, func(t *testing.T) {
				t.Parallel()
				h := "Host: " + host
				compare(t, secure, script{
					pieces: pieces(lines("GET /file.txt HTTP/1.1", h), lines("GET /dir?a HTTP/1.1", h), lines("HEAD /missing HTTP/1.1", h), lines("POST / HTTP/1.1", h, "Connection: close", "Content-Length: 1")+"x"),
					tls:    &tls.Config{InsecureSkipVerify: true, ServerName: sni, NextProtos: []string{"http/1.1"}},
				})
				compare(t, plain, script{pieces: pieces(lines("GET /.well-known/acme-challenge/x HTTP/1.1", h), lines("GET /dir?a HTTP/1.1", h))})
			})
		}
	}
}

// TestNameBytes has server names that no client of crypto/tls sends: addresses,
// and names with what does not belong there.
func TestNameBytes(t *testing.T) {
	const sent = "placeholder.example"
	for _, sni := range []string{"127.0.0.1", "::1", "[::1]", name + ":443", third + ":80", " " + third, third + ".", "." + third, "*." + third, "*", second + "\x00", "\xff"} {
		t.Run(fmt.Sprintf("%q", sni), func(t *testing.T) {
			t.Parallel()
			compareWith(t, secure, func(address string) string {
				raw, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatalf("dial: got %v, want nil", err)
				}
				defer raw.Close()
				// A name of the same length needs no other change: what is missing is an
				// extension's to fill.
				c := &tap{Conn: raw, hook: func(out []byte) []byte { return rename(t, out, sent, sni) }}
				err = tls.Client(c, &tls.Config{ServerName: sent, InsecureSkipVerify: true}).Handshake()
				if err == nil {
					t.Error("handshake: got nil, want its hello refused or its end not understood")
				}
				o := listenTo(c) // what the client has not waited for
				c.mu.Lock()
				defer c.mu.Unlock()
				return records(c.in.Bytes()) + o.end
			})
		})
	}
}

// rename puts another server name into a hello, and shortens all that it is in.
func rename(t *testing.T, b []byte, from, to string) []byte {
	i := bytes.Index(b, []byte(from))
	if i < 0 || b[0] != 22 {
		return b
	}
	out := append(append(append([]byte(nil), b[:i]...), to...), b[i+len(from):]...)
	less := len(from) - len(to)
	// The name, its list, its extension, then all extensions: they begin behind
	// the compression methods, which are "1, 0" in every hello.
	extensions := 5 + 4 + 2 + 32
	extensions += 1 + int(b[extensions])
	extensions += 2 + (int(b[extensions])<<8 | int(b[extensions+1]))
	extensions += 1 + int(b[extensions])
	for _, at := range []int{3, 7, extensions, i - 7, i - 5, i - 2} {
		n := int(out[at])<<8 | int(out[at+1]) - less
		if n <= 0 {
			t.Errorf("length at %d: got %d, want more", at, n)
		}
		out[at], out[at+1] = byte(n>>8), byte(n)
	}
	return out
}

// oneSession is a client's cache that offers its ticket to every name.
type oneSession struct{ state *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.state, o.state != nil }
func (o *oneSession) Put(_ string, s *tls.ClientSessionState)    { o.state = s }

// TestResumptionAcross resumes the session of one name with another.
func TestResumptionAcross(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, names := range [][]string{{name, second}, {name, third}, {third, name, second}, {second, "example.net"}} {
			t.Run(tls.VersionName(version)+" "+strings.Join(names, " "), func(t *testing.T) {
				t.Parallel()
				compareWith(t, secure, func(address string) string {
					var s strings.Builder
					cache := new(oneSession)
					for _, sni := range names {
						raw, err := net.Dial("tcp", address)
						if err != nil {
							t.Fatalf("dial: got %v, want nil", err)
						}
						c := &tap{Conn: raw}
						client := tls.Client(c, &tls.Config{ServerName: sni, InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: cache, NextProtos: []string{"http/1.1"}})
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
}
