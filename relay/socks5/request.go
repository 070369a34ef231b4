package socks5

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"

	gosocks5 "github.com/armon/go-socks5"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/transport"
)

// Address types (RFC 1928, Section 5).
const (
	atypIPv4 = 1
	atypName = 3
	atypIPv6 = 4
)

// Reply codes (RFC 1928, Section 6).
const (
	replySuccess            = 0
	replyFailure            = 1
	replyNotAllowed         = 2
	replyNetworkUnreachable = 3
	replyHostUnreachable    = 4
	replyRefused            = 5
	replyTTLExpired         = 6 // what SOCKS servers say for a time-out
	replyBadCommand         = 7
	replyBadAddressType     = 8
)

// openError is an opening that gets a reply.
type openError struct {
	code byte
	what string
}

func (e *openError) Error() string { return e.what }
func (e *openError) Unwrap() error { return relay.ErrBadRequest }

// request is an opened CONNECT.
type request struct {
	c      *transport.Peeked
	user   auth.User
	target transport.Target
}

// readRequest reads what the client wants. udp is nil where it may not send
// datagrams.
func readRequest(c *transport.Peeked, user auth.User, udp *UDP) (transport.Request, error) {
	n, err := peekRequest(c)
	if err == nil {
		if b := c.Unread()[:n]; udp != nil && b[1] == gosocks5.AssociateCommand {
			port := clientPort(b, transport.Source(c))
			c.Discard(n)
			return &associate{request{c: c, user: user}, udp, port}, nil
		}
		var target transport.Target
		if target, err = parseRequest(c.Unread()[:n]); err == nil {
			c.Discard(n)
			return &request{c: c, user: user, target: target}, nil
		}
		c.Discard(n)
	}
	var oe *openError
	if errors.As(err, &oe) {
		_ = writeReply(c, oe.code)
	}
	return nil, fmt.Errorf("socks5: request: %w", err)
}

// peekRequest waits for the whole request and returns its length.
func peekRequest(c *transport.Peeked) (int, error) {
	// Five bytes: up to the length of a name. Every valid request is longer.
	b, err := c.Peek(5)
	if err != nil {
		return 0, err
	}
	n, err := requestLen(b)
	if err != nil {
		return 0, err
	}
	_, err = c.Peek(n)
	return n, err
}

// requestLen is the length of a request from its first five bytes.
func requestLen(b []byte) (int, error) {
	if b[0] != version {
		return 0, &openError{replyFailure, "bad version"}
	}
	return targetEnd(b)
}

// targetEnd is where the target ends that begins with the address type in b[3]. b
// has five bytes at least.
func targetEnd(b []byte) (int, error) {
	switch b[3] {
	case atypIPv4:
		return 4 + 4 + 2, nil
	case atypIPv6:
		return 4 + 16 + 2, nil
	case atypName:
		if b[4] == 0 {
			return 0, &openError{replyFailure, "empty name"}
		}
		return 4 + 1 + int(b[4]) + 2, nil
	}
	return 0, &openError{replyBadAddressType, "bad address type"}
}

// parseRequest reads a request of exactly the right length.
func parseRequest(b []byte) (transport.Target, error) {
	if cmd := b[1]; cmd != gosocks5.ConnectCommand {
		return transport.Target{}, &openError{replyBadCommand, "bad command"}
	}
	target, err := parseTarget(b)
	if err != nil || !agrees(b, target) {
		return transport.Target{}, &openError{replyFailure, "bad target"}
	}
	return target, nil
}

// parseTarget reads the target at the end of a request, or of a datagram's header,
// which have the same form from the address type on, of exactly the right length.
func parseTarget(b []byte) (transport.Target, error) {
	host, port := b[4:len(b)-2], uint16(b[len(b)-2])<<8|uint16(b[len(b)-1])
	if b[3] == atypName {
		return transport.NameTarget(string(host[1:]), port)
	}
	addr, _ := netip.AddrFromSlice(host)
	return transport.AddrTarget(netip.AddrPortFrom(addr, port))
}

// agrees asks the library's parser for a second opinion on the same bytes.
func agrees(b []byte, target transport.Target) bool {
	r, err := gosocks5.NewRequest(bytes.NewReader(b))
	if err != nil || r.Command != gosocks5.ConnectCommand || r.DestAddr.Port != int(target.Port()) {
		return false
	}
	if name := r.DestAddr.FQDN; name != "" {
		again, err := transport.NameTarget(name, target.Port())
		return err == nil && again == target
	}
	addr, ok := netip.AddrFromSlice(r.DestAddr.IP)
	return ok && addr.Unmap() == target.Addr()
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.target }

// Accept implements transport.Request.
func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	if err := writeReply(r.c, replySuccess); err != nil {
		return nil, nil, fmt.Errorf("socks5: reply: %w", err)
	}
	return r.c, far, nil
}

// Deny implements transport.Request.
func (r *request) Deny(reason error) error { return writeReply(r.c, replyFor(reason)) }

func replyFor(reason error) byte {
	switch {
	case errors.Is(reason, transport.ErrNoPacket):
		return replyBadCommand
	case errors.Is(reason, policy.ErrDenied), auth.Refused(reason):
		return replyNotAllowed
	case errors.Is(reason, policy.ErrNetUnreachable):
		return replyNetworkUnreachable
	case errors.Is(reason, policy.ErrHostUnreachable), errors.Is(reason, policy.ErrNotFound):
		return replyHostUnreachable
	case errors.Is(reason, policy.ErrRefused):
		return replyRefused
	case errors.Is(reason, policy.ErrTimeout):
		return replyTTLExpired
	}
	return replyFailure
}

// writeReply sends a reply in one write (RFC 1928, Section 6).
func writeReply(c transport.Conn, code byte) error {
	return writeBound(c, code, netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
}

// writeBound is writeReply with an address.
func writeBound(c transport.Conn, code byte, bound netip.AddrPort) error {
	_, err := c.Write(appendAddr([]byte{version, code, 0}, bound))
	return err
}

// appendAddr appends address type, address and port (RFC 1928, Section 5).
func appendAddr(b []byte, a netip.AddrPort) []byte {
	if a.Addr().Is4() {
		b = append(b, atypIPv4)
	} else {
		b = append(b, atypIPv6)
	}
	b = append(b, a.Addr().AsSlice()...)
	return append(b, byte(a.Port()>>8), byte(a.Port()))
}
