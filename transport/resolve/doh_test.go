package resolve

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is what a test's name server knows: records by "name TYPE".
type zone map[string][]dnsmessage.ResourceBody

func (z zone) answer(t testing.TB, query []byte) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		t.Errorf("query: got %v, %d questions, want one", err, len(m.Questions))
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	exists := false
	name := strings.TrimSuffix(q.Name.String(), ".")
	for key := range z {
		exists = exists || strings.HasPrefix(key, name+" ")
	}
	if !exists {
		m.RCode = dnsmessage.RCodeNameError
	}
	for name := name; name != ""; {
		key, alias := name, z[name+" CNAME"]
		bodies := append(alias, z[key+" "+strings.TrimPrefix(q.Type.String(), "Type")]...)
		for _, b := range bodies {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(key + "."), Class: dnsmessage.ClassINET, TTL: 300}, Body: b,
			})
		}
		name = ""
		if len(alias) > 0 {
			name = strings.TrimSuffix(alias[0].(*dnsmessage.CNAMEResource).CNAME.String(), ".")
		}
	}
	msg, err := m.Pack()
	if err != nil {
		t.Errorf("answer: got %v, want it packed", err)
	}
	return msg
}

func a(s string) dnsmessage.ResourceBody {
	addr := netip.MustParseAddr(s)
	if addr.Is4() {
		return &dnsmessage.AResource{A: addr.As4()}
	}
	return &dnsmessage.AAAAResource{AAAA: addr.As16()}
}

func cname(s string) dnsmessage.ResourceBody {
	return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(s + ".")}
}

func https(priority uint16, target string, params ...dnsmessage.SVCParam) dnsmessage.ResourceBody {
	return &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: priority, Target: dnsmessage.MustNewName(target), Params: params}}
}

func param(key dnsmessage.SVCParamKey, value string) dnsmessage.SVCParam {
	return dnsmessage.SVCParam{Key: key, Value: []byte(value)}
}

// list is an ECHConfigList with one config that has body b.
func list(b byte) []byte { return []byte{0, 5, 0xfe, 0x0d, 0, 1, b} }

func ech(b byte) dnsmessage.SVCParam { return param(dnsmessage.SVCParamECH, string(list(b))) }

// dohServer is a DoH server on loopback, over TLS and HTTP/2.
type dohServer struct {
	*httptest.Server
	conns atomic.Int32

	mu       sync.Mutex
	requests []string
}

func newDoHServer(t *testing.T, answer func(w http.ResponseWriter, query []byte)) *dohServer {
	t.Helper()
	s := &dohServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if r.Method == http.MethodGet {
			query, err = base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		}
		if err != nil || len(query)%paddedTo != 0 || r.ProtoMajor != 2 || r.Header.Get("Accept") != dnsMessage {
			t.Errorf("%s %s: got %d bytes, %v, %s, accept %q, want a padded query over HTTP/2", r.Method, r.URL.Path, len(query), err, r.Proto, r.Header.Get("Accept"))
		}
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.Host+r.URL.Path)
		s.mu.Unlock()
		answer(w, query)
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// asked returns the requests so far.
func (s *dohServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// resolver is a DoH that reaches the server under the name of its URL.
func (s *dohServer) resolver(t *testing.T, url string) *DoH {
	t.Helper()
	server, err := ParseServer(url)
	if err != nil {
		t.Fatal(err)
	}
	rt := &http.Transport{
		MaxConnsPerHost: 1,
		// net/http does not speak HTTP/2 over a hooked dial unless it is told to.
		ForceAttemptHTTP2: true,
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", NextProtos: []string{"h2"}}}
			return d.DialContext(ctx, network, s.Listener.Addr().String())
		},
	}
	t.Cleanup(rt.CloseIdleConnections)
	return &DoH{Exchange: HTTP(server, rt)}
}

