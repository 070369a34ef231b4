package browser

import (
	"context"
	"crypto/x509"
	"errors"

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
	ECH []byte
	// Sessions are those to resume; nil: none.
	Sessions *Sessions
}

// ECHRejectedError says that the server did not take the ECH. Retry is the list
// that it offers instead, from a server that has proved the public name; empty:
// it wants to be visited without ECH.
type ECHRejectedError struct{ Retry []byte }

// Error says so.
func (*ECHRejectedError) Error() string { return "server did not accept the ECH configuration" }

// Sessions remembers the tickets of servers, so that a repeat visit resumes as
// a browser's does. The zero value is ready; it may be used concurrently.
type Sessions struct{}

// Conn is the stream over an established TLS connection.
type Conn struct{ transport.Conn }

// Client makes the handshake on raw, bounded by ctx. The Conn closes raw, and
// so does Client itself when it fails.
func (p *Profile) Client(ctx context.Context, raw transport.Conn, c Config) (*Conn, error) {
	_ = raw.Close()
	return nil, errors.ErrUnsupported
}

// Protocol is what the server has chosen by ALPN; empty: nothing.
func (c *Conn) Protocol() string { return "" }

// Resumed reports whether the session is that of an earlier connection.
func (c *Conn) Resumed() bool { return false }

// ECHAccepted reports whether the server has read the encrypted hello.
func (c *Conn) ECHAccepted() bool { return false }

// Below is the connection that carries this one.
func (c *Conn) Below() transport.Conn { return nil }
