package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to compare and how. Target and Reference are required.
type Options struct {
	Target    string // host:port under test
	Reference string // host:port of a server with the same certificate and content
	// Name is the server name that good hellos ask for, and the host of good
	// requests. Without one, hellos have no server name.
	Name string
	// Runs is how often each probe is run against each of the two; 0 is 5.
	Runs int
	// Quick leaves out the probes that wait for the server to end the connection.
	Quick bool
	// Deadline ends a slow probe whose connection is still open; 0 is 80 s, as
	// web servers keep idle connections for up to 75 s.
	Deadline time.Duration
	// Settle is how long a quick probe waits for more after the last byte; 0 is
	// 600 ms, or 400 ms with Quick.
	Settle time.Duration
	// Parallel is how many quick probes are run at the same time; 0 is 24. More
	// are faster, and blur the times.
	Parallel int
	// Recorded is a ClientHello that a user of the target has sent, for the probes
	// that replay one; they are left out without.
	Recorded []byte
	// Choose leaves out the probes that it says no to; nil takes all.
	Choose func(Probe) bool
	// Progress is told how many of how many runs are done. It may be called
	// from several goroutines; nil is none.
	Progress func(done, total int)
}

const (
	slowParallel = 1024                  // slow probes, which cost a socket and a goroutine
	slowStagger  = 10 * time.Millisecond // between their starts
)

func (o Options) withDefaults() Options {
	if o.Runs == 0 {
		o.Runs = 5
	}
	if o.Deadline == 0 {
		o.Deadline = 80 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 600 * time.Millisecond
		if o.Quick {
			o.Settle = 400 * time.Millisecond
		}
	}
	if o.Parallel == 0 {
		o.Parallel = 24
	}
	return o
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	for _, a := range []string{o.Target, o.Reference} {
		host, port, err := net.SplitHostPort(a)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
			return fmt.Errorf("probe: %q is no HOST:PORT", a)
		}
	}
	if o.Runs < 0 || o.Parallel < 0 || o.Deadline < 0 || o.Settle < 0 {
		return errors.New("probe: runs and times cannot be negative")
	}
	return nil
}

// battery is one call of Run.
type battery struct {
	Options
	settings
	slack int
	done  atomic.Int64
	total atomic.Int64
}

// trial is a probe and what its runs showed.
type trial struct {
	Probe
	mu        sync.Mutex
	reference side
	relay     side
}

// Run runs the battery and compares. It is an error if one of the two servers
// cannot be reached at all, not if they differ.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	began := time.Now()
	b := &battery{Options: o.withDefaults()}
	b.settings = settings{name: b.Name, host: b.Name, recorded: b.Recorded, settle: b.Settle, deadline: b.Deadline}
	if b.host == "" {
		b.host, _, _ = net.SplitHostPort(b.Reference)
	}
	if err := b.look(ctx); err != nil {
		return nil, err
	}
	var trials []*trial
	for _, p := range Probes() {
		if p.Slow && b.Quick || p.replays && len(b.Recorded) == 0 || b.Choose != nil && !b.Choose(p) {
			continue
		}
		trials = append(trials, &trial{Probe: p})
	}
	b.round(ctx, trials, b.Options.Parallel)
	// What is not clear at once is looked at again, with little else going on.
	b.round(ctx, unclear(trials), max(1, b.Parallel/3))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &Report{Target: b.Target, Reference: b.Reference, Name: b.Name, Runs: b.Options.Runs, Note: b.note()}
	for _, t := range trials {
		r.add(t)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// unclear are the trials that need a second look. Of servers that differ all
// over, those that differed in every run need none, however few the runs.
func unclear(trials []*trial) []*trial {
	var chance, few []*trial
	for _, t := range trials {
		switch t.doubt() {
		case doubtChance:
			chance = append(chance, t)
		case doubtFew:
			few = append(few, t)
		}
	}
	if len(few) > max(20, len(trials)/4) {
		return chance
	}
	return append(chance, few...)
}

func (b *battery) note() string {
	switch {
	case b.blind:
		return "the reference completes no handshake of TLS 1.3 or 1.2 with AES-GCM: no request was sent inside TLS"
	case b.only12:
		return "the reference completes no handshake of TLS 1.3 with AES: requests were sent over TLS 1.2"
	}
	return ""
}

// look makes sure that both servers are there, and learns what the reference's
// key means for the lengths of its signatures.
func (b *battery) look(ctx context.Context) error {
	for _, a := range []string{b.Target, b.Reference} {
		d := net.Dialer{Timeout: connectFor}
		c, err := d.DialContext(ctx, "tcp", a)
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		c.Close()
	}
	for _, only12 := range []bool{false, true} {
		b.only12 = only12
		cert, err := b.certificate(ctx)
		if err == nil {
			if cert.PublicKeyAlgorithm == x509.ECDSA {
				b.slack = slackECDSA
			}
			return nil
		}
	}
	b.blind = true
	return nil
}

// certificate completes a handshake with the reference.
func (b *battery) certificate(ctx context.Context) (*x509.Certificate, error) {
	c := open(ctx, b.Reference, b.settings, Probe{})
	if c.tcp == nil || !c.secure("http/1.1") {
		c.close()
		return nil, errNoSession
	}
	c.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	return x509.ParseCertificate(c.tls.leaf())
}

// round runs each trial Runs times against both servers.
func (b *battery) round(ctx context.Context, trials []*trial, parallel int) {
	b.total.Add(int64(len(trials) * b.Options.Runs))
	slow := make(chan struct{}, slowParallel/2)
	quick := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, t := range trials {
		if !t.Slow {
			quick <- struct{}{}
			wg.Go(func() {
				defer func() { <-quick }()
				for i := range b.Options.Runs {
					b.pair(ctx, t, i)
				}
			})
			continue
		}
		for i := range b.Options.Runs {
			slow <- struct{}{}
			wg.Go(func() {
				defer func() { <-slow }()
				b.pair(ctx, t, i)
			})
			// Not all at once: their first answers are timed too.
			time.Sleep(slowStagger)
		}
	}
}

// pair runs a probe once against each server, by turns first: a quick one after
// the other, a slow one together, as they would take too long.
func (b *battery) pair(ctx context.Context, t *trial, i int) {
	defer func() {
		n := b.done.Add(1)
		if b.Progress != nil {
			b.Progress(int(n), int(b.total.Load()))
		}
	}()
	if ctx.Err() != nil {
		return
	}
	runs := []func(){
		func() { t.note(&t.reference, b.run(ctx, t.Probe, b.Reference)) },
		func() { t.note(&t.relay, b.run(ctx, t.Probe, b.Target)) },
	}
	if i%2 == 1 {
		runs[0], runs[1] = runs[1], runs[0]
	}
	if !t.Slow {
		runs[0]()
		runs[1]()
		return
	}
	var wg sync.WaitGroup
	wg.Go(runs[0])
	wg.Go(runs[1])
	wg.Wait()
}

func (t *trial) note(s *side, tr trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*s = append(*s, tr)
}

// run is one probe against one server.
func (b *battery) run(ctx context.Context, p Probe, address string) trace {
	c := open(ctx, address, b.settings, p)
	if c.tcp != nil {
		p.run(c)
	}
	c.observe(p.Slow)
	return traceOf(c, b.slack)
}
