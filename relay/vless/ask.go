package vless

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"time"

	"relay/transport"
)

// nowhere is a target that costs nobody a packet: exits refuse it, or find nobody at it.
var nowhere = netip.MustParseAddrPort("127.0.0.1:1")

// leastAsk and mostAsk are how much goes with a question: alone it would be a packet of
// a length that gives it away.
const leastAsk, mostAsk = 250, 1000

// Ask finds out whether the exit knows the user, without having it connect to anybody:
// it asks for a session to nowhere, whose end only an exit that has read the question
// can say. The stream stays until Close, and Mux must not be 0.
func (d *Dialer) Ask(ctx context.Context) error {
	to, err := transport.AddrTarget(nowhere)
	if err != nil {
		return err
	}
	s, err := d.session(to)
	if err != nil {
		return err
	}
	c := muxConn{s}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, leastAsk+mathrand.N(mostAsk-leastAsk)) //nolint:gosec // nothing secret
	_, _ = rand.Read(b)
	if _, err = c.Write(b); err == nil {
		_, err = c.Read(b)
	}
	switch {
	case err == io.EOF, errors.Is(err, errBrokenOff):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}
