package socks5

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"

	gosocks5 "github.com/armon/go-socks5"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// Label is the auth label of SOCKS5 passwords.
const Label = "socks5"

const (
	version     = 5 // RFC 1928, Section 3
	authVersion = 1 // RFC 1929, Section 2

	noAcceptable = 0xff
)

// Inbound is the SOCKS5 server half of one listener.
type Inbound struct {
	// Verify checks a user name and password for a source, and takes its time
	// over wrong ones.
	Verify func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error)
	// Anonymous lets clients in without a password.
	Anonymous bool
	// UDP lets users send datagrams; nil: nobody may.
	UDP *UDP
}

// Name implements relay.Inbound.
func (*Inbound) Name() string { return "socks5" }

// Match implements relay.Inbound: the version byte decides.
func (*Inbound) Match(prefix []byte) relay.Verdict {
	switch {
	case len(prefix) == 0:
		return relay.More
	case prefix[0] == version:
		return relay.Yes
	}
	return relay.No
}

// Open implements relay.Inbound.
func (in *Inbound) Open(ctx context.Context, user auth.User, c *transport.Peeked) (transport.Request, error) {
	carried := !user.IsAnonymous()
	method, err := in.greet(c, user)
	if err != nil {
		return nil, err
	}
	if method == gosocks5.UserPassAuth {
		if user, err = in.authenticate(ctx, c, user); err != nil {
			return nil, err
		}
	}
	udp := in.UDP
	if carried || user.IsAnonymous() {
		// Nobody could be cut off for what a stranger sends into the world; and
		// datagrams beside a carrier would show what it hides.
		udp = nil
	}
	return readRequest(c, user, udp)
}

// greet reads the method list and answers it (RFC 1928, Section 3).
func (in *Inbound) greet(c *transport.Peeked, user auth.User) (method byte, err error) {
	b, err := c.Peek(2)
	if err != nil {
		return 0, fmt.Errorf("socks5: greeting: %w", err)
	}
	n := 2 + int(b[1])
	if b, err = c.Peek(n); err != nil {
		return 0, fmt.Errorf("socks5: greeting: %w", err)
	}
	method = choose(b[2:n], in.Anonymous || !user.IsAnonymous())
	c.Discard(n)
	if _, err := c.Write([]byte{version, method}); err != nil {
		return 0, fmt.Errorf("socks5: greeting: %w", err)
	}
	if method == noAcceptable {
		return 0, fmt.Errorf("socks5: %w: no acceptable method", relay.ErrAuth)
	}
	return method, nil
}

// choose prefers no authentication where it is allowed: some clients always
// offer both and have no password to give.
func choose(offered []byte, anonymous bool) byte {
	if anonymous && bytes.IndexByte(offered, gosocks5.NoAuth) >= 0 {
		return gosocks5.NoAuth
	}
	if bytes.IndexByte(offered, gosocks5.UserPassAuth) >= 0 {
		return gosocks5.UserPassAuth
	}
	return noAcceptable
}

// authenticate reads user name and password and answers (RFC 1929). Who comes
// in a carrier must be the same user inside.
func (in *Inbound) authenticate(ctx context.Context, c *transport.Peeked, carrier auth.User) (auth.User, error) {
	fail := func(why error) (auth.User, error) {
		_, _ = c.Write([]byte{authVersion, 1})
		return auth.User{}, fmt.Errorf("socks5: %w", why)
	}
	n, err := peekAuth(c)
	if err != nil {
		return auth.User{}, fmt.Errorf("socks5: authentication: %w", err)
	}
	if n == 0 {
		return fail(relay.ErrBadRequest)
	}
	if err := transport.MayWait(c); err != nil {
		return auth.User{}, fmt.Errorf("socks5: authentication: %w", err)
	}
	var named auth.User
	valid := credentials(func(name, password string) bool {
		u, err := in.Verify(ctx, transport.Source(c), name, password)
		named = u
		return err == nil && !u.IsAnonymous() && (carrier.IsAnonymous() || carrier.ID == u.ID)
	})
	var answer bytes.Buffer
	auther := gosocks5.UserPassAuthenticator{Credentials: valid}
	_, err = auther.Authenticate(bytes.NewReader(c.Unread()[:n]), &answer)
	c.Discard(n)
	if err != nil {
		return fail(relay.ErrAuth)
	}
	// The library has written the choice of method too; the client has that.
	if _, err := c.Write(answer.Bytes()[2:]); err != nil {
		return auth.User{}, fmt.Errorf("socks5: authentication: %w", err)
	}
	return named, nil
}

// peekAuth waits for the whole sub-negotiation and returns its length, 0 if
// its version is not ours.
func peekAuth(c *transport.Peeked) (int, error) {
	b, err := c.Peek(2)
	if err != nil {
		return 0, err
	}
	if b[0] != authVersion {
		return 0, nil
	}
	n := 2 + int(b[1]) + 1
	if b, err = c.Peek(n); err != nil {
		return 0, err
	}
	n += int(b[n-1])
	_, err = c.Peek(n)
	return n, err
}

// credentials is the library's view of Verify.
type credentials func(name, password string) bool

// Valid implements go-socks5's CredentialStore.
func (f credentials) Valid(name, password string) bool { return f(name, password) }
