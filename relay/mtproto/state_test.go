package mtproto

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"relay/relay/policy"
	"relay/transport"
)

// said is a state in one line, with times from a beginning.
func (s State) said(began time.Time) string {
	line := fmt.Sprintf("%d %s tried=%t up=%t", s.ID, s.Way, s.Tried, s.Up)
	if s.Tried {
		line += fmt.Sprintf(" since %v", s.Since.Sub(began))
	}
	line += fmt.Sprintf(" down %d/%d", s.Down, s.Ways)
	if s.Last != (Failure{}) {
		line += fmt.Sprintf(" %s at %v", s.Last.Why, s.Last.At.Sub(began))
	}
	return line
}

// What is known of data centres: only of those that are asked for, and not for
// ever; since when a way answers or fails, and why it last did not.
func TestStates(t *testing.T) {
	watched(t, TableOptions{WebSocket: FallbackWeb}, func(table *Table, net *world, _ func() []string) {
		began := time.Now()
		states := func(when string, want ...string) {
			t.Helper()
			var got []string
			for _, s := range table.States() {
				got = append(got, s.said(began))
			}
			equal(t, when, got, want...)
		}
		states("at first")
		table.find(77) // number 2 serves
		table.find(-4)
		states("asked for, and not tried yet",
			"2 "+one+" tried=false up=false down 0/4", "-4 149.154.167.91:443 tried=false up=false down 0/3")
		table.health.reached(2, plain(one))
		time.Sleep(time.Minute)
		table.health.reached(2, plain(one))
		if got := table.States()[0].said(began); got != "2 "+one+" tried=true up=true since 0s down 0/4" {
			t.Errorf("it answers since the first time: got %q", got)
		}

		net.set(three, policy.ErrNetUnreachable)
		table.health.failed(2, table.ways(2), plain(three), policy.ErrNetUnreachable)
		if got := table.States()[0].said(began); got != "2 "+one+" tried=true up=true since 0s down 0/3" {
			t.Errorf("no IPv6 here: got %q", got)
		}
		table.health.reached(2, plain(three))
		for _, a := range []string{one, two, three} {
			net.set(a, policy.ErrTimeout)
			table.health.failed(2, table.ways(2), plain(a), policy.ErrRefused)
		}
		if got := table.States()[0].said(began); got != "2 wss://kws2.web.telegram.org/apiws tried=false up=false down 3/4 refused at 1m0s" {
			t.Errorf("all addresses fail: got %q", got)
		}
		web := table.ways(2)[3]
		table.health.reached(2, web)
		if got := table.States()[0].said(began); got != "2 wss://kws2.web.telegram.org/apiws tried=true up=true since 1m0s down 3/4 refused at 1m0s" {
			t.Errorf("over WebSocket: got %q", got)
		}
		net.set(web.Target.String(), policy.ErrNotFound)
		time.Sleep(time.Second)
		table.health.failed(2, table.ways(2), web, policy.ErrNotFound)
		time.Sleep(5 * time.Second)
		if s := table.States()[0]; s.Up || !s.Tried || s.Down != 4 || s.Since != began.Add(time.Minute) || s.Last.Why != WhyName {
			t.Errorf("nothing is left: got %q", s.said(began))
		}
		net.set(one, nil)
		time.Sleep(downMost)
		s := table.States()[0]
		if !s.Up || s.Way != plain(one) || s.Down != 3 || s.Since.Sub(began) < time.Minute+downFirst || s.Last == (Failure{}) {
			t.Errorf("one is back: got %q", s.said(began))
		}
		time.Sleep(askedTime)
		states("nobody has asked for a day")
	})
	watched(t, TableOptions{}, func(table *Table, net *world, _ func() []string) {
		table.find(2)
		for _, a := range []string{one, two, three} {
			net.set(a, policy.ErrNetUnreachable)
		}
		time.Sleep(2 * every)
		if s := table.States()[0]; s.Up || !s.Tried || s.Ways != 3 || s.Down != 3 || s.Last.Why != WhyUnreachable {
			t.Errorf("no network at all: got %+v", s)
		}
	})
}

// Every way of failing has its word, and none is somebody else's.
func TestWhy(t *testing.T) {
	denied := &policy.DeniedError{Reason: "local name"}
	for want, errs := range map[string][]error{
		WhyRefused:     {fmt.Errorf("policy: dial: %w", policy.ErrRefused)},
		WhyTimeout:     {policy.ErrTimeout, context.DeadlineExceeded},
		WhyUnreachable: {policy.ErrNetUnreachable, policy.ErrHostUnreachable},
		WhyName:        {policy.ErrNotFound, policy.ErrResolve, denied},
		WhyOther:       {errors.New("a server's words")},
	} {
		for _, err := range errs {
			if got := why(err); got != want {
				t.Errorf("%v: got %q, want %q", err, got, want)
			}
		}
	}
	for _, tt := range []struct {
		want   string
		served bool // TLS and a server for something else, rather than what does
		does   func(*net.TCPConn)
	}{
		{WhyWebSocket, true, nil},
		{WhyCertificate, true, nil},
		{WhyTLS, false, func(c *net.TCPConn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); _ = c.Close() }},
		{WhyReset, false, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); _ = transport.Abort(c) }},
		{WhyTimeout, false, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			f := newFront(t)
			f.answer = func(string) string { return "HTTP/1.1 404 Not Found\r\n\r\n" }
			roots := f.roots
			if tt.want == WhyCertificate {
				roots = x509.NewCertPool()
			}
			go func() {
				if tt.served {
					_, _ = f.accept()
				} else if c, err := f.ln.AcceptTCP(); err == nil {
					tt.does(c)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			if tt.want == WhyTimeout {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			}
			defer cancel()
			if _, err := f.open(ctx, roots); err == nil || why(err) != tt.want {
				t.Errorf("open: got %v, which is %q, want %q", err, why(err), tt.want)
			}
		})
	}
}
