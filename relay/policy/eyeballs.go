package policy

import (
	"context"
	"net/netip"
	"time"

	"relay/transport"
)

// attemptDelay is the Connection Attempt Delay of RFC 8305, Section 5.
const attemptDelay = 250 * time.Millisecond

// interleave orders addresses as RFC 8305, Section 4: IPv6 first, then by
// turns, each family in the order the resolver gave (RFC 6724).
func interleave(addrs []netip.Addr) []netip.Addr {
	var six, four []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(six), len(four)) {
		if i < len(six) {
			out = append(out, six[i])
		}
		if i < len(four) {
			out = append(out, four[i])
		}
	}
	return out
}

// attempt is how one connection attempt ended.
type attempt struct {
	conn transport.Conn
	err  error
}

// race connects to the first of several addresses that answers (RFC 8305,
// Section 5). The next attempt starts after attemptDelay, or as soon as one
// fails. When race returns all attempts have ended and all connections but the
// returned one are closed.
func (e *Egress) race(ctx context.Context, list []netip.AddrPort) (transport.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan attempt)
	started, running := 0, 0
	start := func() {
		to := list[started]
		started++
		running++
		go func() {
			c, err := e.connect(ctx, to)
			ended <- attempt{c, err}
		}()
	}
	timer := time.NewTimer(attemptDelay)
	defer timer.Stop()

	var won transport.Conn
	var worst error // of the failures, the one that says most
	start()
	for running > 0 {
		select {
		case <-timer.C:
			if won == nil && ctx.Err() == nil && started < len(list) {
				start()
				timer.Reset(attemptDelay)
			}
		case a := <-ended:
			running--
			switch {
			case a.err == nil && won == nil:
				won = a.conn
				// The losers end at once; the loop goes on until they have.
				cancel()
			case a.err == nil:
				_ = a.conn.Close()
			case won == nil:
				if err := classify(a.err); worst == nil || telling(err) > telling(worst) {
					worst = err
				}
				if ctx.Err() == nil && started < len(list) {
					start()
					timer.Reset(attemptDelay)
				}
			}
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, worst
}