func TestDoH(t *testing.T) {
	z := zone{
		"two.test A": {a("1.1.1.1")}, "two.test AAAA": {a("2606:4700:4700::1111")},
		"four.test A":       {a("1.1.1.1"), a("1.0.0.1")},
		"six.test AAAA":     {a("2606:4700:4700::1111")},
		"none.test TXT":     {},
		"ech.test A":        {a("1.1.1.1")},
		"ech.test HTTPS":    {https(2, ".", ech(2)), https(1, ".", param(dnsmessage.SVCParamALPN, "\x02h3\x02h2"), ech(1))},
		"www.test CNAME":    {cname("cdn.test")},
		"cdn.test A":        {a("1.1.1.1")},
		"cdn.test HTTPS":    {https(1, ".", ech(7))},
		"apex.test A":       {a("9.9.9.9")},
		"apex.test HTTPS":   {https(0, "cdn.test.")},
		"pool.test A":       {a("9.9.9.9")},
		"pool.test HTTPS":   {https(1, "www.test.", ech(3))},
		"gone.test A":       {a("9.9.9.9")},
		"gone.test HTTPS":   {https(1, "missing.test.", ech(3))},
		"hints.test A":      {a("9.9.9.9")},
		"hints.test HTTPS":  {https(1, "missing.test.", param(dnsmessage.SVCParamIPv4Hint, "\x08\x08\x08\x08"), ech(4))},
		"self.test A":       {a("1.1.1.1")},
		"self.test HTTPS":   {https(0, ".")},
		"round.test A":      {a("1.1.1.1")},
		"round.test HTTPS":  {https(0, "trip.test.")},
		"trip.test HTTPS":   {https(0, "round.test.")},
		"loop.test CNAME":   {cname("loop2.test")},
		"port.test A":       {a("1.1.1.1")},
		"port.test HTTPS":   {https(1, ".", param(dnsmessage.SVCParamPort, "\x20\xfb"), ech(1))},
		"h3.test A":         {a("1.1.1.1")},
		"h3.test HTTPS":     {https(1, ".", param(dnsmessage.SVCParamALPN, "\x02h3"), param(dnsmessage.SVCParamNoDefaultALPN, ""), ech(1))},
		"must.test A":       {a("1.1.1.1")},
		"must.test HTTPS":   {https(1, ".", param(dnsmessage.SVCParamMandatory, "\xff\x00"), ech(1), param(0xff00, "x"))},
		"future.test A":     {a("1.1.1.1")},
		"future.test HTTPS": {https(1, ".", param(dnsmessage.SVCParamECH, "\x00\x05\xfe\x0e\x00\x01x"))},
		"bad.test A":        {a("1.1.1.1")},
		"bad.test HTTPS":    {https(1, ".", param(dnsmessage.SVCParamECH, "\x00\x09x"))},
		"page.test A":       {a("10.10.34.35")},
		"half.test A":       {a("1.1.1.1")}, "half.test AAAA": {a("::1")},
		"nas.home.arpa A":  {a("192.168.1.2")},
		"mapped.test AAAA": {a("64:ff9b::7f00:1")},
	}
	s := newDoHServer(t, func(w http.ResponseWriter, query []byte) {
		w.Header().Set("Content-Type", dnsMessage)
		_, _ = w.Write(z.answer(t, query))
	})
	d := s.resolver(t, "https://dns.test/dns-query#192.0.2.1")
	for _, tt := range []struct{ name, want string }{
		{"two.test", "[2606:4700:4700::1111 1.1.1.1]  5m0s <nil>"},
		{"TWO.test.", "[2606:4700:4700::1111 1.1.1.1]  5m0s <nil>"},
		{"four.test", "[1.1.1.1 1.0.0.1]  5m0s <nil>"},
		{"six.test", "[2606:4700:4700::1111]  5m0s <nil>"},
		{"none.test", "[]  0s the name has no address"},
		{"unknown.test", "[]  0s the name has no address"},
		{"ech.test", "[1.1.1.1] 0005fe0d000101 5m0s <nil>"},
		{"www.test", "[1.1.1.1] 0005fe0d000107 5m0s <nil>"},
		{"apex.test", "[1.1.1.1] 0005fe0d000107 5m0s <nil>"},
		{"pool.test", "[1.1.1.1] 0005fe0d000103 5m0s <nil>"},
		{"gone.test", "[9.9.9.9]  5m0s <nil>"},
		{"hints.test", "[8.8.8.8] 0005fe0d000104 10s <nil>"},
		{"self.test", "[1.1.1.1]  5m0s <nil>"},
		{"round.test", "[1.1.1.1]  5m0s <nil>"},
		{"loop.test", "[]  0s the name has no address"},
		{"port.test", "[1.1.1.1]  5m0s <nil>"},
		{"h3.test", "[1.1.1.1]  5m0s <nil>"},
		{"must.test", "[1.1.1.1]  5m0s <nil>"},
		{"future.test", "[1.1.1.1]  5m0s <nil>"},
		{"bad.test", "[1.1.1.1]  10s <nil>"},
		{"page.test", "[]  0s " + ErrPoisoned.Error()},
		{"half.test", "[]  0s " + ErrPoisoned.Error()},
		{"mapped.test", "[]  0s " + ErrPoisoned.Error()},
		{"nas.home.arpa", "[192.168.1.2]  5m0s <nil>"},
		{"no name", "[]  0s this is not a host name"},
		{"1.1.1.1", "[]  0s this is not a host name"},
	} {
		a, err := d.Lookup(t.Context(), tt.name)
		if got := fmt.Sprintf("%v %x %s %v", a.Addrs, a.ECH, a.TTL, err); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := s.conns.Load(); got != 1 {
		t.Errorf("connections: got %d, want 1", got)
	}
	if got := s.asked()[0]; got != "POST dns.test/dns-query" {
		t.Errorf("request: got %s, want POST dns.test/dns-query", got)
	}
	d.Private = true
	if a, err := d.Lookup(t.Context(), "half.test"); err != nil || len(a.Addrs) != 2 {
		t.Errorf("half.test, private: got %v, %v, want both addresses", a.Addrs, err)
	}
}

func TestDoHGet(t *testing.T) {
	s := newDoHServer(t, func(w http.ResponseWriter, query []byte) {
		w.Header().Set("Content-Type", dnsMessage)
		_, _ = w.Write(zone{"a.test A": {a("1.1.1.1")}}.answer(t, query))
	})
	got, err := s.resolver(t, "https://192.0.2.1:8443/q{?dns}").Lookup(t.Context(), "a.test")
	if err != nil || len(got.Addrs) != 1 {
		t.Errorf("got %v, %v, want 1.1.1.1", got.Addrs, err)
	}
	if got := s.asked()[0]; got != "GET 192.0.2.1:8443/q" {
		t.Errorf("request: got %s, want GET 192.0.2.1:8443/q", got)
	}
}

// What a server can do wrong, each an error of this package without the name.
func TestDoHFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter, query []byte)
		want   string
	}{
		{"status", func(w http.ResponseWriter, _ []byte) { w.WriteHeader(403) }, "the resolver failed: it answered with HTTP status 403"},
		{"a block page", func(w http.ResponseWriter, _ []byte) { _, _ = io.WriteString(w, "<html>") }, "the resolver failed: it answered with something else than application/dns-message: is this the URL of a DoH server?"},
		{"nothing", func(w http.ResponseWriter, _ []byte) { w.Header().Set("Content-Type", dnsMessage) }, "the resolver failed: its answer is of no use: not a DNS message"},
		{"endless", func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Content-Type", dnsMessage)
			for range 1000 {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, "the resolver failed: its answer is of no use: longer than 16384 bytes"},
		{"another name", func(w http.ResponseWriter, query []byte) {
			w.Header().Set("Content-Type", dnsMessage)
			msg := zone{"leak.test A": {a("1.1.1.1")}}.answer(t, query)
			_, _ = w.Write([]byte(strings.Replace(string(msg), "\x04leak", "\x04lead", 1)))
		}, "the resolver failed: its answer is of no use: the answer to another question"},
		{"refused", func(w http.ResponseWriter, query []byte) {
			w.Header().Set("Content-Type", dnsMessage)
			msg := zone{"leak.test A": {a("1.1.1.1")}}.answer(t, query)
			msg[3] |= 5
			_, _ = w.Write(msg)
		}, "the resolver failed: its answer is of no use: code 5"},
		{"reset", func(http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) }, "the resolver failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newDoHServer(t, tt.answer)
			_, err := s.resolver(t, "https://192.0.2.1/").Lookup(t.Context(), "leak.test")
			if err == nil || err.Error() != tt.want || !errors.Is(err, ErrFailed) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestDoHSilent(t *testing.T) {
	release := make(chan struct{})
	s := newDoHServer(t, func(http.ResponseWriter, []byte) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.resolver(t, "https://192.0.2.1/").Lookup(ctx, "silent.test"); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}

// Some name servers never answer questions about HTTPS records: the addresses wait for
// half a second, and a list of ECH that was there before stays.
func TestDoHLaggard(t *testing.T) {
	z := zone{"a.test A": {a("1.1.1.1")}, "a.test HTTPS": {https(1, ".", ech(1))}}
	synctest.Test(t, func(t *testing.T) {
		silent := false
		d := &DoH{Exchange: func(ctx context.Context, query []byte) ([]byte, error) {
			var m dnsmessage.Message
			if err := m.Unpack(query); err != nil {
				return nil, err
			}
			if silent && m.Questions[0].Type == dnsmessage.TypeHTTPS {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return z.answer(t, query), nil
		}}
		c := NewCache(0, d)
		defer c.Close()
		for _, step := range []struct {
			silent, gone bool
			want         string
		}{
			{true, false, "[1.1.1.1]  10s 500ms"},
			{false, false, "[1.1.1.1] 0005fe0d000101 5m0s 0s"},
			{true, false, "[1.1.1.1] 0005fe0d000101 10s 500ms"},
			{false, true, "[1.1.1.1]  5m0s 0s"},
		} {
			if silent = step.silent; step.gone {
				delete(z, "a.test HTTPS")
			}
			start := time.Now()
			got, err := c.Lookup(t.Context(), "a.test")
			if text := fmt.Sprintf("%v %x %s %s", got.Addrs, got.ECH, got.TTL, time.Since(start)); err != nil || text != step.want {
				t.Errorf("silent %t: got %s, %v, want %s", silent, text, err, step.want)
			}
			time.Sleep(got.TTL)
		}
	})
}

// The queries of Chromium 156 for clients2.google.com, seen on loopback.
func TestQueryIsChromiums(t *testing.T) {
	for kind, want := range map[dnsmessage.Type]string{
		dnsmessage.TypeHTTPS: "00000100000100000000000108636c69656e74733206676f6f676c6503636f6d00004100010000291000000000000050000c004c" + strings.Repeat("00", 76),
		dnsmessage.TypeA:     "00000100000100000000000108636c69656e74733206676f6f676c6503636f6d00000100010000291000000000000050000c004c" + strings.Repeat("00", 76),
	} {
		got, err := newQuery(dnsmessage.MustNewName("clients2.google.com."), kind)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: got %x, %v, want %s", kind, got, err, want)
		}
	}
	for n := range 60 {
		name := dnsmessage.MustNewName(strings.Repeat("a", n+1) + "." + strings.Repeat("b", n+1) + ".")
		if got, err := newQuery(name, dnsmessage.TypeA); err != nil || len(got)%paddedTo != 0 {
			t.Errorf("%d letters: got %d bytes, %v, want whole blocks", n, len(got), err)
		}
	}
}

func TestRequestIsChromiums(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"https://127.0.0.1:8443/dns-query", "POST 127.0.0.1:8443 /dns-query [[content-length 3] [accept application/dns-message] [accept-language *] [user-agent Chrome] [accept-encoding identity] [content-type application/dns-message] [priority u=4, i]] [1 2 3]"},
		{"https://127.0.0.1:8443/dns-query{?dns}", "GET 127.0.0.1:8443 /dns-query?dns=AQID [[accept application/dns-message] [accept-language *] [user-agent Chrome] [accept-encoding identity] [priority u=4, i]] []"},
	} {
		s, err := ParseServer(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		q := s.Request([]byte{1, 2, 3})
		if got := fmt.Sprint(q.Method, " ", q.Authority, " ", q.Path, " ", q.Header, " ", q.Body); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
