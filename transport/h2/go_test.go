package h2_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

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
	for _, one := range []bool{false, true} {
		conn := dialTLS(t, mux)
		if one {
			conn = byByte{conn}
		}
		c := h2.NewConn(conn, chrome())
		defer c.Close()
		exchanges(t, c)
		if got := c.Streams(); got != 0 {
			t.Errorf("Streams: got %d, want 0", got)
		}
	}
}

// byByte is a connection that brings one byte at a time.
type byByte struct{ net.Conn }

func (b byByte) Read(p []byte) (int, error) { return b.Conn.Read(p[:min(1, len(p))]) }

func exchanges(t *testing.T, c *h2.Conn) {
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
}

// manySize is more than a stream's window at Go's server for all of them together.
const manySize = 160 << 10

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
				for left := manySize; left > 0; {
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
			if n, err := io.Copy(got, s); n != manySize || err != nil {
				t.Errorf("stream %d: got %d bytes and %v, want %d", i, n, err, manySize)
				return
			}
			if g, w := got.Sum(nil), sent.Sum(nil); string(g) != string(w) {
				t.Errorf("stream %d: got other bytes than were sent", i)
			}
		})
	}
	wg.Wait()
}

// TestTableSize: header blocks stay readable when a server makes its table small.
func TestTableSize(t *testing.T) {
	relaytest.LeakCheck(t)
	for _, size := range []uint32{1, 100, 200, 300, 8192} {
		near, far := relaytest.Pipe()
		c := h2.NewConn(near, chrome())
		defer c.Close()
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("x-turn"))
		})
		//lint:ignore SA1019 net/http takes listeners only
		go (&http2.Server{MaxDecoderHeaderTableSize: size}).ServeConn(far, &http2.ServeConnOpts{Handler: h})
		// Go's server takes its table for small from the start, and not only when the
		// client has been told: the answer comes behind its SETTINGS.
		if err := c.Ping(t.Context()); err != nil {
			t.Fatalf("Ping: got %v, want an answer", err)
		}
		for i := range 20 {
			head := request("GET", "/")
			want := fmt.Sprint(i/2, strings.Repeat("x", 10*i/2))
			head.Fields = append(head.Fields, h2.Field{Name: "x-turn", Value: want})
			if _, got := answer(t, open(t, c, head, nil, true)); got != want {
				t.Errorf("table of %d, request %d: got %q, want %q", size, i, got, want)
			}
		}
	}
}

// TestEarlyAnswer: a server may answer, and be done, before it has the request
// (RFC 9113, Section 8.1).
func TestEarlyAnswer(t *testing.T) {
	relaytest.LeakCheck(t)
	c := h2.NewConn(dialTLS(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})), chrome())
	defer c.Close()
	s := open(t, c, request("POST", "/"), nil, false)
	var err error
	for err == nil {
		_, err = s.Write(make([]byte, 50000))
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write: got %v, want EPIPE", err)
	}
	if status, body := answer(t, s); status != 403 || body != "" {
		t.Errorf("got %d %q, want 403", status, body)
	}
}

// TestDisorder: streams that end in all ways at all times leave nothing behind, and
// harm no other.
func TestDisorder(t *testing.T) {
	relaytest.LeakCheck(t)
	c := h2.NewConn(dialTLS(t, http.HandlerFunc(echo)), chrome())
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			for range 20 {
				disorder(t, c, random)
			}
		})
	}
	wg.Wait()
	if err := c.Err(); err != nil {
		t.Fatalf("Err: got %v, want nil", err)
	}
	s := open(t, c, request("POST", "/"), []byte("still"), true)
	if _, body := answer(t, s); body != "still" {
		t.Errorf("answer: got %q, want still", body)
	}
	if got := c.Streams(); got != 0 {
		t.Errorf("Streams: got %d, want 0", got)
	}
}

// disorder uses one stream badly.
func disorder(t *testing.T, c *h2.Conn, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := c.Open(ctx, request("POST", "/"), make([]byte, random.IntN(100000)), random.IntN(4) == 0)
	if err != nil {
		t.Errorf("Open: got %v, want a stream", err)
		return
	}
	var wg sync.WaitGroup
	writes := random.IntN(5)
	wg.Go(func() {
		for range writes {
			if _, err := s.Write(make([]byte, 30000)); err != nil {
				return
			}
		}
		_ = s.CloseWrite()
	})
	pause, how := time.Duration(random.IntN(3000))*time.Microsecond, random.IntN(3)
	wg.Go(func() {
		time.Sleep(pause)
		switch how {
		case 0:
			_ = s.Close()
		case 1:
			_ = s.SetDeadline(time.Now())
		}
	})
	_, _ = io.Copy(io.Discard, s)
	wg.Wait()
	_ = s.Close()
}
