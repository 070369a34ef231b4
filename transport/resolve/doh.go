package resolve

import (
	"context"

	"golang.org/x/net/dns/dnsmessage"
)

// Exchange carries one DNS message to a DoH server and returns the answer. It is
// called three times at once for each name, and returns soon after ctx has ended.
// Errors that wrap none of this package's become ErrFailed or ErrTimeout.
type Exchange func(ctx context.Context, query []byte) ([]byte, error)

// DoH asks a server over HTTPS (RFC 8484) for addresses and for the HTTPS record.
type DoH struct {
	Exchange Exchange
	Private  bool // take private addresses for public names
}

// maxHops bounds the names that records in alias mode lead over.
const maxHops = 4

// Chromium asks for the HTTPS record first.
var (
	everything = []dnsmessage.Type{dnsmessage.TypeHTTPS, dnsmessage.TypeAAAA, dnsmessage.TypeA}
	addresses  = []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA}
)

// Lookup implements Resolver.
func (d *DoH) Lookup(ctx context.Context, name string) (Answer, error) {
	name, err := clean(name)
	if err != nil {
		return Answer{}, err
	}
	own := d.ask(ctx, name, everything)
	a, err := d.bound(ctx, name, own)
	if err != nil {
		// RFC 9460, Section 3: where its records lead nowhere, a name's own addresses
		// are good.
		if a, err = own.answer(); err != nil {
			return Answer{}, err
		}
	}
	return judge(name, a, d.Private)
}

// bound follows the HTTPS records of a name to an answer.
func (d *DoH) bound(ctx context.Context, name string, r replies) (Answer, error) {
	ttl, part := maxTTL, false
	for range maxHops {
		here, missing := r.ttl()
		ttl, part = min(ttl, here), part || missing
		s := best(r[dnsmessage.TypeHTTPS].services)
		to := ""
		if s != nil {
			to = s.elsewhere(name)
		}
		switch {
		case s != nil && s.alias() && to != "":
			name = to
			r = d.ask(ctx, name, everything)
			continue
		case s == nil || s.alias(): // an alias of itself says nothing
			s = new(service)
		case to != "":
			r = d.ask(ctx, to, addresses)
		}
		a, err := r.answer()
		if err != nil && len(s.hints) > 0 {
			// RFC 9460, Section 7.3: hints are for as long as there is nothing better.
			a, err = Answer{Addrs: s.hints, TTL: partTTL}, nil
		}
		a.ECH, a.TTL, a.part = s.ech, min(a.TTL, ttl), a.part || part
		return a, err
	}
	return Answer{}, broken("more than %d aliases", maxHops)
}

// ask asks questions of some kinds about a name.
func (d *DoH) ask(ctx context.Context, name string, kinds []dnsmessage.Type) replies {
	wire, err := wireName(name)
	return gather(ctx, kinds, func(ctx context.Context, kind dnsmessage.Type) (records, error) {
		if err != nil {
			return records{}, err
		}
		query, err := newQuery(wire, kind)
		if err != nil {
			return records{}, err
		}
		msg, err := d.Exchange(ctx, query)
		if err != nil {
			return records{}, err
		}
		return parseAnswer(msg, dnsmessage.Question{Name: wire, Type: kind, Class: dnsmessage.ClassINET})
	})
}
