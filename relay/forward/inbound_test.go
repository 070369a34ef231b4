package forward

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

var _ relay.Inbound = (*Inbound)(nil)

const target = "www.example.org:443"

func opener() relaytest.Opener {
	to, _ := transport.ParseTarget(target)
	in := &Inbound{Target: to}
	return relaytest.Opener{Match: func(b []byte) int { return int(in.Match(b)) }, Open: in.Open}
}

// Every kind of stranger is claimed, and no reason for a refusal has a reply.
func TestConformance(t *testing.T) {
	relaytest.Inbound(t, opener, relaytest.Samples{
		Openings: []relaytest.Opening{
			{Name: "nothing", Target: target},
			{Name: "looks like SOCKS5", Target: target, Payload: "\x05\x01\x00\x05\x01\x00\x01"},
		},
		Denials: []relaytest.Denial{{Reason: policy.ErrDenied}, {Reason: policy.ErrRefused}, {Reason: auth.ErrQuota}, {Reason: context.Canceled}},
		Claims:  slices.Collect(maps.Keys(relaytest.Strangers)),
	})
}

// A carrier's user stays who he is.
func TestCarrierUser(t *testing.T) {
	alice := auth.User{ID: 1, Name: "alice"}
	req, err := opener().Open(t.Context(), alice, nil)
	if err != nil || req.User() != alice {
		t.Fatalf("Open: got %v, %v, want a request of alice", req, err)
	}
	if err := req.Deny(policy.ErrRefused); !errors.Is(err, relay.ErrNoReply) {
		t.Errorf("Deny: got %v, want ErrNoReply", err)
	}
}
