package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"relay/transport"
)

// newPlain is newDialled over HTTP/1.1.
func newPlain(t *testing.T, sink transport.Sink) *dialled {
	t.Helper()
	d := newDialled(t, ModePacketUp, sink)
	d.way.Version = HTTP1
	return d
}

// behind puts a proxy of HTTP/1.1 between a client and its server, which changes answers.
func (d *dialled) behind(t *testing.T, handler func(next http.Handler) http.Handler) {
	t.Helper()
	to, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport, proxy.FlushInterval = d.client.Transport, -1
	s := httptest.NewUnstartedServer(handler(proxy))
	s.TLS = d.TLS.Clone()
	s.TLS.NextProtos = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(d.Client.Close) // before it
	addr := netip.MustParseAddrPort(s.Listener.Addr().String())
	d.dial = func(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) { return DialTCP(ctx, addr) }
}

// echoed sends a payload through a stream and back.
func echoed(t *testing.T, c transport.Conn, first string, payload []byte) {
	t.Helper()
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		if _, err := c.Write(payload); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	got := make([]byte, len(first)+len(payload))
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("got %d bytes and %v, want %d", n, err, len(got))
	}
	if !bytes.Equal(got, append([]byte(first), payload...)) {
		t.Error("got other bytes than were sent")
	}
}

// TestPlainEcho sends a megabyte through and back, to the server itself and to proxies
// that answer in several ways.
func TestPlainEcho(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(http.Handler) http.Handler
	}{
		{"direct", nil},
		{"chunks", func(h http.Handler) http.Handler { return h }},
		{"every connection closed", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "close")
				h.ServeHTTP(w, r)
			})
		}},
		{"as HTTP/1.0 has it", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Transfer-Encoding", "identity")
				w.Header().Set("Connection", "close")
				h.ServeHTTP(w, r)
			})
		}},
		{"hints before answers", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				h.ServeHTTP(w, r)
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newPlain(t, joined(echo))
			if tt.wrap != nil {
				d.behind(t, tt.wrap)
			}
			c := d.open(t, "hello")
			echoed(t, c, "hello", random(1<<20+17))
			if n := d.conns.Load(); tt.wrap == nil && n > 3 {
				t.Errorf("got %d connections for a stream, want few: pieces are to share", n)
			}
		})
	}
}

// TestPlainEnds: the end of a download is one, and its connection carries the next.
func TestPlainEnds(t *testing.T) {
	d := newPlain(t, joined(func(c transport.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_, _ = c.Write([]byte("pong"))
		_ = c.CloseWrite()
		_ = c.Close()
	}))
	const streams = 50
	for i := range streams {
		c := d.open(t, "ping")
		got, err := io.ReadAll(c)
		if string(got) != "pong" || err != nil {
			t.Fatalf("stream %d: got %q and %v, want pong and its end", i, got, err)
		}
		_ = c.Close()
	}
	if n := d.conns.Load(); n > mostPlain {
		t.Errorf("got %d connections for %d streams, one after the other, want them used again", n, streams)
	}
}

// TestPlainReset: a download that is cut off is a stream that was reset, and no end.
func TestPlainReset(t *testing.T) {
	d := newPlain(t, joined(func(c transport.Conn) {
		_, _ = c.Write([]byte("half"))
		_, _ = io.ReadFull(c, make([]byte, 5))
		_ = transport.Abort(c)
	}))
	c := d.open(t, "hello")
	got, err := io.ReadAll(c)
	if string(got) != "half" || err == nil {
		t.Errorf("got %q and %v, want half and an error", got, err)
	}
}

// TestPlainLimit: five streams have a download each, and another one waits for a while
// and says why it is not to be.
func TestPlainLimit(t *testing.T) {
	d := newPlain(t, joined(echo))
	var conns []transport.Conn
	for i := range mostPlainDown {
		conns = append(conns, d.open(t, fmt.Sprint("hello", i)))
	}
	for i, c := range conns {
		echoed(t, c, fmt.Sprint("hello", i), random(100_000))
	}
	began := time.Now()
	if _, err := d.Open(t.Context(), []byte("x")); !errors.Is(err, errAllTaken) || !errors.Is(err, transport.ErrCarrier) {
		t.Errorf("one more: got %v, want that all are taken", err)
	}
	if took := time.Since(began); took < plainWait/2 {
		t.Errorf("one more: got it after %v, want it to wait", took)
	}
	if n := d.conns.Load(); n > mostPlain {
		t.Errorf("got %d connections, want at most %d", n, mostPlain)
	}
	opened := make(chan error, 1)
	go func() {
		c, err := d.Open(t.Context(), []byte("next"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 4))
			_ = c.Close()
		}
		opened <- err
	}()
	_ = conns[0].Close()
	if err := <-opened; err != nil {
		t.Errorf("when one has left: got %v, want a stream", err)
	}
}

// TestPlainStale: a piece goes again where its connection has ended while it was idle,
// and arrives once.
func TestPlainStale(t *testing.T) {
	d := newPlain(t, joined(echo))
	c := d.open(t, "hello")
	echoed(t, c, "hello", nil)
	for i := range 3 {
		for until := time.Now().Add(10 * time.Second); d.cutIdle() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("no connection is idle behind a piece")
			}
		}
		echoed(t, c, "", []byte(fmt.Sprint("piece", i)))
	}
}

