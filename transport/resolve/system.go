package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// System asks the name servers of this machine, and /etc/hosts, for addresses.
// Whoever is on the way reads the name.
type System struct {
	Servers []netip.AddrPort // asked in turn instead of the machine's
	Private bool             // take private addresses for public names
}

const (
	// systemTTL is how long an answer holds: the net package does not tell.
	systemTTL = time.Minute
	// systemTry is how long one name server has, of several.
	systemTry = 2 * time.Second
)

// Lookup implements Resolver.
func (s *System) Lookup(ctx context.Context, name string) (Answer, error) {
	name, err := clean(name)
	if err != nil {
		return Answer{}, err
	}
	a, err := gather(ctx, addresses, func(ctx context.Context, kind dnsmessage.Type) (records, error) {
		return s.ask(ctx, name, kind)
	}).answer()
	if err != nil {
		return Answer{}, err
	}
	return judge(name, a, s.Private)
}

// ask looks one family up, at each server until one answers.
func (s *System) ask(ctx context.Context, name string, kind dnsmessage.Type) (records, error) {
	if len(s.Servers) == 0 {
		return askNet(ctx, name, kind, "")
	}
	last := ErrFailed
	for _, server := range s.Servers {
		try, cancel := context.WithTimeout(ctx, systemTry)
		out, err := askNet(try, name, kind, server.String())
		cancel()
		if err == nil || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
			return out, err
		}
		last = err
	}
	return records{}, last
}

// askNet has the net package ask one server, or those of the machine. The name gets
// its final dot, so that the search list of resolv.conf is never applied.
func askNet(ctx context.Context, name string, kind dnsmessage.Type, server string) (records, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(dial context.Context, network, address string) (net.Conn, error) {
		if server != "" {
			address = server
		}
		c, err := new(net.Dialer).DialContext(dial, network, address)
		if err != nil {
			return nil, err
		}
		// The net package reads on after its context has ended.
		context.AfterFunc(ctx, func() { _ = c.Close() })
		return c, nil
	}}
	network := "ip4"
	if kind == dnsmessage.TypeAAAA {
		network = "ip6"
	}
	addrs, err := r.LookupNetIP(ctx, network, name+".")
	if err != nil {
		return records{}, systemError(err)
	}
	out := records{seconds: uint32(systemTTL / time.Second)}
	for _, a := range addrs {
		// Only /etc/hosts can have a zone.
		if a.Zone() == "" && len(out.addrs) < maxAddrs {
			out.addrs = append(out.addrs, a.Unmap())
		}
	}
	if len(out.addrs) == 0 {
		return records{}, ErrNotFound
	}
	return out, nil
}

// systemError keeps the kind of an error and drops its text, which has the name.
func systemError(err error) error {
	// /etc/hosts has the name, but not for this family.
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return ErrNotFound
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case d.IsNotFound:
			return ErrNotFound
		case d.IsTimeout:
			return ErrTimeout
		}
	}
	return ErrFailed
}
