package vless

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// request is what an opening asks for; by itself, command 1.
type request struct {
	c      *transport.Peeked
	user   auth.User
	target transport.Target
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.target }

// Accept implements transport.Request. It tells the client nothing yet: the
// answer goes with the first bytes of far.
func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	return newReply(r.c), far, nil
}

// Deny implements transport.Request.
func (*request) Deny(error) error { return fmt.Errorf("vless: %w", relay.ErrNoReply) }

// errNotStream is what Accept of a request for something else returns.
var errNotStream = errors.New("vless: the request is not for a stream")

// association is command 2.
type association struct{ request }

// Accept implements transport.Request, which it is not for.
func (*association) Accept(context.Context, transport.Conn) (near, newFar transport.Conn, err error) {
	return nil, nil, errNotStream
}

// AcceptPackets implements transport.PacketRequest.
func (a *association) AcceptPackets(context.Context) (transport.PacketConn, error) {
	if err := transport.MayWait(a.c); err != nil {
		return nil, fmt.Errorf("vless: %w", err)
	}
	return newDatagrams(newReply(a.c), a.target), nil
}

// multiplexed is command 3.
type multiplexed struct {
	request
	packets bool
	ahead   *atomic.Int64
}

// Accept implements transport.Request, which it is not for.
func (*multiplexed) Accept(context.Context, transport.Conn) (near, newFar transport.Conn, err error) {
	return nil, nil, errNotStream
}

// Each implements transport.Multiplexed.
func (m *multiplexed) Each(ctx context.Context, open func(transport.Request)) error {
	if err := transport.MayWait(m.c); err != nil {
		_ = transport.Abort(m.c)
		return fmt.Errorf("vless: mux: %w", err)
	}
	s := newMux(newReply(m.c), m.ahead)
	s.user, s.packets, s.open = m.user, m.packets, open
	return s.run(ctx)
}

// muxRequest is a request for a stream in a mux.
type muxRequest struct{ s *session }

// User implements transport.Request.
func (r muxRequest) User() auth.User { return r.s.m.user }

// Target implements transport.Request.
func (r muxRequest) Target() transport.Target { return r.s.peer }

// Accept implements transport.Request. There is nothing to tell the client.
func (r muxRequest) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	r.s.answer()
	limitUnsent(far)
	return muxConn{r.s}, far, nil
}

// Deny implements transport.Request: an end that is an error.
func (r muxRequest) Deny(error) error {
	r.s.answer()
	r.s.abort()
	return nil
}

// muxPacketRequest is a request for datagrams in a mux.
type muxPacketRequest struct{ muxRequest }

// Accept implements transport.Request, which it is not for.
func (muxPacketRequest) Accept(context.Context, transport.Conn) (near, newFar transport.Conn, err error) {
	return nil, nil, errNotStream
}

// AcceptPackets implements transport.PacketRequest.
func (r muxPacketRequest) AcceptPackets(context.Context) (transport.PacketConn, error) {
	r.s.answer()
	return muxPacketConn{r.s}, nil
}

var (
	_ relay.Inbound           = (*Inbound)(nil)
	_ transport.Request       = (*request)(nil)
	_ transport.PacketRequest = (*association)(nil)
	_ transport.Multiplexed   = (*multiplexed)(nil)
	_ transport.Request       = muxRequest{}
	_ transport.PacketRequest = muxPacketRequest{}
)
