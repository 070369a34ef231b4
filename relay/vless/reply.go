package vless

import (
	"errors"
	"slices"

	"relay/transport"
)

// replyHeader is the answer to an opening: the version, and no addons.
var replyHeader = []byte{version, 0}

// reply is the client's side of an opening that was accepted. The answer goes
// ahead of the first bytes, in one write with them: in a packet of its own it would
// be a mark, and cost one. From then on reply only passes on.
type reply struct {
	transport.Conn
	unread []byte // behind the opening
	said   bool   // the answer; for who writes
}

var _ transport.ReadWaiter = (*reply)(nil)

// newReply takes the place of p, which must not be used any more: a Peeked on the
// way would read bulk in small pieces.
func newReply(p *transport.Peeked) *reply {
	below, _, unread := p.Detach()
	return &reply{Conn: below, unread: unread}
}

// Read implements net.Conn.
func (r *reply) Read(b []byte) (int, error) {
	if len(r.unread) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.unread)
	if r.unread = r.unread[n:]; len(r.unread) == 0 {
		r.unread = nil
	}
	return n, nil
}

// WaitRead implements transport.ReadWaiter, as far as what is below does: else the
// Read that follows waits.
func (r *reply) WaitRead() error {
	if len(r.unread) > 0 {
		return nil
	}
	err := transport.WaitRead(r.Conn)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// Write implements net.Conn.
func (r *reply) Write(b []byte) (int, error) {
	if r.said {
		return r.Conn.Write(b)
	}
	r.said = true
	n, err := r.Conn.Write(slices.Concat(replyHeader, b))
	return max(0, n-len(replyHeader)), err
}

// CloseWrite implements transport.Conn.
func (r *reply) CloseWrite() error {
	if !r.said {
		if _, err := r.Write(nil); err != nil {
			return err
		}
	}
	return r.Conn.CloseWrite()
}

// Below returns the wrapped connection.
func (r *reply) Below() transport.Conn { return r.Conn }
