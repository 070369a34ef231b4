package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// test is one kind of load; its name is what -tests takes.
type test struct {
	name      string
	limit     time.Duration // beside the time that -t adds
	proxyOnly bool          // it says nothing about the load generator
	plainOnly bool          // of the command without a name alone
	webOnly   bool          // not of that one
	entryOnly bool          // of the command upstream alone
	starts    bool          // starts the peer itself
	run       func(r *run, ctx context.Context) (values, error)
}

// values are what a test measured, by key.
type values map[string]float64

// Keys that appear in tables.
const (
	keyCost        = "cpu"          // CPU time of the proxy: seconds per GiB, or microseconds per piece
	keyPerLoad     = "cpu_per_load" // the same as a fraction of the load generator's
	keyResident    = "rss_bytes"    // for one idle connection
	keyDescriptors = "descriptors"  // for one idle connection
	keySeconds     = "proxy_cpu_s"  // what the others are computed from
	keyPerSecond   = "per_second"   // GiB or pieces; says more about the load than about the proxy
	keyPieces      = "pieces"       // bytes, connections or round trips that were measured
	keyConnections = "at_once"      // open connections
	keyLoad        = "load_cpu_s"   // of the load generator and the sink
	keyWall        = "wall_s"       // how long it took
	keyStart       = "start_ms"     // from the start of the process to the first byte
	keyWarm        = "warm_ms"      // from the moment it listens to that
	keyMiB         = "rss_mib"      // of the process at rest
	keyCount       = "connections"  // to the exit
)

const (
	bulkConnections = 4
	bulkWarmUp      = 128 << 20 // bytes
	bulkLength      = 3         // seconds that a bulk test should take
	bulkMost        = 32 << 30  // bytes, whatever the warm-up says
	idleBeside      = 1500      // idle connections beside a bulk test
	rateAtOnce      = 16
	shortMessage    = 64 // bytes
	rrConnections   = 64
	rrMessage       = 200 // bytes
	slowConnections = 1000
	slowInterval    = 500 * time.Millisecond
	slowLeast       = 6 * time.Second
	idleWait        = 3 * time.Second
	warmUpMost      = time.Second
	webIdle         = 1000 // idle streams, of the command web
	entryIdle       = 400  // of the command upstream: a user's streams have a limit

	gib = float64(1 << 30) // bytes
)

var tests = []test{
	{name: "bulk-down", limit: time.Minute, run: bulk(wantDown, 0)},
	{name: "bulk-up", limit: time.Minute, run: bulk(wantUp, 0)},
	{name: "bulk-idle-down", limit: time.Minute, plainOnly: true, run: bulk(wantDown, idleBeside)},
	{name: "bulk-idle-up", limit: time.Minute, plainOnly: true, run: bulk(wantUp, idleBeside)},
	{name: "rate", limit: 20 * time.Second, run: (*run).rate},
	{name: "rr", limit: 20 * time.Second, run: roundTrips(rrConnections, rrMessage, 0)},
	{name: "rr-one", limit: 20 * time.Second, webOnly: true, run: roundTrips(1, shortMessage, 0)},
	{name: "rr-slow", limit: 40 * time.Second, plainOnly: true, run: roundTrips(slowConnections, rrMessage, slowInterval)},
	{name: "idle", limit: time.Minute, proxyOnly: true, run: (*run).idle},
	{name: "first", limit: time.Minute, entryOnly: true, starts: true, run: (*run).first},
	{name: "fifty", limit: 20 * time.Second, entryOnly: true, run: (*run).fifty},
}

func bulk(want byte, beside int) func(*run, context.Context) (values, error) {
	return func(r *run, ctx context.Context) (values, error) { return r.bulk(ctx, want, beside) }
}

func roundTrips(n, size int, interval time.Duration) func(*run, context.Context) (values, error) {
	return func(r *run, ctx context.Context) (values, error) { return r.roundTrips(ctx, n, size, interval) }
}

// run is one test of one peer.
type run struct {
	load   *load
	meter  meter
	length time.Duration // of rate and rr
	bytes  uint64        // of bulk; 0: as many as take bulkLength
	conns  int           // of idle
	most   int           // connections that the limit of open files leaves room for
	again  func() (*child, error)
	exit   int // port
}

// finish turns what was used for pieces into values. Costs are those of the
// proxy; without one, those of the load generator, as a row to compare with.
func (r *run) finish(before usage, start time.Time, pieces, unit float64) (values, error) {
	wall := time.Since(start).Seconds()
	used, err := r.meter.since(before)
	if err != nil {
		return nil, err
	}
	if pieces == 0 {
		return nil, errors.New("nothing came through in time")
	}
	v := values{keyPieces: pieces, keyWall: wall, keyLoad: used.load.Seconds(), keyPerSecond: pieces * unit / wall}
	subject := used.load
	if r.meter.proxy != 0 {
		subject = used.proxy
		v[keySeconds] = used.proxy.Seconds()
		if used.load > 0 {
			v[keyPerLoad] = used.proxy.Seconds() / used.load.Seconds()
		}
	}
	v[keyCost] = subject.Seconds() / (pieces * unit)
	return v, nil
}

