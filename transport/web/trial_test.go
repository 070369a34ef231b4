package web

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/resolve"
)

// dial connects, in tests, to what stands in the way.
type dial func(ctx context.Context, to netip.AddrPort) (transport.Conn, error)

// box is a censor, or trouble, on the way to a stand.
type box struct {
	name  string
	mode  string // empty: stream-one
	set   func(t *testing.T, o *ClientOptions)
	sink  transport.Sink // nil: echo
	stage Stage          // empty: it works
	cause Cause
}

func TestTrial(t *testing.T) {
	boxes := slices.Concat([]box{
		{name: "forged", set: saying(resolve.ErrPoisoned), stage: StageName, cause: CauseForged},
		{name: "no such name", set: saying(resolve.ErrNotFound), stage: StageName, cause: CauseNoName},
		{name: "resolver silent", set: saying(resolve.ErrTimeout), stage: StageName, cause: CauseSilent},
		{name: "resolver fails", set: saying(resolve.ErrFailed), stage: StageName, cause: CauseFailed},
		{name: "refused", set: to(nobody), stage: StageConnect, cause: CauseRefused},
		{name: "blackhole", set: to(blackhole), stage: StageConnect, cause: CauseSilent},
		{name: "no network", set: to(failing(syscall.ENETUNREACH)), stage: StageConnect, cause: CauseUnreachable},
		{name: "firewall", set: to(failing(syscall.EPERM)), stage: StageConnect, cause: CauseForbidden},
		{name: "reset after the hello", set: to(answering(abort)), stage: StageHello, cause: CauseReset},
		{name: "closed after the hello", set: to(answering(leave)), stage: StageHello, cause: CauseClosed},
		{name: "silent after the hello", set: to(answering(stay)), stage: StageHello, cause: CauseSilent},
		{name: "block page", set: to(answering(blockPage)), stage: StageHello, cause: CauseFailed},
		{name: "alert", set: toTLS(alerting, nil), stage: StageHello, cause: CauseRefused},
		{name: "HTTP/1.1", set: toTLS(http1, nil), stage: StageHello, cause: CauseNotHTTP2},
		{name: "another's pin", set: pins([32]byte{1}), stage: StageHello, cause: CauseCertificate},
		{name: "no pin", set: pins(), stage: StageHello, cause: CauseCertificate},
		{name: "another time", set: expired, stage: StageHello, cause: CauseClock},
		{name: "no path", set: toTLS(nil, status(404)), stage: StageRequest, cause: CausePath},
		{name: "CDN", set: toTLS(nil, status(522)), stage: StageRequest, cause: CauseServer},
		{name: "forbidden", set: toTLS(nil, status(403)), stage: StageRequest, cause: CauseStatus},
		resetWhenAsked("reset after the request"),
		{name: "no user", sink: joined(refuseUser), stage: StageData, cause: CauseUser},
		{name: "no answer", sink: joined(hold), stage: StageData, cause: CauseSilent},
		{name: "freeze", set: to(freezing(16 << 10)), stage: StageVolume, cause: CauseFrozen},
		{name: "reset at 16 kB", set: to(cut(16<<10, syscall.ECONNRESET)), stage: StageVolume, cause: CauseReset},
		{name: "end at 16 kB", set: to(cut(16<<10, io.EOF)), stage: StageVolume, cause: CauseClosed},
		{name: "freeze of a WebSocket", mode: ModeWebSocket, set: to(freezing(16 << 10)), stage: StageVolume, cause: CauseFrozen},
		{name: "no path of a WebSocket", mode: ModeWebSocket, set: toTLS(nil, status(404)), stage: StageRequest, cause: CausePath},
		{name: "freeze over HTTP/1.1", mode: ModePacketUp, set: overHTTP1(freezing(16 << 10)), stage: StageVolume, cause: CauseFrozen},
		{name: "no user over HTTP/1.1", mode: ModePacketUp, set: overHTTP1(DialTCP), sink: joined(refuseUser), stage: StageData, cause: CauseUser},
		{name: "works over HTTP/1.1", mode: ModePacketUp, set: overHTTP1(DialTCP)},
		{name: "slow page", set: slowPage},
	}, works())
	for _, tt := range boxes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // many wait
			tt.run(t)
		})
	}
}

