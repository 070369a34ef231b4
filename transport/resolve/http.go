package resolve

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const dnsMessage = "application/dns-message" // RFC 8484, Section 6

// Request is one HTTP request to a DoH server, as Chromium 156 sends it: its header
// fields have their order (seen on loopback, with HTTP/2).
type Request struct {
	Method    string
	Authority string
	Path      string
	Header    [][2]string
	Body      []byte // nil for GET
}

// Request is the request that carries a query. Like Chromium it is a POST, or a GET
// where the URL ends in {?dns}, which caches on the way can answer.
func (s Server) Request(query []byte) Request {
	common := [][2]string{
		{"accept", dnsMessage},
		{"accept-language", "*"},
		{"user-agent", "Chrome"},
		{"accept-encoding", "identity"},
	}
	if s.Get {
		return Request{
			Method: http.MethodGet, Authority: s.Authority,
			Path:   s.Path + "?dns=" + base64.RawURLEncoding.EncodeToString(query),
			Header: append(common, [2]string{"priority", "u=4, i"}),
		}
	}
	header := append([][2]string{{"content-length", fmt.Sprint(len(query))}}, common...)
	return Request{
		Method: http.MethodPost, Authority: s.Authority, Path: s.Path,
		Header: append(header, [2]string{"content-type", dnsMessage}, [2]string{"priority", "u=4, i"}),
		Body:   query,
	}
}

// ReadAnswer reads the message out of the answer to a Request.
func ReadAnswer(status int, contentType string, body io.Reader) ([]byte, error) {
	if status != http.StatusOK {
		return nil, fmt.Errorf("%w: it answered with HTTP status %d", ErrFailed, status)
	}
	kind, _, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), dnsMessage) {
		return nil, fmt.Errorf("%w: it answered with something else than %s: is this the URL of a DoH server?", ErrFailed, dnsMessage)
	}
	msg, err := io.ReadAll(io.LimitReader(body, maxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("%w: its answer ended early", ErrFailed)
	}
	return msg, nil
}

// HTTP returns an Exchange with a server over rt, which decides how the server is
// reached: at its addresses, and all requests on one connection.
func HTTP(s Server, rt http.RoundTripper) Exchange {
	return func(ctx context.Context, query []byte) ([]byte, error) {
		q := s.Request(query)
		var body io.Reader
		if q.Body != nil {
			body = bytes.NewReader(q.Body)
		}
		req, err := http.NewRequestWithContext(ctx, q.Method, "https://"+q.Authority+q.Path, body)
		if err != nil {
			return nil, fmt.Errorf("resolve: make a request: %w", err)
		}
		for _, h := range q.Header {
			if h[0] != "content-length" { // net/http writes its own
				req.Header.Set(h[0], h[1])
			}
		}
		res, err := rt.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close() //nolint:errcheck // only read
		return ReadAnswer(res.StatusCode, res.Header.Get("Content-Type"), res.Body)
	}
}
