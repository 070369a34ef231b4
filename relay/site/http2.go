//lint:file-ignore SA1019 what takes its place is the other HTTP/2, until Go 1.27 makes them one

package site

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"relay/transport"
	"relay/transport/h2"
)

// mostAhead is what the connections of users may hold for streams that nobody reads.
const mostAhead = 64 << 20

// Streamer is the handler of a claimed request that may do without what a server has
// for each of them.
type Streamer interface {
	http.Handler
	// ServeStream takes over the stream of a request, whose r has no body, and must
	// not wait. ctx ends with the stream. False leaves it to ServeHTTP.
	ServeStream(ctx context.Context, s *h2.Stream, r *http.Request) bool
}

// users are the connections over HTTP/2 whose first request was claimed. Package h2 serves
// them, at a part of the price; all others have golang.org/x/net's server, as at Caddy.
type users struct {
	server *http2.Server
	ahead  *h2.Budget
	log    *slog.Logger

	mu     sync.Mutex
	conns  map[*h2.Conn]struct{}
	ending bool
}

func newUsers(server *http2.Server, log *slog.Logger) *users {
	return &users{server: server, ahead: h2.NewBudget(mostAhead), log: log, conns: make(map[*h2.Conn]struct{})}
}

// leave ends the connections when their streams have ended.
func (u *users) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
	for c := range u.conns {
		c.Leave()
	}
}

// forked is what golang.org/x/net's server sees of a TLS connection.
type forked struct {
	*h2.Fork
	state tls.ConnectionState
}

func (f *forked) ConnectionState() tls.ConnectionState { return f.state }

// caller is one HTTP/2 connection over TLS.
type caller struct {
	*Site
	ctx    context.Context
	remote string
	state  *tls.ConnectionState
	taken  *taken
	first  http.Handler // of the first request, which was claimed already
}

// serveHTTP2 is called by net/http when a TLS handshake has agreed on HTTP/2.
func (s *Site) serveHTTP2(hs *http.Server, c *tls.Conn, h http.Handler) {
	ctx := context.Background()
	// So net/http hands on what ConnContext has made.
	if v, ok := h.(interface{ BaseContext() context.Context }); ok {
		ctx = v.BaseContext()
	}
	state := c.ConnectionState()
	v := &caller{s, ctx, c.RemoteAddr().String(), &state, nil, nil}
	v.taken, _ = ctx.Value(takenKey{}).(*taken)
	fork := h2.NewFork(c, func(head h2.Head) bool {
		r := v.request(ctx, &head, true)
		if r == nil {
			return false
		}
		var ok bool
		v.first, ok = s.claimed(r)
		return ok
	})
	s.users.server.ServeConn(&forked{fork, state}, &http2.ServeConnOpts{Context: ctx, Handler: h, BaseConfig: hs})
	begun := fork.Taken()
	if begun == nil {
		return
	}
	v.ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.LocalAddr())
	conn := h2.NewServer(v.hold(c), begun, h2.Service{Handle: v.handle, Ahead: s.users.ahead, Idle: idleTimeout})
	s.users.add(conn)
	defer s.users.remove(conn)
	_ = conn.Serve()
}

func (u *users) add(c *h2.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns[c] = struct{}{}
	if u.ending {
		c.Leave()
	}
}

func (u *users) remove(c *h2.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, c)
}

// claimed asks the claimants.
func (s *Site) claimed(r *http.Request) (http.Handler, bool) {
	for _, claim := range s.claims {
		if h, ok := claim(r); ok {
			return h, true
		}
	}
	return nil, false
}

// handle serves a request. It does not wait: the connection's reader calls it.
func (v *caller) handle(s *h2.Stream) {
	ctx, cancel := context.WithCancel(v.ctx)
	s.OnLost(cancel)
	r := v.request(ctx, s.Head(), s.Ended())
	if r == nil {
		cancel()
		_ = s.Close()
		return
	}
	if s.Ended() {
		r.ContentLength = 0
	}
	h := v.first
	ok := h != nil
	if v.first = nil; !ok {
		h, ok = v.claimed(r)
	}
	if !ok {
		go v.run(s, r, cancel, v.answerAlone)
		return
	}
	if v.taken != nil {
		v.taken.claim(owner(h))
	}
	if st, ok := h.(Streamer); ok && st.ServeStream(ctx, s, r) {
		return
	}
	go v.run(s, r, cancel, h.ServeHTTP)
}

// run is the goroutine of a handler that needs one.
func (v *caller) run(s *h2.Stream, r *http.Request, cancel context.CancelFunc, h http.HandlerFunc) {
	defer cancel()
	e := newExchange(s, r)
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				v.users.log.Error("handler panicked", "err", p)
			}
			_ = s.Close()
			return
		}
		e.finish()
	}()
	h(e, r)
}

// request makes a request of a head, or returns nil if it is none (RFC 9113,
// Section 8.3.1). ended says that it has no body; the result's is nil.
func (v *caller) request(ctx context.Context, head *h2.Head, ended bool) *http.Request {
	header := make(http.Header, len(head.Fields))
	for _, f := range head.Fields {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		header[name] = append(header[name], f.Value)
	}
	if c := header["Cookie"]; len(c) > 1 {
		header["Cookie"] = []string{strings.Join(c, "; ")}
	}
	host := head.Authority
	if hosts := header["Host"]; len(hosts) > 0 {
		if len(hosts) > 1 || host != "" && host != hosts[0] {
			return nil
		}
		host = hosts[0]
		delete(header, "Host")
	}
	delete(header, "Trailer")
	r := &http.Request{
		Method: head.Method, Header: header, Host: host, RemoteAddr: v.remote, TLS: v.state,
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: -1, RequestURI: head.Path,
	}
	if strings.ContainsRune(host, '@') || host != "" && !httpguts.ValidHostHeader(host) ||
		head.Scheme != "https" && head.Scheme != "http" || head.Path[0] != '/' && head.Path != "*" || head.Method == http.MethodConnect {
		return nil
	}
	var err error
	if r.URL, err = url.ParseRequestURI(head.Path); err != nil {
		return nil
	}
	if n := header["Content-Length"]; len(n) > 0 {
		size, err := strconv.ParseUint(n[0], 10, 63)
		if err != nil && !ended {
			return nil // a body of no bytes, which has some
		}
		r.ContentLength = int64(size)
	}
	return r.WithContext(ctx)
}

// hold is c with a way to send several records together.
func (v *caller) hold(c *tls.Conn) net.Conn {
	if v.taken == nil {
		return c
	}
	v.taken.records = &transport.Records{To: v.taken.Conn}
	return holding{c, v.taken}
}

// holding is a TLS connection above a taken one.
type holding struct {
	*tls.Conn
	taken *taken
}

// Hold implements transport.Holder.
func (h holding) Hold() { h.taken.records.Hold() }

// Release implements transport.Holder.
func (h holding) Release() error { return h.taken.records.Release() }