// works are the modes with nothing in the way.
func works() (out []box) {
	for _, m := range clientModes {
		out = append(out, box{name: "works with " + m, mode: m})
	}
	return out
}

func (x *box) run(t *testing.T) {
	if x.sink == nil {
		x.sink = joined(echo)
	}
	if x.mode == "" {
		x.mode = ModeStreamOne
	}
	d := newDialled(t, x.mode, x.sink)
	o := ClientOptions{Way: d.way, Profile: d.profile, Names: d.names, Connect: DialTCP}
	if x.set != nil {
		x.set(t, &o)
	}
	tr := NewTrial(o)
	defer tr.Close()
	f := tr.Run(t.Context(), func(ctx context.Context) error { return askEcho(ctx, tr) }, nil)
	r := tr.Report()
	if x.stage == "" {
		if f != nil || r.Trip <= 0 || r.Down < volumeSize || r.Rate <= 0 || r.Hello <= 0 || len(r.Tried) == 0 {
			t.Errorf("got %v and %+v, want that it works, with times and a rate", f, r)
		}
		return
	}
	if f == nil || f.Stage != x.stage || f.Cause != x.cause {
		t.Fatalf("got %+v, want %s: %s", f, x.stage, x.cause)
	}
	if !slices.Contains(Causes[f.Stage], f.Cause) {
		t.Errorf("%s: %s is not in the table", f.Stage, f.Cause)
	}
	if text := f.Error(); strings.Contains(text, password) || strings.Contains(text, "127.0.0.1") || strings.Contains(text, "relay.example") {
		t.Errorf("got %q, want neither path nor address nor name in it", text)
	}
	if x.cause == CauseFrozen && !Limited(r.Down) {
		t.Errorf("frozen after %d bytes: want it taken for a limit", r.Down)
	}
}

// askEcho is what a dialer asks: with a word that comes back.
func askEcho(ctx context.Context, tr *Trial) error {
	c, err := tr.Open(ctx, []byte("ping"))
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	} else {
		return err
	}
}

// TestTrialStopped ends trials from outside, in the middle of a stage.
func TestTrialStopped(t *testing.T) {
	for _, tt := range []struct {
		name  string
		dial  dial
		stage Stage
	}{{"connect", blackhole, StageConnect}, {"hello", answering(stay), StageHello}, {"volume", freezing(16 << 10), StageVolume}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDialled(t, ModeStreamOne, joined(echo))
			o := ClientOptions{Way: d.way, Profile: d.profile, Names: d.names}
			to(tt.dial)(t, &o)
			tr := NewTrial(o)
			defer tr.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			f := tr.Run(ctx, func(ctx context.Context) error { return askEcho(ctx, tr) }, nil)
			if f == nil || f.Stage != tt.stage || f.Cause != CauseStopped {
				t.Errorf("got %+v, want %s: %s", f, tt.stage, CauseStopped)
			}
		})
	}
}

// TestTrialAddresses has a live address behind two that say less.
func TestTrialAddresses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		live  bool
		cause Cause
	}{{"one lives", true, ""}, {"none does", false, CauseRefused}} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDialled(t, ModeStreamOne, joined(echo))
			o := ClientOptions{Way: d.way, Profile: d.profile, Names: d.names}
			live := d.way.Connect[0]
			o.Way.Connect = []Place{{Host: "192.0.2.1", Port: 443}, {Host: "192.0.2.2", Port: 443}, live}
			to(func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
				switch {
				case to.Addr().String() == "192.0.2.1":
					return nil, syscall.ENETUNREACH
				case to.Addr().String() == "192.0.2.2" || !tt.live:
					return nil, syscall.ECONNREFUSED
				}
				return DialTCP(ctx, to)
			})(t, &o)
			tr := NewTrial(o)
			defer tr.Close()
			f := tr.Connect(t.Context())
			if tt.live && f != nil || !tt.live && (f == nil || f.Stage != StageConnect || f.Cause != tt.cause) {
				t.Errorf("got %+v, want %q", f, tt.cause)
			}
			want := 3
			if tt.live {
				want = 4 // and the hello
			}
			if got := tr.Report().Tried; len(got) != want {
				t.Errorf("got %+v, want %d steps", got, want)
			}
		})
	}
}
