package h2_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"relay/relay/relaytest"
	"relay/transport/h2"
)

// echo answers with what it is sent, while it is.
func echo(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	b := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return
			}
			_ = rc.Flush()
		}
		if err != nil {
			return
		}
	}
}

func TestAgainstNetHTTP(t *testing.T) {
	relaytest.LeakCheck(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q", r.Method, r.Host, r.UserAgent()[:7], body)
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-End")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-End", "yes")
	})
	mux.HandleFunc("/interim", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	c := h2.NewConn(dialTLS(t, mux), chrome())
	defer c.Close()
	for _, tt := range []struct {
		name, method, path, body string
		end                      bool
		status                   int
		want                     string
	}{
		{"no body", "GET", "/small", "", true, 200, `GET www.example.org Mozilla ""`},
		{"body with the head", "POST", "/small", "hello", true, 200, `POST www.example.org Mozilla "hello"`},
		{"body that is ended later", "POST", "/small", "hello", false, 200, `POST www.example.org Mozilla "hello"`},
		{"trailers", "GET", "/trailers", "", true, 200, "body"},
		{"interim answers", "GET", "/interim", "", true, 418, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, c, request(tt.method, tt.path), []byte(tt.body), tt.end)
			if err := s.CloseWrite(); err != nil {
				t.Fatalf("CloseWrite: got %v, want nil", err)
			}
			if status, got := answer(t, s); status != tt.status || got != tt.want {
				t.Errorf("got %d %q, want %d %q", status, got, tt.status, tt.want)
			}
		})
	}
	if got := c.Streams(); got != 0 {
		t.Errorf("Streams: got %d, want 0", got)
	}
}

// TestMany: streams in parallel keep their bytes, and none waits for another.
func TestMany(t *testing.T) {
	relaytest.LeakCheck(t)
	c := h2.NewConn(dialTLS(t, http.HandlerFunc(echo)), chrome())
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			s, err := c.Open(t.Context(), request("POST", "/"), nil, false)
			if err != nil {
				t.Errorf("Open %d: got %v, want a stream", i, err)
				return
			}
			defer s.Close()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			sent, got := sha256.New(), sha256.New()
			wg.Go(func() {
				b := make([]byte, 40<<10)
				for left := 512 << 10; left > 0; {
					n := min(1+random.IntN(len(b)), left)
					for j := range b[:n] {
						b[j] = byte(random.Uint32())
					}
					sent.Write(b[:n])
					if _, err := s.Write(b[:n]); err != nil {
						t.Errorf("Write %d: got %v, want nil", i, err)
						return
					}
					left -= n
				}
				if err := s.CloseWrite(); err != nil {
					t.Errorf("CloseWrite %d: got %v, want nil", i, err)
				}
			})
			if n, err := io.Copy(got, s); n != 512<<10 || err != nil {
				t.Errorf("stream %d: got %d bytes and %v, want %d", i, n, err, 512<<10)
				return
			}
			if g, w := got.Sum(nil), sent.Sum(nil); string(g) != string(w) {
				t.Errorf("stream %d: got other bytes than were sent", i)
			}
		})
	}
	wg.Wait()
}
