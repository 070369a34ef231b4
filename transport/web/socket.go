package web

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"time"

	"relay/transport"
	"relay/transport/websocket"
)

// answerTime is how long a client may take for the answer to a handshake.
const answerTime = 10 * time.Second

// mostAnswer is how long the head of an answer gets by padding: nginx passes on no longer
// one unless it is told to (proxy_buffer_size).
const mostAnswer = 4 << 10

// socket opens a WebSocket, and hands the connection to the sink: the handler ends,
// and with it what an HTTP server holds for a connection.
func (c *claimed) socket(w http.ResponseWriter, r *http.Request) {
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	below, ok := raw.(transport.Conn)
	if t, secure := raw.(*tls.Conn); secure {
		below, ok = newSecured(t), true
	}
	if !ok {
		_ = raw.Close()
		return
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + websocket.AcceptKey(r.Header.Get("Sec-Websocket-Key")) + "\r\n"
	if c.protocol != "" {
		// What has come is sent back, which is as long: who sees both should not
		// see one number twice.
		answer += "Sec-WebSocket-Protocol: " + c.protocol + "\r\n"
		const name, end = "X-Padding: ", "\r\n"
		if room := mostAnswer - len(answer) - len(name) - 2*len(end); room >= leastPadding {
			answer += name + padding[:between(leastPadding, min(mostPadding/2, room))] + end
		}
	}
	// What was asked for before may not have been read. The sink has other limits.
	err = below.SetWriteDeadline(time.Now().Add(answerTime))
	if err == nil {
		_, err = below.Write([]byte(answer + "\r\n"))
	}
	if err != nil {
		_ = transport.Abort(below)
		return
	}
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ := rw.Reader.Peek(n)
		below = &prefixed{Conn: below, unread: append([]byte(nil), early...)}
	}
	conn := transport.Conn(transport.NewCoded(below, websocket.NewServer()))
	if len(c.early) > 0 {
		conn = &prefixed{Conn: conn, unread: c.early}
	}
	_ = c.sink.Stream(r.Context(), c.user, &from{conn, c.source})
}

// prefixed is a connection of which some bytes have been read already.
type prefixed struct {
	transport.Conn
	unread []byte
}

// Read implements net.Conn.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.unread) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.unread)
	if p.unread = p.unread[n:]; len(p.unread) == 0 {
		p.unread = nil
	}
	return n, nil
}

// WaitRead implements transport.ReadWaiter.
func (p *prefixed) WaitRead() error {
	if len(p.unread) > 0 {
		return nil
	}
	return transport.WaitRead(p.Conn)
}

// Detach implements transport.Detachable.
func (p *prefixed) Detach() (transport.Conn, transport.Codec, []byte) {
	unread := p.unread
	p.unread = nil
	return p.Conn, nil, unread
}

// Below returns the wrapped connection.
func (p *prefixed) Below() transport.Conn { return p.Conn }

// from is a connection that knows where it comes from, past proxies.
type from struct {
	transport.Conn
	source netip.Addr
}

// Source is the client's address.
func (f *from) Source() netip.Addr { return f.source }

// Detach implements transport.Detachable.
func (f *from) Detach() (transport.Conn, transport.Codec, []byte) { return f.Conn, nil, nil }

// WaitRead implements transport.ReadWaiter.
func (f *from) WaitRead() error { return transport.WaitRead(f.Conn) }

// Below returns the wrapped connection.
func (f *from) Below() transport.Conn { return f.Conn }
