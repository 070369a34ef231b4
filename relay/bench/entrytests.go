package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	firstStarts  = 5 // fresh processes of the test first
	firstEach    = time.Millisecond
	fiftyStreams = 50
)

// first starts fresh processes: how long each takes to the first byte of an answer, and
// from its port's first connection, and what it holds when it has rested.
func (r *run) first(ctx context.Context) (values, error) {
	var start, warm, resident []float64
	for range firstStarts {
		began := time.Now()
		c, err := r.again()
		if err != nil {
			return nil, err
		}
		err = func() error {
			defer c.stop()
			if err := waitListener(r.load.proxy.Port); err != nil {
				return fmt.Errorf("%w; its output: %s", err, c.lastOutput())
			}
			listens := time.Now()
			e, err := r.load.open(ctx, wantExchange, shortMessage)
			if err != nil {
				return fmt.Errorf("%w; its output: %s", err, c.lastOutput())
			}
			defer e.conn.Close()
			start = append(start, time.Since(began).Seconds()*1e3)
			warm = append(warm, time.Since(listens).Seconds()*1e3)
			if err := wait(ctx, idleWait); err != nil {
				return err
			}
			h, err := readHoldings(c.pid())
			resident = append(resident, float64(h.resident)/(1<<20))
			return err
		}()
		if err != nil {
			return nil, err
		}
	}
	return values{keyStart: median(start), keyWarm: median(warm), keyMiB: median(resident), keyPieces: firstStarts}, nil
}

// fifty has streams open at the same time and counts the connections for them.
func (r *run) fifty(ctx context.Context) (values, error) {
	set, err := r.load.openSet(ctx, fiftyStreams, shortMessage)
	if err != nil {
		return nil, err
	}
	defer set.close()
	n, err := established(r.exit)
	if err != nil {
		return nil, err
	}
	return values{keyConnections: fiftyStreams, keyCount: float64(n)}, nil
}

// established counts the connections to a port of this machine (proc_net_tcp(5)).
func established(port int) (n int, err error) {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n += countTo(b, port)
	}
	return n, nil
}

// countTo counts the lines whose remote port is that one, in the state ESTABLISHED.
func countTo(table []byte, port int) (n int) {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) > 3 && f[3] == "01" && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) {
			n++
		}
	}
	return n
}
