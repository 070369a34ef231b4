package relay_test

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// Whatever the pace at which bytes come, the same inbound gets them.
func TestRoute(t *testing.T) {
	for _, tt := range []struct {
		order []string
		say   string
		want  string // the inbound; "" for a stranger
	}{
		{[]string{"alpha", "alpine"}, "alpine", "alpine"},
		{[]string{"alpha", "alpine"}, "alpha", "alpha"},
		{[]string{"al", "alpine"}, "alpine", "al"},
		{[]string{"alpine", "al"}, "alpine", "alpine"}, // More holds back those behind
		{[]string{"alpine", "al"}, "alps", "al"},
		{[]string{"x", "y", "z"}, "z", "z"},
		{[]string{"x", "y"}, "z", ""},
		{[]string{"alpha"}, "alpx", ""},
		{nil, "", ""}, // nobody ever could: it ends before a byte
	} {
		for _, oneByOne := range []bool{false, true} {
			inRig(t, func(r *rig) {
				r.set.Listeners[0].Route = nil
				for _, w := range tt.order {
					r.set.Listeners[0].Route = append(r.set.Listeners[0].Route, &inbound{word: w})
				}
			}, func(r *rig) {
				c := r.dial()
				defer c.Close()
				if tt.want == "" {
					_, _ = io.WriteString(c, tt.say)
					r.wantEnd(c, io.EOF)
					r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1})
					return
				}
				line := tt.say + " - " + targetAddr + "\n"
				for oneByOne && len(line) > 1 {
					_, _ = io.WriteString(c, line[:1])
					line = line[1:]
					synctest.Wait()
				}
				r.say(c, line, "ok\n")
				_ = c.Close()
				synctest.Wait()
				r.shutdown(0)
				if log := r.log.String(); !strings.Contains(log, "inbound="+tt.want+" ") {
					t.Errorf("%v given %q: got the log %s, want inbound %s", tt.order, tt.say, log, tt.want)
				}
			})
		}
	}
}

// eager claims every connection before its first byte and takes it to one
// target. Its protocol has no reply.
type eager struct{ to string }

func (*eager) Name() string               { return "eager" }
func (*eager) Match([]byte) relay.Verdict { return relay.Yes }

func (e *eager) Open(_ context.Context, _ auth.User, c *transport.Peeked) (transport.Request, error) {
	to, err := transport.ParseTarget(e.to)
	return &mute{request{c: c, to: to}}, err
}

// mute is a request whose client is told nothing.
type mute struct{ request }

func (m *mute) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	return m.c, far, nil
}

func (*mute) Deny(error) error { return relay.ErrNoReply }

// An inbound that claims connections before their first byte has them at once;
// those in front of it come first, and wait for as many bytes as they need.
func TestRouteBeforeTheFirstByte(t *testing.T) {
	const greeting = "220 the target speaks first\r\n"
	for name, tt := range map[string]struct {
		ahead []relay.Candidate
		say   string // before anything can come back
	}{
		"alone":         {nil, ""},
		"behind more":   {[]relay.Candidate{&inbound{word: "go"}}, "x"},
		"behind a word": {[]relay.Candidate{&inbound{word: "xylophone"}, &inbound{word: "go"}}, "xylox"},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, func(r *rig) {
				r.set.Listeners[0].Route = append(tt.ahead, &eager{to: targetAddr}, &inbound{word: "never"})
			}, func(r *rig) {
				c := r.dial()
				defer c.Close()
				_, _ = io.WriteString(c, tt.say[:max(len(tt.say)-1, 0)])
				synctest.Wait()
				if got := r.srv.Snapshot().Flows; tt.say != "" && got != 0 {
					t.Errorf("flows before the verdict: got %d, want 0", got)
				}
				_, _ = io.WriteString(c, tt.say[max(len(tt.say)-1, 0):])
				s, err := r.target.Accept()
				if err != nil {
					t.Fatalf("accept at the target: got %v, want nil", err)
				}
				defer s.Close()
				_, _ = io.WriteString(s, greeting)
				r.say(c, "", greeting)
				got := make([]byte, len(tt.say))
				if n, err := io.ReadFull(s, got); err != nil || string(got) != tt.say {
					t.Errorf("at the target: got %q, %v, want %q", got[:n], err, tt.say)
				}
			})
		})
	}
}

// A stranger is told nothing, whatever it does.
func TestStranger(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(c transport.Conn)
		want transport.Status
		end  error
	}{
		"garbage":      {func(c transport.Conn) { _, _ = io.WriteString(c, "\x16\x03\x01garbage") }, transport.NotOurs, io.EOF},
		"nothing":      {func(c transport.Conn) { _ = c.CloseWrite() }, transport.ClientGone, io.EOF},
		"half a word":  {func(c transport.Conn) { _, _ = io.WriteString(c, "g"); _ = c.CloseWrite() }, transport.ClientGone, io.EOF},
		"half a line":  {func(c transport.Conn) { _, _ = io.WriteString(c, "go -"); _ = c.CloseWrite() }, transport.ClientGone, io.EOF},
		"silence":      {func(transport.Conn) {}, transport.Timeout, io.EOF},
		"slow silence": {func(c transport.Conn) { _, _ = io.WriteString(c, "g") }, transport.Timeout, io.EOF},
		"reset":        {func(c transport.Conn) { _ = transport.Abort(c) }, transport.ClientGone, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, nil, func(r *rig) {
				c := r.dial()
				began := time.Now()
				tt.do(c)
				if name != "reset" {
					r.wantEnd(c, tt.end)
				}
				took := time.Since(began)
				if tt.want == transport.Timeout && took != r.set.Limits.Handshake || tt.want != transport.Timeout && took != 0 {
					t.Errorf("closed after %v, want %v for a time-out and at once otherwise", took, r.set.Limits.Handshake)
				}
				r.wantEnds(map[transport.Status]int64{tt.want: 1})
				_ = c.Close()
			})
		})
	}
}

// The handshake deadline is for the whole opening: a byte now and then does not
// put it off.
func TestHandshakeDeadline(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		c := r.dial()
		began := time.Now()
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				if _, err := io.WriteString(c, "g"); err != nil {
					return
				}
				_, _ = io.WriteString(c, "o ")
				time.Sleep(time.Second)
			}
		})
		_, _ = io.ReadAll(c)
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("slow opening ended after %v, want 10 s", got)
		}
		_ = c.Close()
		writer.Wait()
		r.wantEnds(map[transport.Status]int64{transport.Timeout: 1})
	})
}

// A verdict of More that never ends is bounded.
func TestEndlessMore(t *testing.T) {
	inRig(t, func(r *rig) {
		r.set.Listeners[0].Route = []relay.Candidate{&inbound{word: strings.Repeat("a", 1<<20)}}
	}, func(r *rig) {
		c := r.dial()
		go func() { _, _ = io.WriteString(c, strings.Repeat("a", 1<<19)) }()
		_, _ = io.ReadAll(c)
		r.wantEnds(map[transport.Status]int64{transport.NotOurs: 1})
		_ = c.Close()
	})
}