// bulk sends streams one way, beside idle connections.
func (r *run) bulk(ctx context.Context, want byte, beside int) (values, error) {
	set, err := r.load.openSet(ctx, min(beside, r.most), shortMessage)
	if err != nil {
		return nil, err
	}
	defer set.close()
	start := time.Now()
	warmUp := uint64(bulkWarmUp)
	if r.bytes > 0 {
		warmUp = min(warmUp, r.bytes)
	}
	if err := r.load.bulk(ctx, want, bulkConnections, warmUp); err != nil {
		return nil, err
	}
	total := r.bytes
	if total == 0 {
		perSecond := float64(warmUp) / time.Since(start).Seconds()
		total = min(max(uint64(perSecond*bulkLength), bulkWarmUp), bulkMost)
	}
	total -= total % bulkConnections
	before, err := r.meter.read()
	if err != nil {
		return nil, err
	}
	start = time.Now()
	if err := r.load.bulk(ctx, want, bulkConnections, total); err != nil {
		return nil, err
	}
	v, err := r.finish(before, start, float64(total), 1/gib)
	if err == nil {
		v[keyConnections] = float64(len(set) + bulkConnections)
	}
	return v, err
}

// rate makes short connections, a fixed number at a time.
func (r *run) rate(ctx context.Context) (values, error) {
	if _, err := r.connections(ctx, r.warmUp()); err != nil {
		return nil, err
	}
	before, err := r.meter.read()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	n, err := r.connections(ctx, r.length)
	if err != nil {
		return nil, err
	}
	v, err := r.finish(before, start, float64(n), 1)
	return perPiece(v), err
}

// connections makes short connections for the given time and counts them.
func (r *run) connections(ctx context.Context, length time.Duration) (int64, error) {
	end := time.Now().Add(length)
	var n atomic.Int64
	var failed atomic.Bool
	err := inParallel(rateAtOnce, func(int) error {
		for time.Now().Before(end) && !failed.Load() {
			if err := r.load.connection(ctx, shortMessage); err != nil {
				failed.Store(true)
				return err
			}
			n.Add(1)
		}
		return nil
	})
	return n.Load(), err
}

// roundTrips sends messages on n connections: the next as soon as the last has
// come back, or after a pause of interval on average.
func (r *run) roundTrips(ctx context.Context, n, size int, interval time.Duration) (values, error) {
	set, err := r.load.openSet(ctx, min(n, r.most), size)
	if err != nil {
		return nil, err
	}
	defer set.close()
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- inParallel(len(set), func(i int) error { return set[i].repeat(interval, &stop) })
	}()
	v, err := r.countTrips(ctx, set, interval)
	stop.Store(true)
	if err != nil {
		set.close() // or they would go on until their deadline
	}
	if failed := <-ended; err == nil {
		err = failed
	}
	return v, err
}

// countTrips measures the round trips that set makes by itself.
func (r *run) countTrips(ctx context.Context, set exchanges, interval time.Duration) (values, error) {
	length := r.length
	if interval > 0 {
		length = max(length, slowLeast)
	}
	// Until every connection has had its first pause.
	if err := wait(ctx, r.warmUp()+2*interval); err != nil {
		return nil, err
	}
	before, err := r.meter.read()
	if err != nil {
		return nil, err
	}
	start, first := time.Now(), set.trips()
	if err := wait(ctx, length); err != nil {
		return nil, err
	}
	v, err := r.finish(before, start, float64(set.trips()-first), 1)
	if err != nil {
		return nil, err
	}
	v[keyConnections] = float64(len(set))
	return perPiece(v), nil
}

// repeat makes round trips until stop is set, or the connection's deadline.
func (e *exchange) repeat(interval time.Duration, stop *atomic.Bool) error {
	if interval > 0 {
		time.Sleep(rand.N(2 * interval)) // not all at the same moment
	}
	for !stop.Load() {
		if err := e.trip(); err != nil {
			return err
		}
		if interval > 0 {
			time.Sleep(interval/2 + rand.N(interval))
		}
	}
	return nil
}

// idle opens connections, leaves them alone, and looks at what they hold.
func (r *run) idle(ctx context.Context) (values, error) {
	before, err := readHoldings(r.meter.proxy)
	if err != nil {
		return nil, err
	}
	set, err := r.load.openSet(ctx, min(r.conns, r.most), shortMessage)
	if err != nil {
		return nil, err
	}
	defer set.close()
	if err := wait(ctx, idleWait); err != nil {
		return nil, err
	}
	after, err := readHoldings(r.meter.proxy)
	if err != nil {
		return nil, err
	}
	n := float64(len(set))
	return values{
		keyResident:    float64(after.resident-before.resident) / n,
		keyDescriptors: float64(after.descriptors-before.descriptors) / n,
		keyConnections: n,
	}, nil
}

func (r *run) warmUp() time.Duration { return min(r.length/4, warmUpMost) }

// perPiece turns seconds for a piece into microseconds.
func perPiece(v values) values {
	if v != nil {
		v[keyCost] *= 1e6
	}
	return v
}

// wait returns after d, or earlier with an error when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
