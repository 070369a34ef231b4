package browser

import (
	"errors"
	"time"

	utls "github.com/refraction-networking/utls"

	"relay/transport"
)

// closeTimeout bounds what Close waits for: a peer that takes no bytes.
const closeTimeout = 250 * time.Millisecond

// Conn is the stream over an established TLS connection. Reading is for one
// goroutine at a time.
type Conn struct {
	*tlsConn
	below    *gate
	protocol string
	resumed  bool
	ech      bool
	first    [1]byte // read by WaitRead
	has      bool
}

// tlsConn keeps the library out of what this package shows.
type tlsConn = utls.UConn

func newConn(u *utls.UConn, below *gate) *Conn {
	s := u.ConnectionState()
	return &Conn{tlsConn: u, below: below, protocol: s.NegotiatedProtocol, resumed: s.DidResume, ech: s.ECHAccepted}
}

// Protocol is what the server has chosen by ALPN; empty: nothing.
func (c *Conn) Protocol() string { return c.protocol }

// Resumed reports whether the session is that of an earlier connection.
func (c *Conn) Resumed() bool { return c.resumed }

// ECHAccepted reports whether the server has read the encrypted hello.
func (c *Conn) ECHAccepted() bool { return c.ech }

// Below is the connection that carries this one.
func (c *Conn) Below() transport.Conn { return c.below.Conn }

// Read implements transport.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if !c.has || len(b) == 0 {
		return c.tlsConn.Read(b)
	}
	b[0], c.has = c.first[0], false
	if len(b) == 1 {
		return 1, nil
	}
	// What belongs to the same record is here already; nothing is waited for.
	c.below.noWait = true
	n, _ := c.tlsConn.Read(b[1:]) // an end or an error comes again
	c.below.noWait = false
	return n + 1, nil
}

// WaitRead waits until there are bytes to read, or the end, and holds no buffer
// meanwhile where the connection below is a socket.
func (c *Conn) WaitRead() error {
	for !c.has {
		c.below.noWait = true
		n, err := c.tlsConn.Read(c.first[:])
		c.below.noWait = false
		switch {
		case n > 0:
			c.has = true
		case errors.Is(err, transport.ErrNotYet):
			if err := transport.WaitRead(c.below.Conn); err != nil {
				return nil // Read tells
			}
		case err != nil:
			return nil
		}
	}
	return nil
}

var _ transport.Holder = (*Conn)(nil)

// Hold implements transport.Holder.
func (c *Conn) Hold() { c.below.records.Hold() }

// Release implements transport.Holder.
func (c *Conn) Release() error { return c.below.records.Release() }

// Close ends both directions. It waits for nobody.
func (c *Conn) Close() error {
	t := time.AfterFunc(closeTimeout, func() { _ = c.below.Conn.Close() })
	defer t.Stop()
	return c.tlsConn.Close()
}

// gate is the connection below, which can be told not to wait, and to keep what is
// written.
type gate struct {
	transport.Conn
	records transport.Records
	noWait  bool // read and written by whoever reads
}

// newGate returns one for c.
func newGate(c transport.Conn) *gate {
	g := &gate{Conn: c}
	g.records.To = c
	return g
}

// Write implements net.Conn, for one record.
func (g *gate) Write(b []byte) (int, error) { return g.records.Write(b) }

func (g *gate) Read(b []byte) (int, error) {
	if !g.noWait {
		return g.Conn.Read(b)
	}
	n, err := transport.TryRead(g.Conn, b)
	if errors.Is(err, errors.ErrUnsupported) {
		return g.Conn.Read(b)
	}
	return n, err
}
