package vless

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// TestAsk asks exits that know the user, and others.
func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		ends       bool
		want       error
	}{
		{"there is none", answer + end(1), false, nil},
		{"an error", answer + wrong(1), false, nil},
		{"there is one", answer + keep(1, "hello"), false, nil},
		{"ends with the stream", answer + end(1), true, nil},
		{"knows nobody", "", true, errUnanswered},
		{"a web site", "<html>", true, errAnswer},
		{"says nothing", "", false, context.DeadlineExceeded},
		{"only begins", answer, false, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			shared(t, 1, func(t *testing.T, s *sharing) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				got := make(chan error, 1)
				go func() { got <- s.d.Ask(ctx) }()
				synctest.Wait()
				if first := s.firsts[0]; !strings.HasPrefix(first, xrayMux+"\x00\x04\x00\x01\x02\x01") || len(first) < leastAsk {
					t.Errorf("got %q at the exit, want the opening of a mux and data of a session", first)
				}
				s.says(tt.said)
				if tt.ends {
					_ = s.end().CloseWrite()
				}
				err := <-got
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if lost := tt.want == errAnswer; errors.Is(err, transport.ErrCarrier) != lost {
					t.Errorf("got %v, want it to be the carrier's: %v", err, lost)
				}
			})
		})
	}
}

// TestAskOurs asks our own exit, which is to connect to nobody.
func TestAskOurs(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		far := &echoing{in: Inbound{UUID: ids}}
		x.serve = far.serve
		d := x.dialer()
		d.Mux = 1
		defer d.Close()
		if err := d.Ask(t.Context()); err != nil {
			t.Errorf("got %v, want that the exit knows the user", err)
		}
		if got := far.asked(); len(got) > 0 {
			t.Errorf("the exit was asked for %q, want for nothing", got)
		}
		x.fail = transport.ErrCarrier
		again := x.dialer()
		again.Mux = 1
		defer again.Close()
		if err := again.Ask(t.Context()); !errors.Is(err, transport.ErrCarrier) {
			t.Errorf("without a carrier: got %v, want why", err)
		}
	})
}
