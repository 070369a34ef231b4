package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	// hostsTTL is for answers that no name server gave: /etc/hosts. The net
	// package looks at that file every five seconds as well.
	hostsTTL = 5 * time.Second
	// resolutionDelay is how long an IPv4 answer waits for the IPv6 one
	// (RFC 8305, Section 3): some name servers never answer AAAA questions.
	resolutionDelay = 50 * time.Millisecond
	// maxAttempt is how long one question waits for its answer before the next
	// name server gets it.
	maxAttempt = 2 * time.Second
	// maxAnswers bounds what is kept of one family's answer, which may hold
	// thousands of addresses: the cache is bounded in bytes, not only in names.
	maxAnswers = 2 * maxAddrs
)

// resolver asks /etc/hosts and name servers, in the way of the net package's
// own resolver, and learns how long the answers hold.
type resolver struct {
	servers []netip.AddrPort // empty: the system's
	timeout time.Duration    // of a lookup
	attempt time.Duration    // of one question to one server
}

func newResolver(d *DNS) (*resolver, error) {
	r := &resolver{timeout: d.Timeout}
	if r.timeout == 0 {
		r.timeout = DefaultDNSTimeout
	}
	for _, s := range d.Servers {
		ap, err := parseServer(s)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, ap)
	}
	// Every server gets its turn within the limit, and a single one a second
	// question, since datagrams get lost.
	r.attempt = min(maxAttempt, r.timeout/time.Duration(max(2, len(r.servers))))
	return r, nil
}

// reply is what one family's lookup gave.
type reply struct {
	four  bool
	addrs []netip.Addr
	ttl   time.Duration
	err   error
}

// lookup asks for IPv4 and IPv6 at the same time but apart: the net package
// would wait for both, and one unanswered question would cost the whole name.
func (r *resolver) lookup(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply, 2)
	for _, network := range []string{"ip4", "ip6"} {
		go func() { replies <- r.ask(ctx, network, name) }()
	}
	first := <-replies
	// A host without IPv6 can use nothing but IPv4, so only IPv4 may be first.
	if first.four && first.err == nil {
		timer := time.AfterFunc(resolutionDelay, cancel)
		defer timer.Stop()
	}
	return combine(first, <-replies)
}

func combine(a, b reply) ([]netip.Addr, time.Duration, error) {
	switch {
	case a.err == nil && b.err == nil:
		return append(a.addrs, b.addrs...), min(a.ttl, b.ttl), nil
	case a.err == nil && errors.Is(b.err, ErrNotFound):
		return a.addrs, a.ttl, nil
	case a.err == nil:
		// Half an answer: good enough for now, worth asking again soon.
		return a.addrs, min(a.ttl, negativeTTL), nil
	case b.err == nil:
		return combine(b, a)
	case errors.Is(a.err, ErrNotFound):
		// "No such address" is believed only when both questions were answered.
		return nil, 0, b.err
	}
	return nil, 0, a.err
}

// ask looks one family up. The name gets its final dot, so that the search
// list of resolv.conf is never applied.
func (r *resolver) ask(ctx context.Context, network, name string) reply {
	q := &question{resolver: r}
	// LookupNetIP returns when ctx ends, but not so what it started.
	defer q.abort()
	res := net.Resolver{PreferGo: true, Dial: q.dial}
	out := reply{four: network == "ip4", ttl: hostsTTL}
	for {
		asked := q.asked()
		addrs, err := res.LookupNetIP(ctx, network, name+".")
		out.addrs, out.err = plain(addrs), lookupError(err)
		if out.err == nil && len(out.addrs) == 0 {
			out.err = ErrNotFound
		}
		if ttl, ok := q.ttl(); ok {
			out.ttl = ttl
		}
		// The net package makes as many attempts as resolv.conf says, which
		// knows nothing of our list; go on until each server has had one.
		done := out.err == nil || errors.Is(out.err, ErrNotFound) || ctx.Err() != nil
		if done || q.asked() == asked || q.asked() >= len(r.servers) {
			return out
		}
	}
}

// plain drops addresses with a zone, which only /etc/hosts can have, and the
// IPv4-mapped form that the net package uses.
func plain(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if len(out) == maxAnswers {
			break
		}
		if a.IsValid() && a.Zone() == "" {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// lookupError keeps the kind of error and drops its text, which has the name.
func lookupError(err error) error {
	if err == nil {
		return nil
	}
	// /etc/hosts has the name, but not for this family.
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return ErrNotFound
	}
	if de, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case de.IsNotFound:
			return ErrNotFound
		case de.IsTimeout:
			return ErrTimeout
		}
	}
	return ErrResolve
}
