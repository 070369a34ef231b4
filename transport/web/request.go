package web

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// kind is what a request is for.
type kind int

const (
	none      kind = iota // not ours
	socket                // opens a WebSocket: one stream
	down                  // the downlink of a session
	piece                 // a numbered piece of a session's uplink
	up                    // all of a session's uplink
	both                  // one stream
	preflight             // asks whether another site's page may do one of these
)

// request is what the head of a request says: SPEC.md, Section 4.
type request struct {
	kind     kind
	session  string
	seq      uint64
	early    []byte // of a WebSocket
	protocol string // the header that early was in
}

const (
	leastPassword, mostPassword = 8, 127
	mostSession                 = 64

	// The padding of a request is as long as Xray's servers demand by default.
	leastPadding, mostPadding = 100, 1000
	paddingKey                = "x_padding"
)

// secretPath takes a path apart: "/password", or "/password/rest".
func secretPath(path string) (password, rest string, ok bool) {
	if path == "" || path[0] != '/' {
		return "", "", false
	}
	password, rest, _ = strings.Cut(path[1:], "/")
	return password, rest, len(password) >= leastPassword && len(password) <= mostPassword
}

// CheckPassword reports whether a password can stand in paths as it is: in those of
// links, and of requests, which apps, CDNs and servers write in ways of their own.
func CheckPassword(p string) error {
	if len(p) < leastPassword || len(p) > mostPassword {
		return fmt.Errorf("web: a password has %d to %d characters", leastPassword, mostPassword)
	}
	for i := range len(p) {
		c := p[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0) {
			return errors.New("web: a password is part of a path: it has letters of ASCII, digits, and - . _ ~")
		}
	}
	return nil
}

// parse finds out what a request to a user's path is for; rest is what stands
// behind the password. It looks at the head only.
func parse(r *http.Request, rest string) (q request, ok bool) {
	if r.Method == http.MethodGet && r.ProtoMajor == 1 && isUpgrade(r.Header) {
		return parseSocket(r, rest)
	}
	session, number, numbered := strings.Cut(rest, "/")
	q.session = session
	switch r.Method {
	case http.MethodOptions:
		q.kind = preflight
		return q, true
	case http.MethodGet:
		if q.kind = down; session == "" || numbered {
			return q, false
		}
	case http.MethodPost:
		switch {
		case numbered && session == "":
			return q, false
		case numbered:
			q.kind = piece
		case session != "":
			q.kind = up
		default:
			q.kind = both
		}
	default:
		return q, false
	}
	if !isSession(session) || !padded(r) {
		return q, false
	}
	if numbered {
		var err error
		if q.seq, err = strconv.ParseUint(number, 10, 64); err != nil {
			return q, false
		}
	}
	return q, true
}

// isSession accepts what clients draw: a UUID, or letters and digits.
func isSession(s string) bool {
	if len(s) > mostSession {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// padded reports whether a request is as long as it should be: the query of its
// Referer, or its own if it has none, has the padding.
func padded(r *http.Request) bool {
	query := r.URL.RawQuery
	if referer := r.Header.Get("Referer"); referer != "" {
		_, query, _ = strings.Cut(referer, "?")
		query, _, _ = strings.Cut(query, "#")
	}
	// Padding needs no decoding; parsing a URL would be a twentieth of a message.
	for pair := range strings.SplitSeq(query, "&") {
		if value, ok := strings.CutPrefix(pair, paddingKey+"="); ok {
			return len(value) >= leastPadding && len(value) <= mostPadding
		}
	}
	return false
}

// isUpgrade reports whether a request wants a WebSocket (RFC 6455, Section 4.2.1).
func isUpgrade(h http.Header) bool {
	return httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") &&
		httpguts.HeaderValuesContainsToken(h["Upgrade"], "websocket")
}

// mostEarly is how much payload may come with the request for a WebSocket.
const mostEarly = 8 << 10

// webSafe turns the alphabets of base64 that clients use into one.
var webSafe = strings.NewReplacer("+", "-", "/", "_", "=", "")

// parseSocket finds the early payload: in the header that names protocols, as
// Xray has it, or at the end of the path, as sing-box does if nothing is said.
func parseSocket(r *http.Request, rest string) (q request, ok bool) {
	q.kind = socket
	h := r.Header
	key, err := base64.StdEncoding.DecodeString(h.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 || h.Get("Sec-Websocket-Version") != "13" {
		return q, false
	}
	text := rest
	if text == "" {
		q.protocol = h.Get("Sec-Websocket-Protocol")
		text = webSafe.Replace(q.protocol)
	}
	if base64.RawURLEncoding.DecodedLen(len(text)) > mostEarly {
		return q, false
	}
	q.early, err = base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		// A protocol by name is nobody's early payload, and is not agreed to. A
		// path that is neither leads nowhere.
		q.early, q.protocol = nil, ""
		return q, rest == ""
	}
	return q, true
}
