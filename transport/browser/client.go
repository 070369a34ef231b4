package browser

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	utls "github.com/refraction-networking/utls"

	"relay/transport"
)

// Config is what a connection is for.
type Config struct {
	// ServerName is the name in the hello; empty: there is none in it.
	ServerName string
	// VerifyName is the name that the certificate must be for; empty: ServerName.
	VerifyName string
	// Pins are SHA-256 of certificates. The server's own is enough by itself; one
	// of an authority takes the place of Roots. With pins, nothing else will do.
	Pins [][32]byte
	// Roots are the authorities; nil: those of the system.
	Roots *x509.CertPool
	// Protocols are those of ALPN; nil: the browser's.
	Protocols []string
	// WebSocket asks for the hello with which the browser opens a WebSocket.
	WebSocket bool
	// ECH is an ECHConfigList (RFC 9849); nil: what the browser sends without one.
	// With it no session is resumed, and a server that has none of the browser's
	// first keys cannot be reached.
	ECH []byte
	// NoECH leaves the extension out, for networks that let no hello with it pass. No
	// browser of this year does so.
	NoECH bool
	// Sessions are those to resume; nil: none.
	Sessions *Sessions
}

// ECHRejectedError says that the server did not take the ECH. Retry is the list
// that it offers instead, having proved the public name; empty: it wants to be
// visited without ECH.
type ECHRejectedError struct{ Retry []byte }

// Error says so.
func (*ECHRejectedError) Error() string { return "the server did not accept the ECH configuration" }

// Client makes the handshake on raw, bounded by ctx. The Conn closes raw, and
// so does Client itself when it fails.
func (p *Profile) Client(ctx context.Context, raw transport.Conn, c Config) (*Conn, error) {
	var public string
	if c.ECH != nil {
		c.Sessions = nil // the library cannot hide a ticket inside
		var err error
		if c.ECH, public, err = echConfig(c.ECH, c.ServerName); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("browser: %w", err)
		}
	}
	below := newGate(raw)
	tickets := &cache{s: c.Sessions, name: sessionName(raw, &c)}
	u := utls.UClient(below, p.config(&c, public, tickets), utls.HelloCustom)
	if err := u.ApplyPreset(p.spec(&c)); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("browser: make a hello of profile %s: %w", p.Name, err)
	}
	if err := u.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if rejected, ok := errors.AsType[*utls.ECHRejectionError](err); ok {
			err = &ECHRejectedError{Retry: rejected.RetryConfigList}
		}
		return nil, fmt.Errorf("browser: handshake: %w", cmp.Or(context.Cause(ctx), err))
	}
	tickets.retry = p.retried(u)
	// 20 kB, and keys that nobody needs any more.
	u.HandshakeState, u.Extensions = utls.PubClientHandshakeState{}, nil
	return newConn(u, below), nil
}

// config is the library's. It judges no certificate by itself: it has no pins,
// and would judge a server that rejects ECH by the wrong name.
func (p *Profile) config(c *Config, public string, tickets *cache) *utls.Config {
	name := cmp.Or(c.VerifyName, c.ServerName)
	out := &utls.Config{
		ServerName:         c.ServerName,
		InsecureSkipVerify: true,
		VerifyConnection: func(s utls.ConnectionState) error {
			return c.verify(name, s.PeerCertificates)
		},
		// Browsers fill their records from the first one on.
		DynamicRecordSizingDisabled: true,
		// An answer to application settings that says nothing, as Chromium's.
		ApplicationSettings: map[string][]byte{"h2": {}},
		// A profile without an extension for tickets, as one for which there are none.
		PreferSkipResumptionOnNilExtension: true,
		OmitEmptyPsk:                       true,
	}
	if c.Sessions != nil {
		out.ClientSessionCache = tickets
	} else {
		out.SessionTicketsDisabled = true
	}
	if c.ECH != nil {
		out.EncryptedClientHelloConfigList = c.ECH
		// Who rejects it has to prove the public name, whatever is pinned: the
		// library shows us no certificate there.
		out.RootCAs, out.InsecureServerNameToVerify = c.Roots, public
		out.MinVersion = utls.VersionTLS13
		out.NextProtos = either(c.Protocols, p.TLS.Protocols)
		if c.WebSocket {
			out.NextProtos = either(c.Protocols, p.WebSocket.Protocols)
		}
	}
	return out
}

// sessionName is what tickets are remembered under.
func sessionName(raw transport.Conn, c *Config) string {
	if c.ServerName != "" {
		return c.ServerName
	}
	return raw.RemoteAddr().String()
}

// retried reports whether the server asked for a key that the first hello did not
// have. The library cannot resume where that happens, so that tickets of such a
// server are of no use.
func (p *Profile) retried(u *utls.UConn) bool {
	h := u.HandshakeState.ServerHello
	if u.ConnectionState().Version != utls.VersionTLS13 || h == nil {
		return false
	}
	return h.ServerShare.Group != 0 && !slices.Contains(p.TLS.KeyShares, Number(h.ServerShare.Group))
}
