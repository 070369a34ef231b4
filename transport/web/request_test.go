package web

import (
	"bufio"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"relay/auth"
)

// FuzzRequest reads heads of requests: what is taken for a user's is what SPEC.md says.
func FuzzRequest(f *testing.F) {
	pad := "Referer: https://h/?x_padding=" + strings.Repeat("X", leastPadding) + "\r\n"
	upgrade := "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, seed := range []string{
		"GET /password HTTP/1.1\r\n", "GET /password/sid HTTP/1.1\r\n" + pad, "POST /password/ HTTP/1.1\r\n" + pad, "POST /password/sid/7 HTTP/1.1\r\n" + pad,
		"OPTIONS /password/sid HTTP/1.1\r\n", "GET /password/ HTTP/1.1\r\n" + upgrade, "GET /password/QUJD HTTP/1.1\r\n" + upgrade,
		"GET /password HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Protocol: QUJD\r\n", "HEAD http://h/%70assword//0?x_padding=%zz HTTP/1.0\r\n" + pad,
	} {
		f.Add(seed)
	}
	h := New(Options{Find: func(string) (auth.User, bool) { return auth.User{ID: 1}, true }})
	origin := h.ClaimOrigin(Origin{ClientHeader: "X-Forwarded-For", Proxies: netip.Addr.Is4})
	f.Fuzz(func(t *testing.T, head string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "Host: h\r\n\r\n")))
		if err != nil {
			return
		}
		password, rest, ok := secretPath(r.URL.Path)
		if !ok {
			return
		}
		if len(password) < leastPassword || len(password) > mostPassword || strings.Contains(password, "/") {
			t.Errorf("password: got %q", password)
		}
		q, ok := parse(r, rest)
		r.RemoteAddr = "192.0.2.1:1234"
		_, secure := h.Claim(r)
		if _, plain := origin(r); secure != ok || plain != ok {
			t.Errorf("parsed %v, claimed over TLS %v, at an origin %v", ok, secure, plain)
		}
		if !ok {
			return
		}
		method := map[kind]string{socket: "GET", down: "GET", piece: "POST", up: "POST", both: "POST", preflight: "OPTIONS"}[q.kind]
		switch {
		case r.Method != method:
			t.Errorf("kind %d of %s", q.kind, r.Method)
		case len(q.early) > mostEarly || q.kind != socket && len(q.early) > 0:
			t.Errorf("kind %d: got %d bytes early", q.kind, len(q.early))
		case q.kind == preflight:
		case (q.session == "") != (q.kind == both || q.kind == socket) || !isSession(q.session):
			t.Errorf("kind %d: got session %q", q.kind, q.session)
		case q.kind != piece && q.seq != 0:
			t.Errorf("kind %d: got piece %d", q.kind, q.seq)
		case q.kind != socket && !padded(r):
			t.Errorf("kind %d without padding", q.kind)
		}
	})
}
