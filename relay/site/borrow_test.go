package site

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
)

// TestAnswersBorrow: each answer beyond the first on a connection at the same time needs
// a descriptor, is refused as Caddy refuses without one, and gives it back.
func TestAnswersBorrow(t *testing.T) {
	s := newSite(t, Options{Folder: writeFolder(t, map[string]string{"large": strings.Repeat("x", 16<<20)})})
	const most = 3
	g := &poor{most: most, closed: make(chan struct{})}
	near, far := relaytest.Pipe()
	s.Serve(far, time.Now(), g)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tr := &http.Transport{Protocols: protocols, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c := tls.Client(near, clientTLS(s, "h2"))
		return c, c.HandshakeContext(ctx)
	}}
	get := func() *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+siteName+"/large", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
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
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("without a descriptor: got %d with %v, want 503 and when to try again", res.StatusCode, res.Header)
		}
	}
	for _, res := range going[1:] {
		_ = res.Body.Close()
	}
	g.wait(t)
	again := get()
	if again.StatusCode != http.StatusOK || g.held.Load() != 1 {
		t.Errorf("afterwards: got %d with %d descriptors, want 200 with one", again.StatusCode, g.held.Load())
	}
	_ = near.Close()
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
