package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	firstPort = 11080 // peers listen here and above, below every range of local ports
	lastPort  = 19999
	// Descriptors on one connection of the hungriest proxy: two sockets, and a
	// pipe each way.
	descriptorsEach = 6
	// Descriptors that a program needs for itself.
	descriptorsKept = 200
	// With less CPU time than this, the 10 ms steps of /proc are too coarse.
	leastCPU = 0.3
)

// result is one measurement; -json writes each as a line.
type result struct {
	Round  int    `json:"round"`
	Peer   string `json:"peer"`
	Test   string `json:"test"`
	Values values `json:"values,omitempty"`
	Failed string `json:"failed,omitempty"` // the reason
}

// suite measures peers one after the other, in rounds.
type suite struct {
	settings settings
	work     string // a folder that is removed afterwards
	limit    int    // of open files
	sink     *child
	at       ports
	progress io.Writer // for people
	raw      io.Writer // for programs; may be nil
}

// ready is a peer that can be measured.
type ready struct {
	peer
	path string // of its program
}

// choose returns the peers that are wanted and there, and says why others are not.
func (s *suite) choose() []ready {
	var found []ready
	var missing []string
	for _, p := range peers {
		if !slices.Contains(s.settings.only, p.name) {
			continue
		}
		if p.protocol == protocolDirect {
			found = append(found, ready{peer: p})
			continue
		}
		path, err := p.find(s.work)
		if err == nil {
			err = s.tryStart(p, path)
		}
		switch {
		case err == nil:
			found = append(found, ready{p, path})
			continue
		case p.packages != "":
			missing = append(missing, strings.Fields(p.packages)...)
		}
		fmt.Fprintf(s.progress, "bench: without %s: %v\n", p.name, err)
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		fmt.Fprintf(s.progress, "bench: to have them all on Debian, as root: apt-get update && apt-get install --yes --no-install-recommends %s\n",
			strings.Join(slices.Compact(missing), " "))
	}
	return found
}

// tryStart reports why the peer cannot be measured here, if that is so.
func (s *suite) tryStart(p peer, path string) error {
	folder, err := s.folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	_, err = p.start(s.place(path, folder, firstPort))
	if u, ok := errors.AsType[unfit](err); ok {
		return u
	}
	return nil // anything else shows as a failed test
}

func (s *suite) place(program, folder string, port int) place {
	return place{program: program, folder: folder, port: port, ports: s.at,
		descriptors: s.limit, root: os.Getuid() == 0 && s.settings.as == nil}
}

// folder makes a folder for one run of a peer.
func (s *suite) folder() (string, error) {
	folder, err := os.MkdirTemp(s.work, "peer-")
	if err == nil && s.settings.as != nil {
		err = os.Chown(folder, int(s.settings.as.uid), int(s.settings.as.gid))
	}
	return folder, err
}

// rounds measures everything and returns what there is when ctx ends.
func (s *suite) rounds(ctx context.Context, chosen []ready) []result {
	var results []result
	for round := 1; round <= s.settings.rounds; round++ {
		for _, p := range chosen {
			for _, t := range tests {
				if !slices.Contains(s.settings.tests, t.name) || t.proxyOnly && p.protocol == protocolDirect {
					continue
				}
				v, err := s.measure(ctx, p, t)
				if ctx.Err() != nil {
					return results // the end of the program is the reason, not the peer
				}
				r := result{Round: round, Peer: p.name, Test: t.name, Values: v}
				if err != nil {
					r.Failed = err.Error()
				}
				s.report(r)
				results = append(results, r)
			}
		}
	}
	return results
}

// report writes a result for people and for programs.
func (s *suite) report(r result) {
	line := fmt.Sprintf("round %d/%d  %-14s  %-14s ", r.Round, s.settings.rounds, r.Peer, r.Test)
	if r.Failed != "" {
		line += " failed: " + r.Failed
	}
	for _, key := range slices.Sorted(maps.Keys(r.Values)) {
		line += fmt.Sprintf(" %s=%.5g", key, r.Values[key])
	}
	if used, ok := r.Values[keySeconds]; ok && used < leastCPU {
		line += fmt.Sprintf(" (coarse: less than %.1f CPU s; use a longer -t or more -bytes)", leastCPU)
	}
	fmt.Fprintln(s.progress, line)
	if s.raw != nil {
		b, err := json.Marshal(r)
		if err == nil {
			_, err = s.raw.Write(append(b, '\n'))
		}
		if err != nil {
			fmt.Fprintf(s.progress, "bench: write the raw results: %v\n", err)
		}
	}
}

// measure starts the peer, runs one test, and stops the peer. A fresh process
// for each test keeps what one test leaves behind out of the next.
func (s *suite) measure(ctx context.Context, p ready, t test) (values, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit+2*s.settings.length)
	defer cancel()
	r := &run{
		load:   &load{protocol: p.protocol},
		meter:  meter{sink: s.sink.pid()},
		length: s.settings.length,
		bytes:  s.settings.bytes,
		conns:  s.settings.idle,
		most:   max((s.limit-descriptorsKept)/descriptorsEach, 16),
	}
	for i := range sinkAddresses {
		r.load.sinks = append(r.load.sinks, &net.TCPAddr{IP: sinkIP(i), Port: s.at.sink})
	}
	if p.protocol == protocolDirect {
		return t.run(r, ctx)
	}
	folder, err := s.folder()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	at := s.place(p.path, folder, port)
	if isEntry(p.protocol) {
		exit, err := s.startExit(p.protocol, &at)
		if err != nil {
			return nil, err
		}
		defer exit.stop()
		r.exit = at.exit
	}
	arguments, err := p.start(at)
	if err == nil {
		err = r.load.through(p.protocol, at)
	}
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", p.name, err)
	}
	defer r.load.close()
	r.again = func() (*child, error) { return startChild(arguments, filepath.Join(folder, "output"), s.settings.as) }
	if t.starts {
		return t.run(r, ctx)
	}
	return r.beside(ctx, p.name, t)
}

// beside runs a test with the peer.
func (r *run) beside(ctx context.Context, name string, t test) (values, error) {
	c, err := r.again()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer c.stop()
	r.meter.proxy = c.pid()
	if err := c.waitReady(ctx, r.load); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v, err := t.run(r, ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; its output: %s", name, err, c.lastOutput())
	}
	return v, nil
}

// freePort returns a port that nobody listens on.
func freePort() (int, error) {
	for port := firstPort; port <= lastPort; port++ {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port for a peer on 127.0.0.1 between %d and %d", firstPort, lastPort)
}

// machine describes where the figures come from.
func machine() string {
	model := "unknown CPU"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	congestion, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	return fmt.Sprintf("%s, Linux %s, TCP %s", model, strings.TrimSpace(string(kernel)), strings.TrimSpace(string(congestion)))
}
