package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"relay/relay/probe"
	"relay/transport"
)

// probeFlags are the flags of doctor that probe a server.
type probeFlags struct {
	Probe     string         `help:"Probe this server as a stranger would, and compare it with --reference." placeholder:"HOST:PORT"`
	Reference string         `help:"A server with the same certificate and content and no relay before it." placeholder:"HOST:PORT"`
	Name      string         `help:"With --probe: the server name to ask for." placeholder:"SERVERNAME"`
	Runs      *int           `help:"With --probe: how often to run each probe (default: 5)." placeholder:"N"`
	Quick     bool           `help:"With --probe: leave out the probes that wait until the server ends the connection."`
	Recorded  string         `help:"With --probe: a file with a ClientHello that a user has sent, to be replayed." placeholder:"FILE"`
	Only      string         `help:"With --probe: run only the probes whose name or family contains this." placeholder:"WORD"`
	Deadline  *time.Duration `help:"With --probe: how long to wait for the server to end the connection (default: 80s; Caddy keeps idle ones for 5m)." placeholder:"DURATION"`
	List      bool           `help:"List the probes and send nothing."`
	jsonFlag
}

const probeHelp = `

With --probe it sends to a relay, and to a web server beside it, what a censor
would send, and reports every difference in what comes back, in how connections
end and in time. The exit code is 1 if any probe differs. Everything takes
about three minutes, and about a minute with --quick. It opens some
thousands of connections and sends broken requests: probe only what you run.

  relay doctor --probe 203.0.113.5:443 --reference 127.0.0.1:8443 --name www.example.org
  relay doctor --list`

// asked says whether this is about probes at all.
func (f *probeFlags) asked() (bool, error) {
	switch {
	case f.List:
		return true, nil
	case f.Probe != "" && f.Reference == "":
		return false, usagef("--probe needs --reference: a server to compare with")
	case f.Probe == "" && (*f != probeFlags{}):
		return false, usagef("--reference, --name, --runs, --quick, --recorded, --only, --deadline and --json go with --probe")
	}
	return f.Probe != "", nil
}

func (f *probeFlags) choose(p probe.Probe) bool {
	return (!p.Slow || !f.Quick) && (strings.Contains(p.Name, f.Only) || strings.Contains(p.Family, f.Only))
}

// run lists the probes or sends them.
func (f *probeFlags) run(s streams) error {
	if f.List {
		return f.list(s)
	}
	o := probe.Options{Target: f.Probe, Reference: f.Reference, Name: f.Name, Quick: f.Quick, Choose: f.choose}
	if _, err := transport.NameTarget(f.Name, 443); f.Name != "" && err != nil {
		return usagef("--name %q is no server name", f.Name)
	}
	if f.Runs != nil {
		if o.Runs = *f.Runs; o.Runs < 1 {
			return usagef("--runs %d: want 1 or more", o.Runs)
		}
	}
	if f.Deadline != nil {
		if o.Deadline = *f.Deadline; o.Deadline < time.Second {
			return usagef("--deadline %v: want 1s or more", o.Deadline)
		}
	}
	if err := o.Check(); err != nil {
		return usageError{err}
	}
	if f.Recorded != "" {
		var err error
		if o.Recorded, err = readRecorded(f.Recorded); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if isTerminal(s.err) {
		var p progress
		o.Progress = func(done, total int) { p.show(s, done, total) }
	}
	r, err := probe.Run(ctx, o)
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case err != nil:
		return err
	case r.Probes == 0:
		return usagef("--only %q: no probe has this in its name or family, or it needs --recorded; see --list", f.Only)
	}
	if f.JSON {
		enc := json.NewEncoder(s.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		r.Write(s.out)
	}
	if r.Differing > 0 {
		return fmt.Errorf("probes that differ: %d", r.Differing)
	}
	return nil
}

// readRecorded reads one record: what follows it would be the user's own bytes.
func readRecorded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const header, handshake = 5, 22
	b, err := io.ReadAll(io.LimitReader(f, header+1<<16))
	if err != nil {
		return nil, err
	}
	if len(b) < header || b[0] != handshake || len(b) != header+int(b[3])<<8+int(b[4]) {
		return nil, fmt.Errorf("%s: want one TLS record that holds a ClientHello, as it was sent", name)
	}
	return b, nil
}

func (f *probeFlags) list(s streams) error {
	var all []probe.Probe
	for _, p := range probe.Probes() {
		if f.choose(p) {
			all = append(all, p)
		}
	}
	if f.JSON {
		return json.NewEncoder(s.out).Encode(all)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Family, p.Name, p.Sends)
	}
	return w.Flush()
}

// progress is a line that is written over.
type progress struct {
	mu   sync.Mutex
	last time.Time
}

func (p *progress) show(s streams, done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); done == total || now.Sub(p.last) > 200*time.Millisecond {
		p.last = now
		fmt.Fprintf(s.err, "\r%d of %d runs\x1b[K", done, total)
	}
	if done == total {
		fmt.Fprint(s.err, "\r\x1b[K")
	}
}