// cutIdle ends the idle connections behind the client's back, and says how many.
func (d *dialled) cutIdle() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.plains.idle {
		raw := k.meter.Conn.(*net.TCPConn)
		_ = raw.CloseWrite()
		_ = raw.CloseRead()
	}
	return len(d.plains.idle)
}

// TestPlainRefused: answers that are not a stream's, to each of the two requests.
func TestPlainRefused(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		answer       func(w http.ResponseWriter)
		want         error
	}{
		{"no such path", http.MethodGet, func(w http.ResponseWriter) { w.WriteHeader(404) }, statusError(404)},
		{"compressed", http.MethodGet, func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "gzip") }, errEncoded},
		{"a long head", http.MethodGet, func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("x", mostHead)) }, errLongHead},
		{"trouble", http.MethodPost, func(w http.ResponseWriter) { w.WriteHeader(502) }, statusError(502)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newPlain(t, joined(echo))
			d.behind(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == tt.method {
						_, _ = io.Copy(io.Discard, r.Body)
						tt.answer(w)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			c, err := d.Open(t.Context(), []byte("hello"))
			if err == nil {
				defer c.Close()
				_, err = c.Read(make([]byte, 1))
			}
			if !errors.Is(err, tt.want) || !errors.Is(err, transport.ErrCarrier) {
				t.Errorf("got %v, want %v of a carrier", err, tt.want)
			}
		})
	}
}

// TestPlainFrozen: a piece that is not answered ends its stream in seconds, and the
// downlink that is held back does so, too.
func TestPlainFrozen(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			d := newPlain(t, joined(echo))
			over := make(chan struct{})
			d.behind(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == method {
						<-over
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			t.Cleanup(func() { close(over) })
			began := time.Now()
			c, err := d.Open(t.Context(), []byte("hello"))
			if err == nil {
				defer c.Close()
				_ = c.SetReadDeadline(began.Add(time.Minute))
				_, err = c.Read(make([]byte, 1))
			}
			if !errors.Is(err, transport.ErrCarrier) {
				t.Errorf("got %v, want a lost carrier", err)
			}
			if took := time.Since(began); took > 4*stepTime {
				t.Errorf("got it after %v, want it soon", took)
			}
		})
	}
}

// TestPlainDeadline: a read can go on behind a deadline, wherever in a chunk that was.
func TestPlainDeadline(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	k := newAnswers(near)
	text := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
	head := strings.Index(text, "5;")
	go func() {
		_, _ = io.WriteString(far, text[:head])
		for i := head; i < len(text); i++ {
			_, _ = io.WriteString(far, text[i:i+1])
		}
	}()
	a, err := k.head(http.MethodGet)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	late := 0
	for b := make([]byte, 3); ; {
		_ = near.SetReadDeadline(time.Unix(1, 0))
		if n, err := a.body.Read(b[:0]); n != 0 || err != nil {
			t.Fatalf("nothing: got %d and %v", n, err)
		}
		if _, err := a.body.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
			late++
		}
		_ = near.SetReadDeadline(time.Time{})
		n, err := a.body.Read(b)
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != "hello0123456789" || late == 0 || !a.rest() {
		t.Errorf("got %q and %d deadlines, want all of it, and a connection for the next", got, late)
	}
}

// TestPlainHead: a request looks as the browser's over HTTP/1.1.
func TestPlainHead(t *testing.T) {
	d := newPlain(t, joined(echo))
	p := d.profile.HTTP2
	got := string(plainHead(d.Client.ask(http.MethodPost, "/p/s/0", p.Post, 7)))
	want := []string{"POST /p/s/0 HTTP/1.1", "Host", "Connection", "Content-Length", "sec-ch-ua-platform", "User-Agent", "sec-ch-ua", "sec-ch-ua-mobile",
		"Accept", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Referer", "Accept-Encoding", "Accept-Language"}
	var names []string
	for line := range strings.SplitSeq(strings.TrimSuffix(got, "\r\n\r\n"), "\r\n") {
		name, _, _ := strings.Cut(line, ": ")
		names = append(names, name)
	}
	if strings.Join(names, "|") != strings.Join(want, "|") || !strings.Contains(got, "\r\nContent-Length: 7\r\n") {
		t.Errorf("got %q, want %q", names, want)
	}
}

// FuzzAnswer reads answers of anybody's.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 ;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n",
		"HTTP/1.0 200 OK\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		k := newAnswers(bytes.NewReader(in))
		a, err := k.head(http.MethodGet)
		if err != nil {
			return
		}
		whole, err := io.ReadAll(&a.body)
		if len(whole) > len(in) {
			t.Errorf("got %d bytes out of %d", len(whole), len(in))
		}
		if again := a.rest(); again && (err != nil || !a.keep || a.status < 200) {
			t.Errorf("got a connection to use again behind %v, status %d", err, a.status)
		}
		// It is the same byte by byte.
		one := newAnswers(iotest.OneByteReader(bytes.NewReader(in)))
		b, err2 := one.head(http.MethodGet)
		if err2 != nil {
			t.Fatalf("byte by byte: %v", err2)
		}
		slow, err2 := io.ReadAll(&b.body)
		if !bytes.Equal(slow, whole) || (err == nil) != (err2 == nil) {
			t.Errorf("byte by byte: got %d bytes and %v, want %d and %v", len(slow), err2, len(whole), err)
		}
	})
}
