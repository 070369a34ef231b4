package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// proxy answers with what another web server says, as Caddy's reverse_proxy
// does. httputil.ReverseProxy cannot take its place: it treats Server, Via,
// queries and upgrades in other ways, and strangers see the answers.
type proxy struct {
	address   string
	transport *http.Transport
}

func newProxy(address string) *proxy {
	d := &net.Dialer{
		Timeout:         3 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Interval: 30 * time.Second},
	}
	return &proxy{address: address, transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		},
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     2 * time.Minute,
	}}
}

func (p *proxy) close() { p.transport.CloseIdleConnections() }

func (p *proxy) answer(w http.ResponseWriter, r *http.Request, room bool) (status int) {
	if !room {
		return http.StatusBadGateway // as for a dialling without descriptors
	}
	out := p.outgoing(r)
	res, err := p.roundTrip(w, out)
	if err != nil {
		return proxyStatus(err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		upgrade(w, out, res)
		return 0
	}
	h := w.Header()
	removeHops(res.Header)
	delete(h, "Server") // the upstream's, if any, takes its place
	h.Add("Via", via(res.ProtoMajor, res.ProtoMinor))
	addAll(h, res.Header)
	announced := len(res.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range res.Trailer {
			names = append(names, name)
		}
		h.Add("Trailer", strings.Join(names, ", "))
	}
	w.WriteHeader(res.StatusCode)
	err = copyBody(w, res)
	_ = res.Body.Close() // fills in res.Trailer
	if err != nil {
		// Half an answer must not look like a whole one. The server takes this
		// panic, and none but this, for a reset of the stream or connection.
		panic(http.ErrAbortHandler)
	}
	sendTrailers(w, res, announced)
	return 0
}

// outgoing is r as the upstream gets it.
func (p *proxy) outgoing(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "http", p.address
	if out.ContentLength == 0 {
		out.Body = nil // go.dev/issue/16036: lets the transport try again
	}
	out.Close = false
	h := out.Header
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // none, rather than net/http's
	}
	protocol := upgradeProtocol(h)
	trailers := httpguts.HeaderValuesContainsToken(h["Te"], "trailers")
	removeHops(h)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if protocol != "" {
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{protocol}
		spellWebSocket(h)
	}
	// What a client says about addresses is not passed on.
	if client, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		client, _, _ = strings.Cut(client, "%")
		h["X-Forwarded-For"] = []string{client}
		h["X-Forwarded-Proto"] = []string{"https"}
		h["X-Forwarded-Host"] = []string{r.Host}
	} else {
		h.Del("X-Forwarded-For")
		h.Del("X-Forwarded-Proto")
		h.Del("X-Forwarded-Host")
	}
	h.Add("Via", via(r.ProtoMajor, r.ProtoMinor))
	return out
}

// roundTrip asks the upstream, and passes its interim answers (1xx) on.
func (p *proxy) roundTrip(w http.ResponseWriter, out *http.Request) (*http.Response, error) {
	var mu sync.Mutex
	done := false
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			if done {
				return nil
			}
			h := w.Header()
			addAll(h, http.Header(header))
			w.WriteHeader(code)
			clear(h)
			return nil
		},
	}
	res, err := p.transport.RoundTrip(out.WithContext(httptrace.WithClientTrace(out.Context(), trace)))
	mu.Lock()
	done = true
	mu.Unlock()
	return res, err
}

// statusGone is what a client that has gone would get, in nginx's word for it.
const statusGone = 499

// proxyStatus is the status for an upstream that has not answered; 0 for a
// client that does not wait any more.
func proxyStatus(err error) int {
	if errors.Is(err, context.Canceled) {
		return 0
	}
	if strings.Contains(err.Error(), "operation was canceled") {
		return statusGone
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// copyBody copies the body of res. Where its length is not known beforehand, or
// it is a stream of events, each piece goes out when it comes.
func copyBody(w http.ResponseWriter, res *http.Response) error {
	var dst io.Writer = w
	t, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err == nil && t == "text/event-stream" || res.ContentLength == -1 {
		p := newPrompt(w)
		defer p.stop()
		dst = p
	}
	buf := bodies.Get().(*[bodySize]byte)
	defer bodies.Put(buf)
	// Neither end may choose the size of the pieces: it shows in records.
	_, err = io.CopyBuffer(onlyWriter{dst}, onlyReader{res.Body}, buf[:])
	return err
}

// bodySize is how much of a body is read from the upstream at once.
const bodySize = 32 << 10

var bodies = sync.Pool{New: func() any { return new([bodySize]byte) }}

type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// prompt sends what is written to it at once, and the header before it, too,
// when the body takes its time.
type prompt struct {
	mu    sync.Mutex
	w     io.Writer
	flush func() error
	due   bool // the header has not been sent yet, or may not have been
	timer *time.Timer
}

func newPrompt(w http.ResponseWriter) *prompt {
	p := &prompt{w: w, flush: http.NewResponseController(w).Flush, due: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(0, p.header)
	return p
}

func (p *prompt) header() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due {
		_ = p.flush()
		p.due = false
	}
}

// Write implements io.Writer.
func (p *prompt) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.w.Write(b)
	_ = p.flush()
	return n, err
}

func (p *prompt) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = false
	p.timer.Stop()
}

// sendTrailers sends the fields behind the body: those announced before it as
// themselves, others by net/http's prefix.
func sendTrailers(w http.ResponseWriter, res *http.Response, announced int) {
	if len(res.Trailer) > 0 {
		_ = http.NewResponseController(w).Flush() // or a short body gets a length, and no trailer
	}
	if len(res.Trailer) == announced {
		addAll(w.Header(), res.Trailer)
		return
	}
	for name, values := range res.Trailer {
		for _, v := range values {
			w.Header().Add(http.TrailerPrefix+name, v)
		}
	}
}

// hops are the headers that are about one connection (RFC 9110, Section 7.6.1),
// and Alt-Svc, which is about one host.
var hops = []string{
	"Alt-Svc", "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate",
	"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func removeHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hops {
		delete(h, name)
	}
}

func addAll(dst, src http.Header) {
	for name, values := range src {
		for _, v := range values {
			dst.Add(name, v)
		}
	}
}

func via(major, minor int) string { return fmt.Sprintf("%d.%d Caddy", major, minor) }
