package relay_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

// strangersClock is how long after accept the cover is dialled at the latest.
const strangersClock = 20 * time.Millisecond

// hellos is a disguise: a client hello in one record, which is ours if it holds
// the secret. What follows it is the stream.
type hellos struct{ user auth.User }

const helloSecret = "open sesame"

func (*hellos) Name() string { return "hellos" }

func (*hellos) Match(prefix []byte) relay.Verdict {
	switch {
	case len(prefix) > 5 && prefix[5] != 1, len(prefix) > 0 && prefix[0] != 22:
		return relay.No
	case len(prefix) < 5 || len(prefix) < 5+recordLen(prefix):
		return relay.More
	}
	return relay.Yes
}

func recordLen(b []byte) int { return int(b[3])<<8 | int(b[4]) }

func (h *hellos) Serve(ctx context.Context, raw *transport.Peeked, sink transport.Sink) error {
	b := raw.Unread()
	n := 5 + recordLen(b)
	if !bytes.Contains(b[:n], []byte(helloSecret)) {
		return transport.ErrNotOurs
	}
	raw.Discard(n)
	return sink.Stream(ctx, h.user, raw)
}

// record is a client hello of the kind that hellos knows.
func record(says string) string {
	says += string(make([]byte, max(0, 100-len(says))))
	body := string([]byte{1, 0, byte(len(says) >> 8), byte(len(says))}) + says
	return string([]byte{22, 3, 1, byte(len(body) >> 8), byte(len(body))}) + body
}

// withCover gives the relay a public port: hellos, then the cover.
func withCover(r *rig) *relay.Cover {
	cover := &relay.Cover{Target: mustTarget(coverAddr), Dialer: r.net, Early: 1024}
	r.set.Listeners[0].Route = []relay.Candidate{&relay.Carrier{Server: &hellos{}, Inside: []relay.Inbound{r.in}}}
	r.set.Listeners[0].Cover = cover
	return cover
}

// coverRig is a rig whose cover is played by the test.
func coverRig(t *testing.T, change func(*rig, *relay.Cover), f func(r *rig, cover net.Listener)) {
	t.Helper()
	inRig(t, func(r *rig) {
		c := withCover(r)
		if change != nil {
			change(r, c)
		}
	}, func(r *rig) {
		ln := r.listen(coverAddr)
		defer ln.Close()
		f(r, ln)
	})
}

func (r *rig) accept(ln net.Listener) transport.Conn {
	r.t.Helper()
	c, err := ln.Accept()
	if err != nil {
		r.t.Fatalf("accept at the cover: got %v, want nil", err)
	}
	return c.(transport.Conn)
}

func (r *rig) wantBytes(c io.Reader, want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		r.t.Errorf("bytes: got %.80q, %v, want %.80q", got[:n], err, want)
	}
}

func mustTarget(s string) transport.Target {
	to, err := transport.ParseTarget(s)
	if err != nil {
		panic(err)
	}
	return to
}
