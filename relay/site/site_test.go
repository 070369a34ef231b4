package site

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
)

func TestServe(t *testing.T) {
	relaytest.LeakCheck(t)
	s := newSite(t, Options{})
	for _, h2 := range []bool{false, true} {
		res, err := browser(t, s, h2).Get("https://" + siteName + "/")
		if err != nil {
			t.Fatalf("h2 %v: got %v, want an answer", h2, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "page\n" || res.Header.Get("Server") != "Caddy" || (res.ProtoMajor == 2) != h2 {
			t.Errorf("h2 %v: got %q, %v, server %q, %s, want the page from Caddy", h2, body, err, res.Header.Get("Server"), res.Proto)
		}
		_ = res.Body.Close()
	}
}

// A site of several names is one site, whichever of them the handshake was for.
func TestServeNames(t *testing.T) {
	s := newSite(t, Options{Names: []string{siteName, otherName}})
	for _, sni := range []string{siteName, otherName, "CDN.example.NET"} {
		for host, want := range map[string]string{siteName: "page\n", otherName: "page\n", "CDN.example.NET:443": "page\n", "example.net": ""} {
			c := tls.Client(visit(t, s.Serve), &tls.Config{ServerName: sni, InsecureSkipVerify: true})
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatalf("%s: got %v, want nil", sni, err)
			}
			b, _ := io.ReadAll(c)
			if _, body, _ := strings.Cut(string(b), "\r\n\r\n"); body != want || !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
				t.Errorf("%s on a connection for %s: got %q, want 200 and %q", host, sni, b, want)
			}
			if err := c.ConnectionState().PeerCertificates[0].VerifyHostname(sni); err != nil {
				t.Errorf("certificate: got %v, want one for %s", err, sni)
			}
		}
	}
	for host, want := range map[string]string{otherName: "page\n", "example.net": ""} {
		c := visit(t, s.ServeOrigin)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(c)
		if _, body, _ := strings.Cut(string(b), "\r\n\r\n"); body != want || !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
			t.Errorf("%s at an origin: got %q, want 200 and %q", host, b, want)
		}
	}
	if err := tls.Client(visit(t, s.Serve), &tls.Config{ServerName: "example.net"}).Handshake(); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("another name: got %v, want the alert internal_error", err)
	}
}

func TestServePlain(t *testing.T) {
	challenge := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/.well-known/acme-challenge/token" {
			return false
		}
		_, _ = io.WriteString(w, "proof")
		return true
	}
	claim := func(*http.Request) (http.Handler, bool) {
		t.Error("claim on port 80: got asked, want not")
		return nil, false
	}
	s := newSite(t, Options{Challenge: challenge, Claims: []Claim{claim}})
	for _, test := range []struct{ request, want string }{
		{"GET /a?b HTTP/1.1\r\nHost: example.com:80\r\n\r\n", "Location: https://example.com/a?b\r\n"},
		{"GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "\r\n\r\nproof"},
		{"GET /.well-known/acme-challenge/other HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 308 "},
		{"POST /.well-known/acme-challenge/token HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 308 "},
		{"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "},
		{strings.Repeat("M", 33) + " / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "},
	} {
		c := visit(t, s.ServePlain)
		_, _ = io.WriteString(c, test.request)
		got, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(got), test.want) {
			t.Errorf("%q: got %q, %v, want %q in it", test.request, got, err, test.want)
		}
	}
}

// TestTimeouts has connections that somebody else looked at for a while.
func TestTimeouts(t *testing.T) {
	const looked = 200 * time.Millisecond
	for _, test := range []struct {
		name  string
		plain bool
		say   string // over TLS unless plain; "-": no handshake
		want  time.Duration
	}{
		{name: "handshake", say: "-", want: readHeaderTimeout},
		{name: "first request", want: looked + readHeaderTimeout},
		{name: "next request", say: "GET /x HTTP/1.1\r\nHost: " + siteName + "\r\n\r\n", want: looked + idleTimeout},
		{name: "plain", plain: true, want: readHeaderTimeout},
		{name: "plain, half a request", plain: true, say: "GET / HT", want: readHeaderTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, Options{})
				near, far := relaytest.Pipe()
				defer near.Close()
				began := time.Now()
				time.Sleep(looked)
				if test.plain {
					s.ServePlain(far, began, closing(func() {}))
				} else {
					s.Serve(far, began, closing(func() {}))
				}
				var c io.ReadWriter = near
				if !test.plain && test.say != "-" {
					tc := tls.Client(near, clientTLS(s, "http/1.1"))
					if err := tc.Handshake(); err != nil {
						t.Fatalf("handshake: got %v, want nil", err)
					}
					c = tc
				}
				if test.say != "" && test.say != "-" {
					_, _ = io.WriteString(c, test.say)
				}
				_, _ = io.Copy(io.Discard, c)
				if got := time.Since(began); got != test.want {
					t.Errorf("end: got after %v, want after %v", got, test.want)
				}
			})
		})
	}
}

