package relay

import (
	"bufio"
	"bytes"
	"fmt"
	"net"

	proxyproto "github.com/pires/go-proxyproto"

	"relay/transport"
)

// Lengths of PROXY protocol headers (HAProxy's proxy-protocol.txt, sections 2.1
// and 2.2).
const (
	proxyV1Most   = 107
	proxyV2Header = 16
	proxyV2Most   = proxyV2Header + 4096 // our bound: addresses and TLVs
)

var errNoProxyHeader = fmt.Errorf("%w: PROXY protocol header is missing or not valid", ErrBadRequest)

// unproxy takes the PROXY protocol header off a connection from a source that is
// known to send them, and counts the connection for the client named there.
// Anybody else's header is a stranger's bytes.
func (c *conn) unproxy(p *transport.Peeked, r *route) error {
	if r.proxied == nil || !r.proxied(c.source) {
		return nil
	}
	n, err := proxyHeaderLen(p)
	if err != nil {
		return err
	}
	if unspecified(p.Unread()[:n]) {
		p.Discard(n)
		return nil
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(p.Unread()[:n])))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoProxyHeader, err)
	}
	p.Discard(n)
	a, ok := h.SourceAddr.(*net.TCPAddr)
	if h.Command.IsLocal() || !ok {
		return nil // the balancer itself, to see whether we live
	}
	c.authenticated()
	c.source = a.AddrPort().Addr().Unmap().WithZone("")
	c.client = a
	if !c.srv.bursts.allow(c.source, c.began) || !c.srv.sources.enter(c, r.cover) {
		return errCrowded
	}
	c.counted = true
	return nil
}

// unspecified reports whether a header of version 2 says that nobody knows the client
// (Section 2.2, AF_UNSPEC), which the library takes for a fault. What follows in it
// means nothing.
func unspecified(b []byte) bool {
	const proxied = 0x21
	return prefixOf(b, proxyproto.SIGV2) && b[12] == proxied && b[13] == 0
}

// proxyHeaderLen waits for a header and returns how long it is.
func proxyHeaderLen(p *transport.Peeked) (int, error) {
	for n := 1; ; {
		b, err := p.Peek(n)
		if err != nil {
			return 0, err
		}
		switch {
		case prefixOf(b, proxyproto.SIGV2):
			if n = proxyV2Header; len(b) >= n {
				if n += int(b[14])<<8 | int(b[15]); n > proxyV2Most {
					return 0, errNoProxyHeader
				}
				if len(b) >= n {
					return n, nil
				}
			}
		case prefixOf(b, proxyproto.SIGV1):
			if i := bytes.IndexByte(b[:min(len(b), proxyV1Most)], '\n'); i >= 0 {
				return i + 1, nil
			}
			if n = len(b) + 1; n > proxyV1Most {
				return 0, errNoProxyHeader
			}
		default:
			return 0, errNoProxyHeader
		}
	}
}

// prefixOf reports whether b could begin with sig, or does.
func prefixOf(b, sig []byte) bool {
	n := min(len(b), len(sig))
	return bytes.Equal(b[:n], sig[:n])
}

// ProxyHeader is the version 2 header that tells a [Cover] of a client, and of
// the address that it has connected to. Who has none comes from this machine and
// is nobody's client: the address of a unix socket has 216 bytes, more than nginx 1.22
// takes.
func ProxyHeader(client, local net.Addr) []byte {
	h := proxyproto.HeaderProxyFromAddrs(2, client, local)
	if _, ok := client.(*net.TCPAddr); !ok {
		h = &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	}
	b, err := h.Format()
	if err != nil {
		return nil
	}
	return b
}
