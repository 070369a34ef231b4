package site

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	list := []*tls.Certificate{
		certificateFor(t, "example.org", "*.example.org", "*.wild.example"),
		certificateFor(t, otherName, "*.*.deep.example", "192.0.2.1"),
		certificateFor(t, "mail.example.org"),
		certificateFor(t, "long.name.example.org", "*.wild.example"),
	}
	s := newSet(list, []string{siteName, otherName, "long.name.example.org"})
	bare := newSet(list, nil) // as certificates by ACME are
	const none = -1
	for _, test := range []struct {
		server, local string
		protocols     []string
		want, bare    int
	}{
		{server: siteName, want: 0, bare: 0},
		{server: "WWW.example.ORG", want: 0, bare: 0},
		{server: siteName + ":443", want: 0, bare: none},
		{server: "mail.example.org", want: 2, bare: 2},
		{server: otherName, want: 1, bare: 1},
		{server: strings.ToUpper(otherName), want: 1, bare: 1},
		{server: " example.org", want: 0, bare: 0},
		{server: "example.net", want: none, bare: none},
		{server: "a.wild.example", want: 3, bare: 0}, // both are for it
		{server: "a.b.wild.example", want: none, bare: none},
		{server: "a.b.deep.example", want: 1, bare: 1},
		{server: "wild.example", want: none, bare: none},
		{server: "", want: none, bare: none},
		{local: "192.0.2.1", want: 1, bare: 1},
		{local: "192.0.2.2", want: none, bare: none},
		{server: siteName, protocols: []string{acmeProtocol}, want: none, bare: none},
		{server: siteName, protocols: []string{acmeProtocol, "h2"}, want: 0, bare: 0},
	} {
		hello := &tls.ClientHelloInfo{ServerName: test.server, SupportedProtos: test.protocols}
		if test.local != "" {
			hello.Conn = at{local: &net.TCPAddr{IP: net.ParseIP(test.local), Port: 443}}
		}
		for _, in := range []struct {
			set  *set
			want int
		}{{s, test.want}, {bare, test.bare}} {
			got := in.set.choose(hello)
			if in.want == none && got != nil || in.want != none && got != list[in.want] {
				t.Errorf("%+v: got %v, want number %d", test, got, in.want)
			}
		}
	}
}

// Of several certificates for one name, the first that serves the client.
func TestPick(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	first := certificateFor(t, siteName)
	expired := signed(t, first.PrivateKey.(crypto.Signer), time.Now().Add(-time.Hour), siteName)
	ofRSA := signed(t, key, time.Now().Add(time.Hour), siteName)
	narrow := &tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves: []tls.CurveID{tls.CurveP256}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
	}
	all := *narrow
	all.SignatureSchemes = append(all.SignatureSchemes, tls.PSSWithSHA256)
	for _, tt := range []struct {
		name  string
		hello *tls.ClientHelloInfo
		list  []*tls.Certificate
		want  *tls.Certificate
	}{
		{"none", &all, nil, nil},
		{"one, of no use", narrow, []*tls.Certificate{ofRSA}, ofRSA},
		{"the first", &all, []*tls.Certificate{ofRSA, first}, ofRSA},
		{"the first of use", narrow, []*tls.Certificate{ofRSA, first}, first},
		{"the first valid", &all, []*tls.Certificate{expired, ofRSA}, ofRSA},
		{"expired, the last of use", narrow, []*tls.Certificate{ofRSA, expired}, expired},
	} {
		if got := pick(tt.hello, tt.list); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// at is a connection to an address.
type at struct {
	net.Conn
	local net.Addr
}

func (a at) LocalAddr() net.Addr { return a.local }

// FuzzChoose has server names of all kinds. Certificates without wildcards are
// for the names in them and no other.
func FuzzChoose(f *testing.F) {
	for _, name := range []string{"", siteName, "[::1]", "[", "a:b:c", "*.x", strings.Repeat(".", 300)} {
		f.Add(name)
	}
	s := newSet([]*tls.Certificate{certificateFor(f, siteName, "third.example"), certificateFor(f, "other.example")}, []string{siteName})
	f.Fuzz(func(t *testing.T, name string) {
		hello := &tls.ClientHelloInfo{ServerName: name}
		got := s.choose(hello) != nil
		for _, known := range []string{siteName, "third.example", "other.example"} {
			if got && strings.Contains(strings.ToLower(name), known) {
				return
			}
		}
		if got {
			t.Errorf("%q: got a certificate, want none", name)
		}
	})
}
