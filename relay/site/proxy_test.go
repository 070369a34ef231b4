package site

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"relay/relay/relaytest"
)

func proxySite(t *testing.T, h http.HandlerFunc) *Site {
	t.Helper()
	up := httptest.NewServer(h)
	t.Cleanup(up.Close)
	u, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	return newSite(t, Options{Upstream: u})
}

func TestProxyRequest(t *testing.T) {
	relaytest.LeakCheck(t)
	asked := make(chan *http.Request, 1)
	s := proxySite(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "origin")
		w.Header().Set("Keep-Alive", "x")
		asked <- r
	})
	answer := say(t, s, "GET /a?b;c HTTP/1.1\r\nHost: "+siteName+"\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\nX-Forwarded-For: 192.0.2.7\r\nTe: trailers, x\r\n\r\n")
	if !strings.Contains(answer, "\r\nServer: origin\r\n") || !strings.Contains(answer, "\r\nVia: 1.1 Caddy\r\n") || strings.Contains(answer, "Keep-Alive") {
		t.Errorf("answer: got %q, want the origin's server, a Via and no Keep-Alive", answer)
	}
	r := <-asked
	if r.Host != siteName || r.RequestURI != "/a?b;c" {
		t.Errorf("request: got %s for %s, want them unchanged", r.RequestURI, r.Host)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": siteName,
		"Via": "1.1 Caddy", "Te": "trailers", "X-Gone": "", "User-Agent": "",
	} {
		if got := strings.Join(r.Header[name], "|"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestProxyBroken(t *testing.T) {
	s := proxySite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	if got := status(t, s, "/"); got != http.StatusBadGateway {
		t.Errorf("no answer: got %d, want %d", got, http.StatusBadGateway)
	}
	for _, h2 := range []bool{false, true} {
		res, err := browser(t, s, h2).Get("https://" + siteName + "/half")
		if err != nil {
			continue // nothing had been sent yet
		}
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("half an answer, h2 %v: got %q and no error, want one", h2, b)
		}
		_ = res.Body.Close()
	}
}

func TestProxyStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{context.Canceled, 0},
		{fmt.Errorf("x: %w", context.Canceled), 0},
		{errors.New("dial: operation was canceled"), statusGone},
		{context.DeadlineExceeded, http.StatusGatewayTimeout},
		{&net.OpError{Err: errors.New("refused")}, http.StatusBadGateway},
		{io.EOF, http.StatusBadGateway},
	} {
		if got := proxyStatus(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
}

func TestProxyUpgrade(t *testing.T) {
	relaytest.LeakCheck(t)
	s := proxySite(t, func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: got %v, want nil", err)
			return
		}
		defer c.Close()
		to := r.Header.Get("Upgrade")
		if r.URL.Path == "/other" {
			to = "other"
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+to+"\r\n\r\n")
		line, _ := buf.ReadString('\n')
		_, _ = io.WriteString(c, "echo "+line)
	})
	for _, test := range []struct{ path, want string }{{"/", "echo hello\n"}, {"/other", ""}} {
		c := tls.Client(visit(t, s.Serve), clientTLS(s, "http/1.1"))
		_, _ = io.WriteString(c, "GET "+test.path+" HTTP/1.1\r\nHost: "+siteName+"\r\nConnection: Upgrade, close\r\nUpgrade: WebSocket\r\n\r\nhello\n")
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := test.want != ""; (res.StatusCode == http.StatusSwitchingProtocols) != want {
			t.Errorf("%s: got %d, want 101: %v", test.path, res.StatusCode, want)
		}
		_ = res.Body.Close()
		if test.want != "" {
			if got, err := io.ReadAll(r); string(got) != test.want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", test.path, got, err, test.want)
			}
		}
	}
}

// TestProxyUpgradeShutdown ends a site whose upgraded connections would go on.
func TestProxyUpgradeShutdown(t *testing.T) {
	relaytest.LeakCheck(t)
	s := proxySite(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: got %v, want nil", err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	c := tls.Client(visit(t, s.Serve), clientTLS(s, "http/1.1"))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+siteName+"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: got %v, %v, want 101", res, err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: got %v, want nil", err)
	}
	_, _ = io.Copy(io.Discard, c) // which ends
}
