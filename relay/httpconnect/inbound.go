package httpconnect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// Label is the auth label of HTTP proxy passwords.
const Label = "http"

// Options is the [http] table.
type Options struct {
	// Forward lets plain absolute-form requests through, not only CONNECT.
	Forward bool `toml:"forward"`
}

// Inbound is the HTTP proxy server half of one listener.
type Inbound struct {
	// Verify checks a user name and password for a source, and takes its time
	// over wrong ones.
	Verify func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error)
	// Anonymous lets clients in without a password.
	Anonymous bool
	Options   Options
}

// Name implements relay.Inbound.
func (*Inbound) Name() string { return "http" }

// longestMethod bounds what is taken for a method.
const longestMethod = 16

// Match implements relay.Inbound: capital letters, then a space.
func (*Inbound) Match(prefix []byte) relay.Verdict {
	for i, b := range prefix {
		switch {
		case b >= 'A' && b <= 'Z' && i < longestMethod:
		case b == ' ' && i >= 3:
			return relay.Yes
		default:
			return relay.No
		}
	}
	return relay.More
}

// Open implements relay.Inbound.
func (in *Inbound) Open(ctx context.Context, user auth.User, c *transport.Peeked) (transport.Request, error) {
	hr, err := readHead(c)
	if err != nil {
		if errors.Is(err, transport.ErrTooLong) {
			_ = answer(c, nil, http.StatusRequestHeaderFieldsTooLarge, "The request header is longer than 16 KiB or has more than 128 fields.")
			err = fmt.Errorf("%w: %w", relay.ErrBadRequest, errHeadSize)
		} else if errors.Is(err, relay.ErrBadRequest) {
			_ = answer(c, nil, http.StatusBadRequest, "This is not a request to a proxy.")
		}
		return nil, fmt.Errorf("httpconnect: request: %w", err)
	}
	if user, err = in.authenticate(ctx, user, c, hr); err != nil {
		return nil, fmt.Errorf("httpconnect: %w", err)
	}
	target, err := in.target(hr)
	if err != nil {
		_ = answer(c, hr, http.StatusBadRequest, "This proxy takes CONNECT host:port and http:// requests.")
		return nil, fmt.Errorf("httpconnect: %w: %w", relay.ErrBadRequest, err)
	}
	return &request{c: c, http: hr, user: user, target: target}, nil
}

// authenticate finds out who asks; the client is answered if it fails.
func (in *Inbound) authenticate(ctx context.Context, carrier auth.User, c *transport.Peeked, hr *http.Request) (auth.User, error) {
	name, password, ok := basicAuth(hr.Header.Get("Proxy-Authorization"))
	if !ok && (in.Anonymous || !carrier.IsAnonymous()) {
		return carrier, nil
	}
	if ok {
		if err := transport.MayWait(c); err != nil {
			return auth.User{}, err
		}
		u, err := in.Verify(ctx, transport.Source(c), name, password)
		if err == nil && !u.IsAnonymous() && (carrier.IsAnonymous() || carrier.ID == u.ID) {
			return u, nil
		}
	}
	_ = answer(c, hr, http.StatusProxyAuthRequired, "This proxy needs the user name and password of your link.",
		`Proxy-Authenticate: Basic realm="proxy", charset="UTF-8"`) // RFC 9110, Section 11.7.1
	return auth.User{}, relay.ErrAuth
}

// basicAuth reads the credentials of RFC 7617, Section 2.
func basicAuth(header string) (name, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	return r.BasicAuth()
}

// target is where the request wants to go.
func (in *Inbound) target(hr *http.Request) (transport.Target, error) {
	if hr.Method == http.MethodConnect {
		return transport.ParseTarget(hr.RequestURI)
	}
	if !in.Options.Forward || hr.URL.Scheme != "http" || hr.URL.User != nil {
		return transport.Target{}, errors.New("not a form that is served")
	}
	if hr.URL.Port() == "" {
		return transport.NameTarget(hr.URL.Hostname(), 80)
	}
	return transport.ParseTarget(hr.URL.Host)
}

// answer writes a whole response to hr in one write; the connection ends after
// it. hr is nil if the request could not be read.
func answer(w io.Writer, hr *http.Request, status int, text string, header ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(text)+1)
	if hr == nil || hr.Method != http.MethodHead {
		b.WriteString(text + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
