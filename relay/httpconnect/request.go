package httpconnect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"relay/auth"
	"relay/relay/policy"
	"relay/transport"
)

// request is an opened CONNECT or absolute-form request.
type request struct {
	c      *transport.Peeked
	http   *http.Request
	user   auth.User
	target transport.Target
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.target }

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// Accept implements transport.Request.
func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	if r.http.Method == http.MethodConnect {
		if _, err := io.WriteString(r.c, established); err != nil {
			return nil, nil, fmt.Errorf("httpconnect: reply: %w", err)
		}
		return r.c, far, nil
	}
	return newForwarded(r.c, r.http), far, nil
}

// Deny implements transport.Request. The texts are for the person in front of
// the browser.
func (r *request) Deny(reason error) error {
	switch {
	case errors.Is(reason, policy.ErrDenied):
		return answer(r.c, http.StatusForbidden, "This proxy does not connect to that place.")
	case errors.Is(reason, auth.ErrQuota):
		return answer(r.c, http.StatusForbidden, "You have used up your quota on this proxy.")
	case errors.Is(reason, auth.ErrTooManyConns), errors.Is(reason, auth.ErrTooManyIPs):
		return answer(r.c, http.StatusTooManyRequests, "You have too many connections or devices on this proxy.")
	case auth.Refused(reason):
		return answer(r.c, http.StatusForbidden, "Your access to this proxy has ended.")
	case errors.Is(reason, policy.ErrTimeout):
		return answer(r.c, http.StatusGatewayTimeout, "The target did not answer in time.")
	case errors.Is(reason, policy.ErrNotFound):
		return answer(r.c, http.StatusBadGateway, "The name of the target does not exist.")
	}
	return answer(r.c, http.StatusBadGateway, "The target cannot be reached.")
}

// hopByHop are the fields that end at a proxy (RFC 9110, Section 7.6.1; the
// Proxy- ones in Section 11.7). Transfer-Encoding is written anew.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Proxy-Authorization", "Proxy-Authenticate",
}

// head writes the request as the target should see it.
func head(hr *http.Request) []byte {
	h := hr.Header.Clone()
	for _, f := range h["Connection"] {
		for name := range strings.SplitSeq(f, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
	chunked := isChunked(hr)
	if chunked {
		h.Del("Content-Length")
	}
	var b bytes.Buffer
	// The target of an absolute-form request replaces Host (RFC 9112,
	// Section 3.2.2).
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", hr.Method, hr.URL.RequestURI(), hr.URL.Host)
	_ = h.Write(&b)
	if chunked {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

func isChunked(hr *http.Request) bool {
	return len(hr.TransferEncoding) > 0 && hr.TransferEncoding[0] == "chunked"
}

// forwarded is the client's side of an absolute-form request: it reads as the
// rewritten head and the body, then as the end of whatever the client says.
type forwarded struct {
	transport.Conn
	r    io.Reader
	wait func() error
}

func newForwarded(c *transport.Peeked, hr *http.Request) *forwarded {
	h := bytes.NewReader(head(hr))
	f := &forwarded{Conn: c}
	var body io.Reader
	switch {
	case isChunked(hr):
		body = newChunks(c)
	case hr.ContentLength > 0:
		body = io.LimitReader(c, hr.ContentLength)
	default:
		body = io.LimitReader(c, 0)
	}
	f.r = io.MultiReader(h, body, &silence{c})
	f.wait = func() error {
		if h.Len() > 0 {
			return nil
		}
		return c.WaitRead()
	}
	return f
}

// Read implements transport.Conn.
func (f *forwarded) Read(b []byte) (int, error) { return f.r.Read(b) }

// WaitRead implements transport.ReadWaiter.
func (f *forwarded) WaitRead() error { return f.wait() }

// Below lets an abort reach the socket.
func (f *forwarded) Below() transport.Conn { return f.Conn }

// silence is what follows a request. The write half towards the target must
// stay open, since servers take its end for a client that gave up, so this
// waits for the client to close. A client that says more is asking the next
// thing on a connection that was to be its last: it ends.
type silence struct{ c *transport.Peeked }

func (s *silence) Read([]byte) (int, error) {
	_, err := s.c.Peek(1)
	if err != nil {
		return 0, err
	}
	return 0, io.EOF
}
