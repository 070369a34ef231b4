package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// floodResult is what came of one flood.
type floodResult struct {
	target, kind string
	opened       int // connections of the flood that the kernel accepted
	held         int // of them at once, at most
	ended        int // by the server
	good         int // requests beside the flood
	served       int
	quiet        [2]time.Duration // p50 and p95 before the flood
	shaken       [2]time.Duration // beside it, to the end of the handshake
	busy         [2]time.Duration // beside it, of those that were served
	before       int64            // resident bytes
	peak         int64
	after        int64         // when all has settled
	cpu          time.Duration // of the server, for flood and requests
	failed       string
	span         [2]time.Duration // least and most of busy[1] in the rounds; zeros: there was one
}

// floodRequest is a user's request; shaken is how long its handshake took.
type floodRequest func(context.Context) (shaken time.Duration, err error)

// warmed is a request of which only the error matters.
func warmed(r floodRequest) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := r(ctx)
		return err
	}
}

const sampleEvery = 200 * time.Millisecond

// flood starts a target, floods it, and stops it when its memory has settled:
// then the channel is closed.
func (f *flooding) flood(ctx context.Context, t floodTarget, r *floodResult) (<-chan struct{}, error) {
	server, requests, err := f.start(ctx, t)
	if err != nil {
		return nil, err
	}
	settled := make(chan struct{})
	err = f.run(ctx, server, requests, r)
	go func() {
		defer close(settled)
		defer server.stop()
		if err != nil {
			return
		}
		if wait(ctx, f.settings.wait) == nil {
			if h, err := readHoldings(server.main.pid()); err == nil {
				r.after = h.resident
			}
		}
	}()
	return settled, err
}

// run makes requests in quiet, and then beside the flood.
func (f *flooding) run(ctx context.Context, server *flooded, request floodRequest, r *floodResult) error {
	for range 2 { // the first time warms up
		times, _, served := f.requests(ctx, request)
		if served < len(times) {
			return fmt.Errorf("in quiet: %d of %d requests were served", served, len(times))
		}
		r.quiet = [2]time.Duration{percentile(times, 50), percentile(times, 95)}
	}
	h, err := readHoldings(server.main.pid())
	if err != nil {
		return err
	}
	r.before, r.peak = h.resident, h.resident
	m := meter{proxy: server.main.pid()}
	before, err := m.read()
	if err != nil {
		return err
	}
	loads, err := f.startLoads(server.port, r.kind)
	if err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for wait(sampling, sampleEvery) == nil {
			if h, err := readHoldings(server.main.pid()); err == nil {
				r.peak = max(r.peak, h.resident)
			}
		}
	})
	times, shaken, served := f.requests(ctx, request)
	r.good, r.served = len(times), served
	r.shaken = [2]time.Duration{percentile(shaken, 50), percentile(shaken, 95)}
	r.busy = [2]time.Duration{percentile(times, 50), percentile(times, 95)}
	reports, err := loads.wait()
	stop()
	watching.Wait()
	if err != nil {
		return err
	}
	for _, l := range reports {
		r.opened, r.held, r.ended = r.opened+l.Opened, r.held+l.Held, r.ended+l.Ended
	}
	used, err := m.since(before)
	r.cpu = used.proxy
	return err
}

// requests makes good requests at even distances, whether those before have
// been answered or not. It returns how long each took that was served, and its
// handshake, and zeros for the others.
func (f *flooding) requests(ctx context.Context, request floodRequest) (times, shaken []time.Duration, served int) {
	times, shaken = make([]time.Duration, f.settings.good), make([]time.Duration, f.settings.good)
	step := f.settings.within / time.Duration(len(times))
	begin := time.Now()
	_ = inParallel(len(times), func(i int) error {
		if err := wait(ctx, time.Until(begin.Add(time.Duration(i)*step))); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, openLimit)
		defer cancel()
		start := time.Now()
		d, err := request(limited)
		if err != nil {
			return err
		}
		times[i], shaken[i] = time.Since(start), d
		return nil
	})
	for _, d := range times {
		if d > 0 {
			served++
		}
	}
	return times, shaken, served
}

// percentile is that of the times that are not zero.
func percentile(times []time.Duration, p int) time.Duration {
	sorted := slices.DeleteFunc(slices.Sorted(slices.Values(times)), func(d time.Duration) bool { return d == 0 })
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// writeFlood writes results as Markdown.
func writeFlood(w io.Writer, results []*floodResult) {
	columns := []string{"target", "flood", "opened", "held", "ended", "served", "quiet p50, ms", "p95", "beside flood handshake p50, ms", "p95", "all p50", "p95",
		"RSS before, MB", "peak", "kB/held", "after, of before", "CPU s"}
	fmt.Fprintf(w, "| %s |\n|---|---%s|\n", strings.Join(columns, " | "), strings.Repeat("|---:", len(columns)-2))
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	mb := func(n int64) float64 { return float64(n) / 1e6 }
	for _, r := range results {
		if r.failed != "" {
			fmt.Fprintf(w, "| %s | %s | failed: %s |\n", r.target, r.kind, r.failed)
			continue
		}
		perHeld, after := "-", "-"
		if r.held > 0 {
			perHeld = fmt.Sprintf("%.1f", float64(r.peak-r.before)/1000/float64(r.held))
		}
		if r.after > 0 {
			after = fmt.Sprintf("%.2f", float64(r.after)/float64(r.before))
		}
		span := ""
		if r.span[1] > 0 {
			span = fmt.Sprintf(" (%.1f-%.1f)", ms(r.span[0]), ms(r.span[1]))
		}
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %d of %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f%s | %.1f | %.1f | %s | %s | %.2f |\n",
			r.target, r.kind, r.opened, r.held, r.ended, r.served, r.good, ms(r.quiet[0]), ms(r.quiet[1]), ms(r.shaken[0]), ms(r.shaken[1]), ms(r.busy[0]), ms(r.busy[1]), span,
			mb(r.before), mb(r.peak), perHeld, after, r.cpu.Seconds())
	}
}

// folder makes one for a target; it goes with the work folder.
func (f *flooding) folder() (string, error) {
	folder, err := os.MkdirTemp(f.work, "target-")
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	return filepath.Clean(folder), err
}
