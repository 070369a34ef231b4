package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestExchangeHandler: handlers meet what they know from the other server.
func TestExchangeHandler(t *testing.T) {
	page := strings.Repeat("<p>page\n", 100)
	mux := http.NewServeMux()
	handle := func(path string, f http.HandlerFunc) { mux.HandleFunc("/handler/"+path, f) }
	handle("nothing", func(http.ResponseWriter, *http.Request) {})
	handle("status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot); w.WriteHeader(200) })
	handle("short", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) })
	handle("once", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat(page, 20)) })
	handle("pieces", func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			_, _ = io.WriteString(w, page)
		}
	})
	handle("full", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 4096)) })
	handle("flush", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, page)
	})
	handle("late", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.Header().Set("X-Late", "yes")
		_, _ = io.WriteString(w, page)
	})
	handle("fields", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20 {
			w.Header()[fmt.Sprintf("X-%c", 'a'+(i*7)%20)] = []string{"1", "2"}
		}
		w.Header()["Connection"] = []string{"x"}
		w.Header()["a b"] = []string{"no name"}
		w.Header()["X-Line"] = []string{"a\r\nb"}
		w.Header()["Content-Type"] = nil
	})
	handle("length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "8")
		_, err := io.WriteString(w, "12345678")
		_, _ = io.WriteString(w, "9")
		if err != nil {
			t.Errorf("Write: got %v, want nil", err)
		}
	})
	handle("bad-length", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "x") })
	handle("no-content", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
			t.Errorf("Write behind 204: got %v, want ErrBodyNotAllowed", err)
		}
	})
	handle("encoded", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, page)
	})
	handle("early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, page)
	})
	handle("trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-End, X-None")
		_, _ = io.WriteString(w, page)
		w.Header().Set("X-End", "yes")
		w.Header().Set(http.TrailerPrefix+"X-More", "yes")
	})
	handle("panic", func(http.ResponseWriter, *http.Request) { panic("test") })
	handle("abort", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	handle("request", func(w http.ResponseWriter, r *http.Request) {
		length := r.ContentLength
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %v %d %q %v %v %v %v %v", r.Method, r.Host, r.RequestURI, r.URL, length, body, err, r.Header, r.TLS.ServerName, r.Proto, r.Trailer)
		if _, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ Network() string }); !ok {
			t.Error("context: got no address of ours, want one")
		}
		if _, ok := r.Context().Value(http.ServerContextKey).(*http.Server); !ok {
			t.Error("context: got no server, want one")
		}
	})
	s := newSite(t, Options{Claims: claimOurs(mux)})
	requests := map[string][]string{
		"request without body": get("/handler/request?a=b", "cookie", "a", "cookie", "b", "x", "y"),
		"request with body":    method("POST", "/handler/request"), "request with length": method("POST", "/handler/request", "content-length", "5"),
		"request with an empty body": method("POST", "/handler/request"),
	}
	for _, path := range []string{"nothing", "status", "short", "once", "pieces", "full", "flush", "late", "fields", "length", "bad-length",
		"no-content", "encoded", "early", "trailer", "panic", "abort"} {
		requests[path] = get("/handler/" + path)
		if path != "length" && path != "no-content" {
			requests["HEAD of "+path] = method("HEAD", "/handler/"+path)
		}
	}
	same(t, s, requests, map[string]string{"request with body": "hello", "request with length": "hello", "request with an empty body": "-"})
}

// TestExchangeProxy: a site that is another server's is the same on users' connections.
func TestExchangeProxy(t *testing.T) {
	events := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = w.Write(make([]byte, 1<<20))
		case "/typeless":
			w.Header()["Content-Type"] = nil
			w.Header().Set("Content-Length", "8000") // or the head may go before the body
			_, _ = io.WriteString(w, strings.Repeat("<p>page\n", 1000))
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for range 3 {
				_, _ = io.WriteString(w, "data: x\n\n")
				_ = http.NewResponseController(w).Flush()
				<-events
			}
		case "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		case "/trailer":
			w.Header().Set("Trailer", "X-End")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-End", "yes")
		case "/hints":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		default:
			body, _ := io.ReadAll(r.Body)
			r.Header.Del("X-Forwarded-For")
			fmt.Fprintf(w, "%s %s %d %v %q %v", r.Method, r.URL, r.ContentLength, r.TransferEncoding, body, r.Header)
		}
	}))
	defer upstream.Close()
	go func() {
		for range 6 {
			events <- struct{}{}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	u, _ := url.Parse(upstream.URL)
	s := newSite(t, Options{Upstream: u, Claims: claimOurs(nil)})
	same(t, s, map[string][]string{
		"GET": get("/a"), "HEAD": method("HEAD", "/a"), "POST": method("POST", "/a"), "POST with length": method("POST", "/a", "content-length", "5"),
		"big": get("/big"), "no type": get("/typeless"), "events": get("/events"), "broken": get("/broken"), "trailer": get("/trailer"), "hints": get("/hints"),
		"DELETE": method("DELETE", "/a"), "empty POST": method("POST", "/a"),
	}, map[string]string{"POST": "hello", "POST with length": "hello", "empty POST": "-"})
}

// TestExchangeGone: the context of a request ends when the client goes, resets it or has
// its answer.
func TestExchangeGone(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	s := newSite(t, Options{Claims: claimOurs(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started <- r.Context()
		if r.URL.Path == "/handler/answer" {
			return
		}
		<-r.Context().Done()
		ended <- r.Context().Err()
	}))})
	w := newWire(t, s, true)
	w.ask(get("/handler/answer")...)
	<-(<-started).Done()
	id := w.begin("", get("/handler/wait")...)
	<-started
	_ = w.WriteRSTStream(id, http2.ErrCodeCancel)
	<-ended
	w.begin("", get("/handler/wait")...)
	<-started
	shutdown(t, s)
	<-ended
}
