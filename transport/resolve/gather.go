package resolve

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// laggard is how long the other questions about a name may take once there is an
	// address: some name servers never answer those about AAAA or HTTPS records.
	laggard = 500 * time.Millisecond
	// partTTL is for an answer of which a part is missing: good enough for now, worth
	// asking again soon.
	partTTL = minTTL
)

// reply is what came of one question.
type reply struct {
	kind dnsmessage.Type
	records
	err error
}

// replies are those about one name.
type replies map[dnsmessage.Type]reply

// gather asks the questions about a name at the same time and waits for them all, but
// for the last ones only so long. ask returns soon after its context has ended.
func gather(ctx context.Context, kinds []dnsmessage.Type, ask func(context.Context, dnsmessage.Type) (records, error)) replies {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	came := make(chan reply, len(kinds))
	for _, kind := range kinds {
		go func() {
			r, err := ask(ctx, kind)
			came <- reply{kind, r, err}
		}()
	}
	var last *time.Timer
	out := make(replies, len(kinds))
	for range kinds {
		r := <-came
		if r.err != nil {
			r.records = records{}
			r.err = sentinel(ctx, r.err)
		}
		out[r.kind] = r
		if last == nil && len(r.addrs) > 0 {
			last = time.AfterFunc(laggard, cancel)
			defer last.Stop()
		}
	}
	return out
}

// sentinel has every error wrap one of this package's, and none have more text than
// this package gave it: that of others repeats names.
func sentinel(ctx context.Context, err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrFailed) || errors.Is(err, ErrTimeout) {
		return err
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		return ErrTimeout
	}
	return ErrFailed
}

// answer is what is known of the addresses.
func (r replies) answer() (Answer, error) {
	four, six := r[dnsmessage.TypeA], r[dnsmessage.TypeAAAA]
	a := Answer{Addrs: interleave(six.addrs, four.addrs)}
	a.TTL, a.part = r.ttl()
	switch {
	case len(a.Addrs) > 0:
		return a, nil
	case four.err != nil && !errors.Is(four.err, ErrNotFound):
		// "No such address" is believed only when both questions were answered.
		return Answer{}, four.err
	case six.err != nil:
		return Answer{}, six.err
	}
	return Answer{}, ErrNotFound
}

// ttl is the least of all answers, and short if one is missing.
func (r replies) ttl() (least time.Duration, part bool) {
	least = maxTTL
	for _, one := range r {
		switch {
		case one.err == nil:
			least = min(least, time.Duration(one.seconds)*time.Second)
		case !errors.Is(one.err, ErrNotFound):
			least, part = min(least, partTTL), true
		}
	}
	return least, part
}

// interleave has the families take turns, so that whoever dials in order meets both
// soon (RFC 8305, Section 4).
func interleave(six, four []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for i := 0; i < max(len(six), len(four)) && len(out) < maxAddrs; i++ {
		for _, family := range [][]netip.Addr{six, four} {
			if i < len(family) && len(out) < maxAddrs {
				out = append(out, family[i])
			}
		}
	}
	return out
}
