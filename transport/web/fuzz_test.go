package web

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"relay/auth"
)

// FuzzClaim has requests as they come over the wire: what is claimed has the path of
// a user, and what is found in it is bounded.
func FuzzClaim(f *testing.F) {
	padding := "Referer: https://x/?x_padding=" + strings.Repeat("X", 100) + "\r\n"
	for _, seed := range []string{
		"GET /" + password + "/0d5bbf2e-8b6c-4d9a-8f5e-3f1d1f3ac0aa HTTP/1.1\r\nHost: x\r\n" + padding + "\r\n",
		"POST /" + password + "/sid/17 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n" + padding + "\r\nabc",
		"POST /" + password + "/?x_padding=" + strings.Repeat("X", 1000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS /" + password + "/sid HTTP/1.1\r\nHost: x\r\nOrigin: https://y\r\n\r\n",
		"GET /" + password + "/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: AAECAwQF\r\n\r\n",
		"GET /" + password + "/AAECAwQF HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	h := New(Options{Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == password }})
	origin := h.ClaimOrigin(Origin{ClientHeader: "X-Forwarded-For"})
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1234"
		mine, ok := h.Claim(r)
		if _, again := origin(r); again != ok {
			t.Errorf("over TLS %v, at an origin %v", ok, again)
		}
		if !ok {
			return
		}
		c := mine.(*claimed)
		if !strings.HasPrefix(r.URL.Path, "/"+password) || c.kind == none || len(c.session) > mostSession && c.kind != preflight || len(c.early) > mostEarly {
			t.Errorf("%q is claimed as %+v", r.URL.Path, c.request)
		}
	})
}

// FuzzQueue brings pieces in any order, some of them twice: what is read is what was
// sent, and nothing is held afterwards.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, []byte("some bytes that are sent in pieces"))
	f.Add([]byte{3, 3, 1, 0, 2, 0}, bytes.Repeat([]byte("more of them "), 3000))
	f.Add([]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, []byte("0123456789"))
	f.Fuzz(func(t *testing.T, order, payload []byte) {
		if len(payload) > 1<<17 {
			return
		}
		var held atomic.Int64
		q := newQueue(&held)
		q.reader()
		const pieces = 10
		piece := func(i int) []byte {
			return payload[len(payload)*i/pieces : len(payload)*(i+1)/pieces]
		}
		for _, i := range order {
			if err := q.bring(t.Context(), uint64(i%pieces), bytes.NewReader(piece(int(i%pieces)))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range pieces {
			if err := q.bring(t.Context(), uint64(i), bytes.NewReader(piece(i))); err != nil {
				t.Fatal(err)
			}
		}
		q.finish()
		got, err := io.ReadAll(q)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(payload))
		}
		if n := held.Load(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
	})
}
