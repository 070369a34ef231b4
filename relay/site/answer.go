package site

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"relay/auth"
)

// maxMethod is the longest method that Caddy looks at.
const maxMethod = 32

// challengePath begins the paths of the challenge http-01, as Caddy sees it: with
// and without a slash behind it (RFC 8555, Section 8.3).
const challengePath = "/.well-known/acme-challenge"

// Server is the value of the Server header; claimants may want the same.
const Server = "Caddy"

// server is what the map of a ResponseWriter gets.
var server = []string{Server}

// answer is the handler of the TLS side.
func (s *Site) answer(w http.ResponseWriter, r *http.Request) {
	if h, ok := s.claimed(r); ok {
		tell(r, h)
		h.ServeHTTP(w, r)
		return
	}
	s.answerAlone(w, r)
}

// answerAlone answers a request that nobody claims.
func (s *Site) answerAlone(w http.ResponseWriter, r *http.Request) {
	room, end := hold(r)
	defer end()
	if r.Method == http.MethodOptions && r.RequestURI == "*" {
		options(w, r)
		return
	}
	if status := s.route(w, r, room); status != 0 {
		w.WriteHeader(status)
	}
}

// origin is the handler of what comes without TLS by way of a CDN.
func (s *Site) origin(w http.ResponseWriter, r *http.Request) {
	for _, claim := range s.originClaims {
		if h, ok := claim(r); ok {
			tell(r, h)
			h.ServeHTTP(w, r)
			return
		}
	}
	s.answerAlone(w, r)
}

// tell says that a request on a connection was claimed, and whose it is if h knows.
func tell(r *http.Request, h http.Handler) {
	if t, ok := r.Context().Value(takenKey{}).(*taken); ok {
		t.claim(owner(h))
		if r.ProtoMajor == 2 && t.limit.Load() == nil {
			t.share()
		}
	}
}

// owner is whose request h serves, if it knows.
func owner(h http.Handler) (u auth.User) {
	if owned, ok := h.(interface{ User() auth.User }); ok {
		u = owned.User()
	}
	return u
}

// options is what net/http does with OPTIONS * before it asks a handler; here it
// comes behind the claimants, who are to see every request. Like net/http it
// reads a little of a body, which decides whether the connection can go on.
func options(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Length"] = []string{"0"}
	if r.ContentLength != 0 {
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 4<<10))
	}
}

func (s *Site) route(w http.ResponseWriter, r *http.Request, room bool) (status int) {
	status, done := s.before(w, r)
	if done || status != 0 {
		return status
	}
	if !s.known(r.Host) {
		// A request for a host that no site is for reaches the end of Caddy's
		// routes, where nothing is written: 200 and no body.
		return 0
	}
	return s.content.answer(w, r, room)
}

// heavy is how many bytes of a request weigh as much as an answer.
const heavy = 16 << 10

// weight is what an answer to r holds as long as the visitor does not read it: buffers,
// stacks and a descriptor, which is 1, and the request. HTTP/2 lets a visitor say the same
// 4 kB 250 times over in as many bytes, in each of 250 requests.
func weight(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	return 1 + size/heavy
}

// hold weighs a request until its handler returns, and reports whether there is room for
// it. end is called then. A heavy request without room is reset.
func hold(r *http.Request) (room bool, end func()) {
	t, ok := r.Context().Value(takenKey{}).(*taken)
	if !ok {
		return true, func() {}
	}
	n := weight(r)
	room = t.begin(n)
	if !room && n > 1 {
		forget(r)
		panic(http.ErrAbortHandler)
	}
	return room, func() {
		if n > 1 {
			forget(r)
		}
		if room {
			t.finish(n)
		}
	}
}

// forget lets go of what a request has said. What its handler has left is sent behind the
// handler, when there is room on the connection, and HTTP/2 keeps the request until then.
func forget(r *http.Request) {
	if r.ProtoMajor == 2 {
		clear(r.Header)
		*r.URL, r.RequestURI, r.Host = url.URL{}, "", ""
	}
}

// redirect is the handler of the plain side: Caddy's redirect from port 80,
// which sends every host to itself.
func (s *Site) redirect(w http.ResponseWriter, r *http.Request) {
	status, done := s.before(w, r)
	if done {
		return
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	h := w.Header()
	h["Connection"] = []string{"close"}
	h["Location"] = []string{"https://" + host + r.URL.RequestURI()}
	h["Content-Type"] = nil
	w.WriteHeader(http.StatusPermanentRedirect)
}

// before is what both sides do first. done means that the request has been
// answered; another status than 0 is all of the answer.
func (s *Site) before(w http.ResponseWriter, r *http.Request) (status int, done bool) {
	w.Header()["Server"] = server
	if s.challenge != nil && r.Method == http.MethodGet &&
		strings.HasPrefix(r.URL.Path, challengePath) && s.challenge(w, r) {
		return 0, true
	}
	if len(r.Method) > maxMethod {
		return http.StatusMethodNotAllowed, false
	}
	// RFC 9112, Section 3.2. The server refuses requests without a Host header;
	// this is an empty one.
	if r.ProtoMajor == 1 && r.ProtoMinor == 1 && r.Host == "" {
		return http.StatusBadRequest, false
	}
	return 0, false
}

// known reports whether host, of a request, is one of the site's. Which of them
// the handshake was for does not matter, as it does not to Caddy.
func (s *Site) known(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return s.names[strings.ToLower(name)]
}
