package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

// requestTime is how long a Trial waits for the answers to its first requests.
const requestTime = 6 * time.Second

// Trial goes to a relay one stage after the other, on a connection of its own, and says
// where that ends. It makes the connection that a Client makes, and is for one goroutine.
type Trial struct {
	c     *Client
	k     *carrier // nil: the way goes over HTTP/1.1
	meter *metered

	mu    sync.Mutex
	steps []step

	opened atomic.Bool // the last WebSocket was

	trip time.Duration // the shortest of a request and its answer
	each int64         // bytes of an answer
	rate int64

	began  time.Time // of what the rate is of
	before int64
}

// NewTrial returns a Trial; Close ends it.
func NewTrial(o ClientOptions) *Trial {
	t := &Trial{c: NewClient(o)}
	t.c.trace = func(s step) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.steps = append(t.steps, s)
	}
	return t
}

// Close ends the connection and what is on it.
func (t *Trial) Close() {
	if t.k != nil {
		_ = t.k.conn.Close()
	}
	t.c.Close()
}

// Run takes the stages until one fails. ask finds out whether the relay knows the user,
// by streams that Open begins, and reach, if it is not nil, whether a target answers.
func (t *Trial) Run(ctx context.Context, ask, reach func(ctx context.Context) error) *Fault {
	if f := t.Connect(ctx); f != nil {
		return f
	}
	if f := t.Request(ctx); f != nil {
		return f
	}
	for _, s := range []struct {
		stage Stage
		use   func(ctx context.Context) error
	}{{StageData, ask}, {StageTarget, reach}} {
		if s.use == nil {
			continue
		}
		limited, cancel := context.WithTimeoutCause(ctx, requestTime, errSilent)
		err := s.use(limited)
		cancel()
		if err != nil {
			return judge(ctx, s.stage, err, t.k == nil && t.opened.Load())
		}
	}
	return t.Volume(ctx)
}

// Connect takes the first three stages.
func (t *Trial) Connect(ctx context.Context) *Fault {
	limited, cancel := context.WithTimeoutCause(ctx, connectTime, errSilent)
	defer cancel()
	var err error
	if t.c.plain() {
		if err = t.c.readyPlain(limited); err == nil {
			t.c.mu.Lock()
			defer t.c.mu.Unlock()
			if idle := t.c.plains.idle; len(idle) > 0 {
				t.meter = idle[0].meter
				return nil
			}
			err = errClosed
		}
	} else if t.c.way.Mode == ModeWebSocket {
		err = t.c.probe(limited)
	} else if t.k, err = t.c.newCarrier(limited); err == nil {
		t.meter = t.k.meter
		return nil
	}
	if err == nil {
		t.c.mu.Lock()
		t.meter = t.c.spare.meter
		t.c.mu.Unlock()
		return nil
	}
	return t.worst(ctx, err)
}

// worst is the Fault of the stage that was got furthest. What is still under way has
// not been taken down.
func (t *Trial) worst(ctx context.Context, err error) *Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	reached := StageName
	var f *Fault
	for _, s := range t.steps {
		switch {
		case s.err == nil && s.stage == StageName:
			reached = StageConnect
		case s.err == nil:
			reached = StageHello
		case !errors.Is(s.err, context.Canceled):
			if g := newFault(ctx, s.stage, s.err); f == nil || later(g, f) {
				f = g
			}
		}
	}
	if f == nil || ctx.Err() != nil || errors.Is(err, errNotHTTP2) {
		f = newFault(ctx, reached, err)
	}
	return f
}

// causeRank orders what several addresses have died of: whatever says more than that
// there is no way to one of them.
var causeRank = map[Cause]int{CauseSilent: 4, CauseReset: 3, CauseRefused: 2, CauseForbidden: 1, CauseUnreachable: -1}

// later reports whether f says more than g.
func later(f, g *Fault) bool {
	if f.Stage != g.Stage {
		return f.Stage == StageHello // the name comes before all
	}
	return f.Stage == StageHello || causeRank[f.Cause] > causeRank[g.Cause]
}

// Request makes two small requests, where they do not need a connection of their own:
// the first is behind what opens one. What the answers say is for Open to find out.
func (t *Trial) Request(ctx context.Context) *Fault {
	if t.k == nil {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, requestTime, errSilent)
	defer cancel()
	for range 2 {
		began, before := time.Now(), t.meter.down.Load()
		if _, err := t.fetch(limited, false); err != nil {
			return newFault(ctx, StageRequest, err)
		}
		trip := time.Since(began)
		if t.trip == 0 || trip < t.trip {
			t.trip = trip
		}
		t.each = t.meter.down.Load() - before
	}
	return nil
}

// fetch makes a request that the relay answers by itself: for the site's page, or one
// that browsers make to find out what they may ask. It returns the length of the body.
func (t *Trial) fetch(ctx context.Context, page bool) (int64, error) {
	c, k := t.c, t.k
	head := c.ask(http.MethodOptions, string(c.way.Path), c.profile.HTTP2.Get, -1)
	if page {
		head = c.ask(http.MethodGet, "/", c.profile.HTTP2.Page, -1)
	}
	s, err := k.open(ctx, head, nil, true)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var n int64
	if _, _, err = s.Response(ctx); err == nil {
		n, err = io.Copy(io.Discard, io.LimitReader(s, volumeSize))
	}
	if err != nil && ctx.Err() != nil {
		return n, context.Cause(ctx)
	}
	if err != nil {
		return n, k.lost(err)
	}
	return n, nil
}

// Open begins a stream on the connection. Another WebSocket than the first one is
// another connection.
func (t *Trial) Open(ctx context.Context, first []byte) (transport.Conn, error) {
	if t.k != nil {
		return t.k.begin(ctx, first)
	}
	ready := t.c.Live()
	began := time.Now()
	conn, err := t.c.Open(ctx, first)
	t.opened.Store(err == nil && !t.c.plain())
	if ready && err == nil && t.trip == 0 {
		t.trip = time.Since(began)
	}
	return conn, err
}

// Tried is an address that a Trial has connected to.
type Tried struct {
	Addr  netip.AddrPort
	Stage Stage
	Took  time.Duration
	Err   error // nil: it worked
}

// Report is what a Trial has measured.
type Report struct {
	Name, Connect, Hello time.Duration // of the connection that was made
	Trip                 time.Duration // a request and its answer; 0: it was not measured
	Down                 int64         // bytes that came down the connection
	Rate                 int64         // bytes a second, of Volume; 0: it was not measured
	Tried                []Tried
}

// Report returns what is known so far.
func (t *Trial) Report() Report {
	r := Report{Trip: t.trip, Rate: t.rate}
	if t.meter != nil {
		r.Down = t.meter.down.Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.steps {
		if s.stage != StageName && !errors.Is(s.err, context.Canceled) {
			r.Tried = append(r.Tried, Tried{s.addr, s.stage, s.took, s.err})
		}
		switch {
		case s.err != nil:
		case s.stage == StageName && r.Name == 0:
			r.Name = s.took
		case s.stage == StageConnect && r.Connect == 0:
			r.Connect = s.took
		case s.stage == StageHello && r.Hello == 0:
			r.Hello = s.took
		}
	}
	return r
}
