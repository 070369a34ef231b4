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

var (
	_ transport.ReadWaiter = (*reply)(nil)
	_ transport.Detachable = (*reply)(nil)
)

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

// Detach implements transport.Detachable, where the bytes go through a codec, as those
// of a WebSocket do: it says the answer then. Elsewhere one would cost a copy in both
// directions, for two bytes in one of them.
func (r *reply) Detach() (below transport.Conn, codec transport.Codec, unread []byte) {
	for {
		d, ok := r.Conn.(transport.Detachable)
		if !ok {
			return r, nil, nil
		}
		below, codec, unread = d.Detach()
		if below == r.Conn {
			return r, nil, nil
		}
		r.Conn, r.unread = below, append(r.unread, unread...)
		if codec != nil {
			return r.Conn, r.answering(codec), r.unread
		}
	}
}

// answering returns a codec that says the answer, if that has not been said, and then
// does what c does.
func (r *reply) answering(c transport.Codec) transport.Codec {
	if r.said {
		return c
	}
	a := &answering{Codec: c}
	a.replier, _ = c.(transport.Replier)
	if f, ok := c.(transport.Framer); ok {
		return &framing{a, f}
	}
	return a
}

// answering is a codec with the answer ahead of its first payload.
type answering struct {
	transport.Codec
	replier transport.Replier // nil: it never replies
	said    bool
}

// Encode implements transport.Codec.
func (a *answering) Encode(dst, payload []byte) ([]byte, error) {
	if a.said {
		return a.Codec.Encode(dst, payload)
	}
	a.said = true
	return a.Codec.Encode(dst, slices.Concat(replyHeader, payload))
}

// End implements transport.Codec.
func (a *answering) End(dst []byte) []byte {
	if !a.said {
		var err error
		if dst, err = a.Encode(dst, nil); err != nil {
			return dst
		}
	}
	return a.Codec.End(dst)
}

// ReplyDue implements transport.Replier.
func (a *answering) ReplyDue() bool { return a.replier != nil && a.replier.ReplyDue() }

// Reply implements transport.Replier.
func (a *answering) Reply(dst []byte) []byte { return a.replier.Reply(dst) }

// framing is answering for payload that is not changed.
type framing struct {
	*answering
	transport.Framer
}

// Frame implements transport.Framer.
func (f *framing) Frame(dst []byte, n int) (header []byte, size int) {
	if !f.said {
		if wire, err := f.Encode(dst, nil); err == nil {
			dst = wire
		}
	}
	return f.Framer.Frame(dst, n)
}
