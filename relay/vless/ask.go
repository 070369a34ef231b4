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

// nowhere is the target of a session that is never begun.
var nowhere = netip.MustParseAddrPort("127.0.0.1:1")

// leastAsk and mostAsk are how much goes with a question: alone it would be a packet of
// a length that gives it away.
const leastAsk, mostAsk = 250, 1000

// Ask finds out whether the exit knows the user, without having it do anything: it goes
// on with a session of Mux.Cool that it has not begun, and only an exit that has read
// so far says that there is none (Xray, common/mux/server.go; our own does as well).
// The stream stays until Close, and Mux must not be 0.
func (d *Dialer) Ask(ctx context.Context) error {
	to, err := transport.AddrTarget(nowhere)
	if err != nil {
		return err
	}
	s, err := d.session(to)
	if err != nil {
		return err
	}
	s.m.mu.Lock()
	s.unasked = false
	s.m.mu.Unlock()
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
	case errors.Is(err, errUnanswered):
		return errUnanswered // that is what was asked, and not a loss of the carrier
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}
