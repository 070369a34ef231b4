package interop

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	echPublic = "public.example.net" // in the hello that everybody can read
	dohName   = "dns.example.net"
)

// newECHKey is a key for Encrypted Client Hello (RFC 9849, Section 4).
func newECHKey(t *testing.T) (key tls.EncryptedClientHelloKey, list []byte) {
	t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body := append([]byte{1, 0, 0x20, 0, 32}, private.PublicKey().Bytes()...)
	body = append(body, 0, 4, 0, 1, 0, 1, 0, byte(len(echPublic))) // HKDF-SHA256, AES-128-GCM
	body = append(append(body, echPublic...), 0, 0)
	config := append(binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(body))), body...)
	return tls.EncryptedClientHelloKey{Config: config, PrivateKey: private.Bytes(), SendAsRetry: true},
		append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}

// echFront ends TLS in front of an origin, and counts requests by a hidden name.
func echFront(t *testing.T, l shareLink, pair string, key tls.EncryptedClientHelloKey) (addr string, hidden *atomic.Int64) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(pair+".pem", pair+".key")
	if err != nil {
		t.Fatal(err)
	}
	hidden = new(atomic.Int64)
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: net.JoinHostPort(l.host, l.port)})
	pass.FlushInterval = -1
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.TLS.ECHAccepted && req.TLS.ServerName == coverName {
			hidden.Add(1)
		}
		pass.ServeHTTP(w, req)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, EncryptedClientHelloKeys: []tls.EncryptedClientHelloKey{key}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), hidden
}

// dohServer answers for coverName, with a list for ECH if there is one. Certificates of
// it are in a file of authorities.
func dohServer(t *testing.T, list []byte) (resolver, roots string) {
	t.Helper()
	pair := filepath.Join(t.TempDir(), "doh")
	pairFor(t, pair, dohName, 0)
	certificate, err := tls.LoadX509KeyPair(pair+".pem", pair+".key")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		query, err := io.ReadAll(io.LimitReader(req.Body, 4096))
		answer, bad := dohAnswer(query, list)
		if err != nil || bad != nil {
			http.Error(w, "bad query", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/dns-message")
		_, _ = w.Write(answer)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return fmt.Sprintf("https://%s:%s/dns-query#127.0.0.1", dohName, port), pair + ".pem"
}

func dohAnswer(query, list []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, fmt.Errorf("question: %w", err)
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	switch {
	case q.Name.String() != coverName+".":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA: // nobody connects to it: the front says where
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: [4]byte{1, 1, 1, 1}}}}
	case q.Type == dnsmessage.TypeHTTPS && list != nil:
		record := &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: 1, Target: dnsmessage.MustNewName(".")}}
		record.SetParam(dnsmessage.SVCParamECH, list)
		m.Answers = []dnsmessage.Resource{{Header: head, Body: record}}
	}
	return m.Pack()
}

// TestEntryECH hides the exit's name: what the wire shows is the public one.
func TestEntryECH(t *testing.T) {
	integration(t)
	s := webRelay(t, true)
	pair := filepath.Join(t.TempDir(), "front")
	pairFor(t, pair, coverName, 0)
	key, list := newECHKey(t)
	front, hidden := echFront(t, s.links["xhttp"], pair, key)
	for _, tt := range []struct {
		name string
		ech  string
		list []byte // in the DNS
		want bool
	}{
		{"list", base64.StdEncoding.EncodeToString(list), nil, true},
		{"dns", "dns", list, true},
		{"dns without a list", "dns", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCensor(t, front, censorRules{})
			resolver, roots := dohServer(t, tt.list)
			l := s.links["xhttp"].with(map[string]string{"security": "tls", "sni": coverName, "pcs": pinOf(t, pair+".pem"), "mode": "packet-up"})
			before := hidden.Load()
			r := entryIn(t, []string{"SSL_CERT_FILE=" + roots}, upstream(l.text())+
				fmt.Sprintf("[[upstream.front]]\nconnect = [%q]\nresolver = %q\nech = %q\n", c.addr, resolver, tt.ech))
			if !tt.want {
				if err := refusedAt(r.proxy("socks5"), listen(t, echo)); err != nil {
					t.Error(err)
				}
				if got := c.seen(); len(got) > 0 {
					t.Errorf("connections: got %d, want none: the name would be there to read", len(got))
				}
				return
			}
			u := &vlessUse{server: s, way: vlessWay{brief: true}, via: r.proxy("socks5")}
			if err := secureInside(t, u); err != nil {
				t.Fatal(err)
			}
			if hidden.Load() == before {
				t.Error("requests by a hidden name: got none")
			}
			for _, f := range c.seen() {
				t.Logf("the wire shows %q", f.Name)
				if f.Name != echPublic || bytes.Contains(f.Hello, []byte(coverName)) {
					t.Errorf("hello: got %q in the clear, want %s and nothing else", f.Name, echPublic)
				}
			}
		})
	}
}

// entryIn is entry with more in the environment.
func entryIn(t *testing.T, env []string, upstreams string) *relay {
	t.Helper()
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := fmt.Sprintf("state = %q\n[[listen]]\naddress = \"127.0.0.1:0\"\ninbounds = [\"socks5\", \"http\"]\nanonymous = true\n[egress]\nallow = [\"127.0.0.0/8\"]\n%s", t.TempDir(), upstreams)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startIn(t, env, []string{"socks5", "http"}, "serve", "--config", file)
}
