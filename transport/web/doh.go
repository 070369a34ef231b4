package web

import (
	"context"
	"fmt"
	"net/netip"

	"relay/transport/h2"
	"relay/transport/resolve"
)

// ServerWay is the way to a DoH server.
func ServerWay(s resolve.Server) Way {
	w := Way{SNI: s.Host, CertificateName: s.Host, Authority: s.Authority, Version: H2, Mode: ModeStreamOne}
	if _, err := netip.ParseAddr(s.Host); err == nil {
		w.SNI = "" // an address is not said in a hello
	}
	for _, a := range s.Addrs {
		w.Connect = append(w.Connect, Place{Host: a.Addr().String(), Port: a.Port()})
	}
	return w
}

// Exchange asks a DoH server as the browser does, on a connection with its hello. The
// Client is one to the server's Way.
func (c *Client) Exchange(ctx context.Context, s resolve.Server, query []byte) ([]byte, error) {
	k, err := c.carrier(ctx)
	if err != nil {
		return nil, err
	}
	defer c.leave(k)
	q := s.Request(query)
	head := h2.Head{Method: q.Method, Scheme: "https", Authority: q.Authority, Path: q.Path}
	head.Weight = weights[4] // Chromium's, whose request says "u=4"
	for _, f := range q.Header {
		head.Fields = append(head.Fields, h2.Field{Name: f[0], Value: f[1]})
	}
	stream, err := k.open(ctx, head, q.Body, true)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = stream.SetReadDeadline(d)
	}
	status, fields, err := stream.Response(ctx)
	if err != nil {
		return nil, k.lost(fmt.Errorf("web: DNS: %w", err))
	}
	kind := ""
	for _, f := range fields {
		if f.Name == "content-type" {
			kind = f.Value
		}
	}
	return resolve.ReadAnswer(status, kind, stream)
}
