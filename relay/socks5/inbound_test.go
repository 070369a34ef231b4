package socks5

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
)

const (
	anyone   = "\x05\x01\x00"                             // greeting: no authentication
	password = "\x05\x01\x02"                             // greeting: user name and password
	granted  = "\x05\x00"                                 // answers to a greeting
	asked    = "\x05\x02"                                 //
	refused  = "\x05\xff"                                 //
	welcome  = "\x01\x00"                                 // answers to a password
	wrong    = "\x01\x01"                                 //
	alice    = "\x01\x05alice\x06s3cret"                  // RFC 1929, Section 2
	to       = "\x05\x01\x00\x01\x5d\xb8\xd8\x22\x01\xbb" // CONNECT 93.184.216.34:443
)

// reply is a whole reply with the given code.
func reply(code byte) string {
	return "\x05" + string([]byte{code}) + "\x00\x01\x00\x00\x00\x00\x00\x00"
}

// toName is a CONNECT to a name.
func toName(name string, port uint16) string {
	return "\x05\x01\x00\x03" + string([]byte{byte(len(name))}) + name + string([]byte{byte(port >> 8), byte(port)})
}

// toIPv6 is a CONNECT to port 443 of an IPv6 address.
func toIPv6(addr string) string {
	a := netip.MustParseAddr(addr).As16()
	return "\x05\x01\x00\x04" + string(a[:]) + "\x01\xbb"
}

// verify knows alice, whose password is s3cret, and nobody, whose is empty.
func verify(_ context.Context, _ netip.Addr, name, password string) (auth.User, error) {
	switch {
	case name == "alice" && password == "s3cret":
		return auth.User{ID: 1, Name: "alice"}, nil
	case name == "" && password == "":
		return auth.User{ID: 2, Name: "nobody"}, nil
	case name == strings.Repeat("n", 255) && password == strings.Repeat("p", 255):
		return auth.User{ID: 3, Name: "long"}, nil
	}
	return auth.User{}, auth.ErrCredentials
}

// opener makes the suite's view of an inbound.
func opener(anonymous bool) func() relaytest.Opener {
	return func() relaytest.Opener {
		in := &Inbound{Verify: verify, Anonymous: anonymous}
		return relaytest.Opener{Match: func(b []byte) int { return int(in.Match(b)) }, Open: in.Open}
	}
}

// denials are the reply codes for every reason that the flow can give.
var denials = []relaytest.Denial{
	{Reason: &policy.DeniedError{Reason: "own listener"}, Reply: reply(2)},
	{Reason: policy.ErrDenied, Reply: reply(2)},
	{Reason: auth.ErrDisabled, Reply: reply(2)},
	{Reason: auth.ErrExpired, Reply: reply(2)},
	{Reason: auth.ErrQuota, Reply: reply(2)},
	{Reason: auth.ErrTooManyConns, Reply: reply(2)},
	{Reason: auth.ErrTooManyIPs, Reply: reply(2)},
	{Reason: auth.ErrRemoved, Reply: reply(2)},
	{Reason: auth.ErrRotated, Reply: reply(2)},
	{Reason: auth.ErrNoUser, Reply: reply(2)},
	{Reason: policy.ErrNetUnreachable, Reply: reply(3)},
	{Reason: policy.ErrHostUnreachable, Reply: reply(4)},
	{Reason: policy.ErrNotFound, Reply: reply(4)},
	{Reason: policy.ErrRefused, Reply: reply(5)},
	{Reason: policy.ErrTimeout, Reply: reply(6)},
	{Reason: policy.ErrResolve, Reply: reply(1)},
	{Reason: auth.ErrCredentials, Reply: reply(1)},
	{Reason: context.Canceled, Reply: reply(1)},
	{Reason: context.DeadlineExceeded, Reply: reply(1)},
	{Reason: errors.New("something else"), Reply: reply(1)},
}

// The bytes of Telegram's clients are as specs/messengers.md, section 2, has
// them; those of curl were recorded from curl 7.88.1.
func TestConformance(t *testing.T) {
	t.Run("anonymous", func(t *testing.T) {
		relaytest.Inbound(t, opener(true), relaytest.Samples{
			Denials: denials, Claims: []string{"socks5"},
			Openings: []relaytest.Opening{
				{Name: "tdlib", Bytes: anyone + "\x05\x01\x00\x01\x95\x9a\xa7\x33\x01\xbb", Target: "149.154.167.51:443", Reply: granted + reply(0)},
				{Name: "tdlib IPv6", Bytes: anyone + toIPv6("2001:67c:4e8:f002::a"), Target: "[2001:67c:4e8:f002::a]:443", Reply: granted + reply(0)},
				{Name: "android", Bytes: "\x05\x02\x00\x02" + to, Target: "93.184.216.34:443", Reply: granted + reply(0)},
				{Name: "ios", Bytes: "\x05\x01\x00" + to, Target: "93.184.216.34:443", Reply: granted + reply(0)},
				{Name: "curl socks5h", Bytes: "\x05\x02\x00\x01" + toName("www.example.org", 443), Target: "www.example.org:443", Reply: granted + reply(0)},
			},
		})
	})
	t.Run("password", func(t *testing.T) {
		relaytest.Inbound(t, opener(false), relaytest.Samples{
			Denials: denials, Claims: []string{"socks5"}, Secret: "s3cret",
			Openings: []relaytest.Opening{
				{Name: "tdlib", Bytes: "\x05\x02\x00\x02" + alice + to, Target: "93.184.216.34:443", User: "alice", Reply: asked + welcome + reply(0)},
				{Name: "android", Bytes: "\x05\x02\x00\x02" + alice + toIPv6("2001:b28:f23d:f001::a"), Target: "[2001:b28:f23d:f001::a]:443", User: "alice", Reply: asked + welcome + reply(0)},
				{Name: "ios", Bytes: password + alice + to, Target: "93.184.216.34:443", User: "alice", Reply: asked + welcome + reply(0)},
				{Name: "curl socks5h", Bytes: "\x05\x03\x00\x01\x02" + alice + toName("www.example.org", 443), Target: "www.example.org:443", User: "alice", Reply: asked + welcome + reply(0)},
			},
		})
	})
}

var _ relay.Inbound = (*Inbound)(nil)
