package site

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

// borrowing is a visitor over HTTP/2 of a site with a large file.
type borrowing struct {
	*testing.T
	near net.Conn
	tr   *http.Transport
}

func newBorrowing(t *testing.T, g transport.Guest) *borrowing {
	s := newSite(t, Options{Folder: writeFolder(t, map[string]string{"large": strings.Repeat("x", 16<<20)})})
	near, far := relaytest.Pipe()
	s.Serve(far, time.Now(), g)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &borrowing{t, near, &http.Transport{Protocols: protocols, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c := tls.Client(near, clientTLS(s, "h2"))
		return c, c.HandshakeContext(ctx)
	}}}
}

func (b *borrowing) get(path, cookie string) *http.Response {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://"+siteName+path, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	res, err := b.tr.RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	return res
}

// TestAnswersBorrow: each answer beyond the first on a connection at the same time needs
// a descriptor, is refused as Caddy refuses without one, and gives it back.
func TestAnswersBorrow(t *testing.T) {
	const most = 3
	g := &poor{most: most, closed: make(chan struct{})}
	b := newBorrowing(t, g)
	get := func() *http.Response { return b.get("/large", "") }
	var going []*http.Response
	for i := range most + 1 {
		going = append(going, get())
		if got := going[i].StatusCode; got != http.StatusOK {
			t.Fatalf("answer %d: got %d, want 200", i, got)
		}
	}
	for range 2 {
		res := get()
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || res.Header.Get("Vary") == "" {
			t.Errorf("without a descriptor: got %d with %v, want 503, Vary and when to try again", res.StatusCode, res.Header)
		}
	}
	// What needs none is as ever.
	if res := b.get("/missing", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("a missing file: got %d, want 404", res.StatusCode)
	}
	for _, res := range going[1:] {
		_ = res.Body.Close()
	}
	g.wait(t)
	again := get()
	if again.StatusCode != http.StatusOK || g.held.Load() != 1 {
		t.Errorf("afterwards: got %d with %d descriptors, want 200 with one", again.StatusCode, g.held.Load())
	}
	_ = b.near.Close()
	<-g.closed
	g.wait(t)
}

// TestHeavyRequests: a request whose header is kept for as long as nobody reads the answer
// weighs as much as several, and all of that is given back.
func TestHeavyRequests(t *testing.T) {
	g := &poor{most: 15, closed: make(chan struct{})}
	b := newBorrowing(t, g)
	cookie := strings.Repeat("c", 200<<10) // 12 times 16 KiB, and more
	if res := b.get("/large", cookie); res.StatusCode != http.StatusOK || g.held.Load() != 12 {
		t.Errorf("a heavy request: got %d with %d held, want 200 with 12", res.StatusCode, g.held.Load())
	}
	for _, path := range []string{"/large", "/missing"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+siteName+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		if _, err := b.tr.RoundTrip(r); err == nil || g.held.Load() != 12 {
			t.Errorf("another one, for %s: got %v with %d held, want a reset with 12", path, err, g.held.Load())
		}
	}
	if res := b.get("/large", ""); res.StatusCode != http.StatusOK || g.held.Load() != 13 {
		t.Errorf("a light request: got %d with %d held, want 200 with 13", res.StatusCode, g.held.Load())
	}
	_ = b.near.Close()
	<-g.closed
	g.wait(t)
}

// poor is a guest with a number of descriptors.
type poor struct {
	most   int64
	held   atomic.Int64
	closed chan struct{}
}

func (*poor) Claimed(auth.User) {}
func (*poor) Answered()         {}
func (h *poor) Borrow() bool {
	if h.held.Add(1) > h.most {
		h.held.Add(-1)
		return false
	}
	return true
}
func (h *poor) Return()           { h.held.Add(-1) }
func (h *poor) Closed(_, _ int64) { close(h.closed) }

// wait waits until everything has been given back.
func (h *poor) wait(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); h.held.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("descriptors: got %d that are held, want none", h.held.Load())
		}
	}
}

// TestHeavyForgotten: what is left of a small answer is sent behind the handler, and
// nothing that was said is kept until then; a light request is left as it is.
func TestHeavyForgotten(t *testing.T) {
	s := newSite(t, Options{Folder: writeFolder(t, map[string]string{"index.html": "hi"})})
	for _, tt := range []struct {
		size, left int
		most       int64
	}{{200 << 10, 0, 20}, {200 << 10, 0, 0}, {1 << 10, 1, 20}} {
		g := &poor{most: tt.most}
		r := httptest.NewRequest(http.MethodGet, "https://"+siteName+"/missing", http.NoBody)
		r.ProtoMajor = 2
		r.Header.Set("Cookie", strings.Repeat("c", tt.size))
		r = r.WithContext(context.WithValue(r.Context(), takenKey{}, &taken{guest: g}))
		func() {
			defer func() { _ = recover() }() // without room
			s.answerAlone(httptest.NewRecorder(), r)
		}()
		if len(r.Header) != tt.left || g.held.Load() != 0 {
			t.Errorf("%d bytes with room for %d: got %d fields and %d held, want %d and none", tt.size, tt.most, len(r.Header), g.held.Load(), tt.left)
		}
	}
}
