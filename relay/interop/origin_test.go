package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const greeting = "hello from the origin\n"

// originSite is the HTTP server that the clients want to reach.
type originSite struct {
	*httptest.Server
	addr string      // host:port
	sums chan string // of each body sent

	mu       sync.Mutex
	hosts    []string      // Host of each request
	waiting  int           // requests at /together/
	all      chan struct{} // closed when together of them have come
	together int
}

func startOrigin(t *testing.T, overTLS bool) *originSite {
	t.Helper()
	o := &originSite{sums: make(chan string, 16), all: make(chan struct{}), together: 50}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, greeting) })
	mux.HandleFunc("GET /bytes/{n}", o.serveBytes)
	mux.HandleFunc("PUT /sum", o.serveSum)
	mux.HandleFunc("GET /together/{n}", o.serveTogether)
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		o.mu.Lock()
		o.hosts = append(o.hosts, req.Host)
		o.mu.Unlock()
		mux.ServeHTTP(w, req)
	}))
	if overTLS {
		o.EnableHTTP2 = true
		o.StartTLS()
	} else {
		o.Start()
	}
	o.addr = o.Listener.Addr().String()
	t.Cleanup(o.Close)
	return o
}

// serveBytes streams n bytes of the pattern and notes their hash.
func (o *originSite) serveBytes(w http.ResponseWriter, req *http.Request) {
	n, err := strconv.ParseInt(req.PathValue("n"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	h := sha256.New()
	_, _ = io.CopyBuffer(io.MultiWriter(h, w), pattern(n), make([]byte, 256<<10))
	select {
	case o.sums <- sum(h):
	default:
	}
}

// sentSum waits for the hash of the body that is being sent: the client may have
// all of it a moment before the handler has returned.
func (o *originSite) sentSum(t *testing.T) string {
	t.Helper()
	select {
	case s := <-o.sums:
		return s
	case <-time.After(10 * time.Second):
		t.Error("origin: got no end of the body in 10s, want one")
		return ""
	}
}

// requested is the Host of each request so far.
func (o *originSite) requested() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.hosts)
}

// serveSum answers with size and hash of the body.
func (o *originSite) serveSum(w http.ResponseWriter, req *http.Request) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{req.Body}, make([]byte, 256<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %s", n, sum(h))
}

// serveTogether answers nobody until all have come, so that a proxy that works
// them off one after the other is found out.
func (o *originSite) serveTogether(w http.ResponseWriter, req *http.Request) {
	o.mu.Lock()
	o.waiting++
	if o.waiting == o.together {
		close(o.all)
	}
	o.mu.Unlock()
	select {
	case <-o.all:
		_, _ = io.WriteString(w, "number "+req.PathValue("n"))
	case <-time.After(20 * time.Second):
		http.Error(w, "the others did not come", http.StatusServiceUnavailable)
	case <-req.Context().Done():
	}
}

// pattern is n bytes that are the same each time and repeat nowhere.
func pattern(n int64) io.Reader {
	return io.LimitReader(mrand.NewChaCha8([32]byte{'r', 'e', 'l', 'a', 'y'}), n)
}

func patternBytes(n int64) []byte {
	b, _ := io.ReadAll(pattern(n))
	return b
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
