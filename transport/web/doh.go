package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"relay/transport/h2"
	"relay/transport/resolve"
)

const (
	dnsMessage = "application/dns-message"
	mostAnswer = 64 << 10 // RFC 8484, Section 6
)

// ServerWay is the way to a DoH server.
func ServerWay(s resolve.Server) Way {
	w := Way{SNI: s.Host, CertificateName: s.Host, Authority: s.Host, Version: H2, Mode: ModeStreamOne}
	if _, err := netip.ParseAddr(s.Host); err == nil {
		w.SNI = "" // an address is not said in a hello
	}
	if u, err := url.Parse(s.URL); err == nil {
		w.Path, w.Authority = Secret(u.EscapedPath()), u.Host
	}
	for _, a := range s.Addrs {
		w.Connect = append(w.Connect, Place{Host: a.Addr().String(), Port: a.Port()})
	}
	return w
}

// Exchange asks a DoH server (RFC 8484), to which this Client is, as the browser does:
// over a connection with its hello.
func (c *Client) Exchange(ctx context.Context, query []byte) ([]byte, error) {
	k, err := c.carrier(ctx)
	if err != nil {
		return nil, err
	}
	defer c.leave(k)
	head := h2.Head{Method: http.MethodPost, Scheme: "https", Authority: c.way.Authority, Path: string(c.way.Path)}
	head.Fields = []h2.Field{
		{Name: "content-length", Value: strconv.Itoa(len(query))},
		{Name: "accept", Value: dnsMessage},
		{Name: "accept-language", Value: "*"},
		{Name: "user-agent", Value: "Chrome"}, // what Chromium's DNS says, whatever its version
		{Name: "content-type", Value: dnsMessage},
		{Name: "accept-encoding", Value: "identity"},
	}
	s, err := k.open(ctx, head, query, true)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	status, _, err := s.Response(ctx)
	if err != nil {
		return nil, k.lost(fmt.Errorf("web: DNS: %w", err))
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("web: DNS: the server answers with status %d", status)
	}
	if d, ok := ctx.Deadline(); ok {
		_ = s.SetReadDeadline(d)
	}
	return io.ReadAll(io.LimitReader(s, mostAnswer))
}
