package web

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"relay/auth"
	"relay/transport"
)

// Label is the auth label of the secret paths.
const Label = "web"

// Options are what a Handler needs.
type Options struct {
	// Find returns the user whose secret path begins with a password.
	Find func(password string) (auth.User, bool)
	// Sink gets the streams.
	Sink transport.Sink
	// Server is the site's Server header, if it has one.
	Server string
}

// Handler is the server half: it claims the requests of users, from a site.
type Handler struct {
	find     func(password string) (auth.User, bool)
	sink     transport.Sink
	server   []string
	sessions *sessions
}

// New returns a Handler.
func New(o Options) *Handler {
	h := &Handler{find: o.Find, sink: o.Sink, sessions: newSessions()}
	if o.Server != "" {
		h.server = []string{o.Server}
	}
	return h
}

// Claim says whether a request is a user's, and returns what serves it. Everything
// else is for the site to answer.
func (h *Handler) Claim(r *http.Request) (http.Handler, bool) {
	source, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil, false
	}
	return h.claim(r, func() netip.Addr { return source.Addr().Unmap().WithZone("") })
}

func (h *Handler) claim(r *http.Request, source func() netip.Addr) (http.Handler, bool) {
	password, rest, ok := secretPath(r.URL.Path)
	if !ok {
		return nil, false
	}
	user, ok := h.find(password)
	if !ok {
		return nil, false
	}
	q, ok := parse(r, rest)
	if !ok {
		return nil, false
	}
	return &claimed{h, q, user, source()}, true
}

// claimed is a request that is a user's.
type claimed struct {
	*Handler
	request
	user   auth.User
	source netip.Addr
}

// User is whose request it is.
func (c *claimed) User() auth.User { return c.user }

// ServeHTTP implements http.Handler.
func (c *claimed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.kind == socket {
		c.socket(w, r)
		return
	}
	c.header(w.Header(), r)
	switch c.kind {
	case preflight:
		c.preflight(w.Header(), r)
	case both:
		ctl := newControl(w)
		c.begin(w, r, ctl)
		s := newStream(w, r, ctl, c.source)
		s.own = newBody(r, ctl, &c.sessions.held)
		s.in = s.own
		c.run(s, r)
	case down:
		c.down(w, r)
	case up:
		c.up(w, r)
	case piece:
		c.piece(w, r)
	}
}

// padding is as many letters as an answer may have; HPACK makes a byte of each.
var padding = strings.Repeat("X", mostPadding)

func draw() string { return padding[:leastPadding+rand.IntN(mostPadding-leastPadding+1)] }

// header sets what every answer has: SPEC.md, Section 4.4.
func (c *claimed) header(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		origin = "*"
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["X-Padding"] = []string{draw()}
	if c.server != nil {
		h["Server"] = c.server
	}
}

func (c *claimed) preflight(h http.Header, r *http.Request) {
	for to, from := range map[string]string{
		"Access-Control-Allow-Methods": "Access-Control-Request-Method",
		"Access-Control-Allow-Headers": "Access-Control-Request-Headers",
	} {
		if v := r.Header.Get(from); v != "" {
			h[to] = []string{v}
		} else {
			h[to] = []string{"*"}
		}
	}
}

// begin starts an answer that lasts: nothing on the way may collect it, and the
// request goes on below it.
func (c *claimed) begin(w http.ResponseWriter, r *http.Request, ctl *control) {
	h := w.Header()
	if c.kind != down {
		_ = ctl.rc.EnableFullDuplex() // HTTP/2 is, and says that it cannot
		if r.ProtoMajor == 1 {
			// Where the answer ends first the connection has to, and a proxy that
			// has seen the end of the request meanwhile would use it again.
			h["Connection"] = []string{"close"}
		}
	}
	h["X-Accel-Buffering"] = []string{"no"}
	h["Cache-Control"] = []string{"no-store"}
	if c.kind != up {
		h["Content-Type"] = []string{"text/event-stream"}
	}
	w.WriteHeader(http.StatusOK)
	_ = ctl.rc.Flush()
	clear(r.Header) // a kilobyte and a half, for as long as the stream lasts
}

// run hands a stream to the sink and lives as long as the answer.
func (c *claimed) run(s *stream, r *http.Request) {
	stop := s.watch(r.Context())
	defer stop()
	// An opening needs more stack than waiting for the end of the stream does.
	go func() { _ = c.sink.Stream(r.Context(), c.user, s) }()
	s.wait()
}

func (c *claimed) key() sessionKey { return sessionKey{c.user.ID, c.session} }

// down answers with the downlink of a session.
func (c *claimed) down(w http.ResponseWriter, r *http.Request) {
	ses, err := c.sessions.downlink(c.key())
	if err != nil {
		refuse(w, err)
		return
	}
	ctl := newControl(w)
	c.begin(w, r, ctl)
	s := newStream(w, r, ctl, c.source)
	s.in = ses.queue
	s.done = func() { c.sessions.remove(ses) }
	c.run(s, r)
}

// piece takes a numbered piece of a session's uplink.
func (c *claimed) piece(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > mostPiece {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	ctl := newControl(w)
	defer ctl.leave()
	body := newHurried(r.Body, ctl)
	ses, err := c.sessions.uplink(c.key(), c.seq == 0)
	switch {
	case err == errEnded:
		err = forget(body)
	case err == nil:
		err = ses.queue.bring(r.Context(), c.seq, body)
		if errors.Is(err, net.ErrClosed) || err == io.EOF {
			err = nil // the target had enough before the end of the piece was here
		}
	}
	if err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

const (
	// An uplink in one request gets some padding as an answer now and then, so that
	// nobody on the way takes it for dead.
	leastPause, mostPause = 20 * time.Second, 80 * time.Second
	// padTime is how long the client may take for it.
	padTime = 10 * time.Second
)

// up takes all of a session's uplink.
func (c *claimed) up(w http.ResponseWriter, r *http.Request) {
	ses, err := c.sessions.uplink(c.key(), true)
	var b *body
	if err == nil {
		b = newBody(r, newControl(w), &c.sessions.held)
		err = ses.queue.follow(b)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	pads := r.Header.Get("Referer") != ""
	c.begin(w, r, b.ctl)
	p := &pad{w: w, ctl: b.ctl}
	if pads {
		p.write()
	}
	select {
	case f := <-b.job:
		f()
	case <-b.over:
	case <-r.Context().Done():
	}
	b.leave(errGone)
	select {
	case f := <-b.job:
		f()
	default:
	}
	p.stop()
	b.ctl.leave()
}

// pad writes padding as an answer now and then.
type pad struct {
	w   http.ResponseWriter
	ctl *control

	mu    sync.Mutex // while w is in use
	timer *time.Timer
	over  bool
}

func (p *pad) write() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	limit := time.AfterFunc(padTime, p.ctl.stopWriting) // a client may not read it
	defer limit.Stop()
	if _, err := io.WriteString(p.w, draw()); err != nil || p.ctl.rc.Flush() != nil {
		return // whoever reads from the same client hears of it
	}
	p.timer = time.AfterFunc(leastPause+rand.N(mostPause-leastPause), p.write)
}

// stop takes w away, from a client that takes nothing too.
func (p *pad) stop() {
	if !p.mu.TryLock() {
		p.ctl.stopWriting()
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// refuse answers a user whose request cannot be served.
func refuse(w http.ResponseWriter, err error) { w.WriteHeader(statusOf(err)) }

func statusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, errTwice):
		return http.StatusConflict
	case errors.Is(err, errCrowded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
