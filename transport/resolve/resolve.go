package resolve

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// Answer is what is known of a name. Callers must not change what its slices hold.
type Answer struct {
	Addrs []netip.Addr // at least one, at most 16
	// ECH is an ECHConfigList from an HTTPS record (RFC 9460); nil where there is
	// none, or the way of asking cannot carry one.
	ECH []byte
	TTL time.Duration // as the answer had it; a Cache has bounds of its own

	part bool // some questions about the name had no answer
}

// Resolver looks names up. Its errors wrap those below and never have the name.
type Resolver interface {
	Lookup(ctx context.Context, name string) (Answer, error)
}

// What can be wrong with a lookup.
var (
	// ErrNotFound is an answer: there is no such name, or it has no address.
	ErrNotFound = errors.New("the name has no address")
	// ErrPoisoned is an answer that no public name has.
	ErrPoisoned = errors.New("the answer is forged: a public name with an address that is not public, as censors give it: " +
		"ask a DoH server by its address, or write private = true if the address is meant")
	// ErrFailed is a resolver that did not answer, or not with sense.
	ErrFailed = errors.New("the resolver failed")
	// ErrTimeout is a resolver that took too long.
	ErrTimeout = errors.New("the resolver did not answer in time")
	// ErrName is a name that nobody is asked about.
	ErrName = errors.New("this is not a host name")
)

const (
	// maxAddrs bounds what is kept of an answer, which may hold thousands.
	maxAddrs = 16
	// maxName is RFC 1035, Section 2.3.4, without the final dot.
	maxName = 253
)

// Static answers from a table and asks nobody. Its names are in lower case and
// without a final dot.
type Static map[string]Answer

// Lookup implements Resolver.
func (s Static) Lookup(_ context.Context, name string) (Answer, error) {
	name, err := clean(name)
	if err != nil {
		return Answer{}, err
	}
	a, ok := s[name]
	if !ok || len(a.Addrs) == 0 {
		return Answer{}, ErrNotFound
	}
	return a, nil
}

// clean returns a name as it is compared: in lower case, without a final dot.
func clean(name string) (string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !IsName(name) {
		return "", ErrName
	}
	return name, nil
}

// IsName reports whether s can be a host name. Addresses are none, and a final dot is
// not part of one.
func IsName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		// Underscores are in names that work (RFC 2181, Section 11).
		if label == "" || len(label) > 63 || label[0] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}