func TestClaims(t *testing.T) {
	var asked []string
	claims := []Claim{
		func(r *http.Request) (http.Handler, bool) {
			asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Proto)
			if r.TLS == nil || r.TLS.ServerName != siteName {
				t.Errorf("TLS state of %s: got %v, want the site's", r.URL, r.TLS)
			}
			return nil, false
		},
		func(r *http.Request) (http.Handler, bool) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "claimed")
			}), r.URL.Path == "/mine"
		},
		func(r *http.Request) (http.Handler, bool) {
			if r.URL.Path == "/mine" {
				t.Error("second claimant: got asked behind the first, want not")
			}
			return nil, false
		},
	}
	s := newSite(t, Options{Claims: claims})
	bare := newSite(t, Options{Folder: s.content.(*folder).path})
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: " + siteName, "GET / HTTP/1.1\r\nHost: elsewhere", "CONNECT x:1 HTTP/1.1\r\nHost: x:1",
		"POST /index.html HTTP/1.1\r\nContent-Length: 0\r\nHost: " + siteName, "GET /missing HTTP/1.1\r\nHost: " + siteName, "OPTIONS * HTTP/1.1\r\nHost: " + siteName,
	} {
		request += "\r\nConnection: close\r\n\r\n"
		got, want := undated(say(t, s, request)), undated(say(t, bare, request))
		if got != want {
			t.Errorf("unclaimed %q: got %q, want %q", request, got, want)
		}
	}
	for _, h2 := range []bool{false, true} {
		res, err := browser(t, s, h2).Get("https://" + siteName + "/mine")
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(res.Body); string(body) != "claimed" || res.Header.Get("Server") != "" {
			t.Errorf("claimed, h2 %v: got %q from %q, want the claimant's answer and nothing of the site's", h2, body, res.Header.Get("Server"))
		}
		_ = res.Body.Close()
	}
	if len(asked) != 8 {
		t.Errorf("first claimant: got asked %q, want all 8 requests", asked)
	}
}

// undated takes the Date header out of an answer.
func undated(answer string) string {
	before, rest, _ := strings.Cut(answer, "Date: ")
	_, after, _ := strings.Cut(rest, "\r\n")
	return before + after
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		slow := func(r *http.Request) (http.Handler, bool) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-release
				_, _ = io.WriteString(w, "late")
			}), r.URL.Path == "/slow"
		}
		s := newSite(t, Options{Claims: []Claim{slow}})
		idle, err := browser(t, s, true).Get("https://" + siteName + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = idle.Body.Close()
		answer := make(chan string)
		go func() {
			res, err := browser(t, s, false).Get("https://" + siteName + "/slow")
			if err != nil {
				answer <- err.Error()
				return
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			answer <- string(b)
		}()
		synctest.Wait()
		ended := make(chan error)
		go func() { ended <- s.Shutdown(context.Background()) }()
		time.Sleep(time.Minute)
		select {
		case err := <-ended:
			t.Fatalf("Shutdown: got %v before the answer, want it to wait", err)
		default:
		}
		close(release)
		if got := <-answer; got != "late" {
			t.Errorf("answer: got %q, want it in spite of Shutdown", got)
		}
		if err := <-ended; err != nil {
			t.Errorf("Shutdown: got %v, want nil", err)
		}
		near, far := relaytest.Pipe()
		s.Serve(far, time.Now(), closing(func() {}))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection after Shutdown: got %v, want a reset", err)
		}
	})
}

func TestShutdownInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Options{Claims: []Claim{func(*http.Request) (http.Handler, bool) {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), true
		}}})
		c := tls.Client(visit(t, s.Serve), clientTLS(s))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestCheck(t *testing.T) {
	up := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, test := range []struct {
		name string
		o    Options
		want []string // in the error; none: no error
	}{
		{"folder", Options{Names: []string{"a.example"}, Folder: "x"}, nil},
		{"upstream", Options{Names: []string{"a.example"}, Upstream: up("http://127.0.0.1:8080")}, nil},
		{"upstream with slash", Options{Names: []string{"a.example"}, Upstream: up("http://127.0.0.1:8080/")}, nil},
		{"nothing", Options{}, []string{"no name", "neither folder nor upstream"}},
		{"both", Options{Names: []string{"a"}, Folder: "x", Upstream: up("http://x")}, []string{"one of them"}},
		{"https", Options{Names: []string{"a"}, Upstream: up("https://x")}, []string{"want http://host:port"}},
		{"path", Options{Names: []string{"a"}, Upstream: up("http://u:secret@x/y")}, []string{"xxxxx"}},
		{"address", Options{Names: []string{"192.0.2.1"}, Folder: "x"}, []string{"is an address"}},
		{"second name", Options{Names: []string{"a.example", "b..example"}, Folder: "x"}, []string{"b..example"}},
		{"port", Options{Names: []string{"a.example:443"}, Folder: "x"}, []string{"not a host name"}},
		{"umlaut", Options{Names: []string{"ä.example"}, Folder: "x"}, []string{"ASCII"}},
		{"dot", Options{Names: []string{"a.example."}, Folder: "x"}, []string{"label is empty"}},
		{"key alone", Options{Names: []string{"a"}, Folder: "x", Files: []CertificateFiles{{Key: "k"}}}, []string{"name both"}},
		{"two sources", Options{Names: []string{"a"}, Folder: "x", Files: []CertificateFiles{{"c", "k"}}, SelfSigned: "s"}, []string{"more than one source"}},
	} {
		err := test.o.Check()
		if (err != nil) != (len(test.want) > 0) {
			t.Errorf("%s: got %v, want errors %q", test.name, err, test.want)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", test.name, err, want)
			}
		}
	}
}
