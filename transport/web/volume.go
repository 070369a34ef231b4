package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
)

// What a Trial lets come down, to see whether a censor stops it: it comes from the relay
// itself and its site, as a person's trial is nobody else's business.
const (
	// volumeSize is well above the limits that are known: 12 to 32 kB
	volumeSize = 128 << 10
	// volumeTime bounds it: a slow line is no limit.
	volumeTime = 12 * time.Second
	// frozenTime is how long nothing may come.
	frozenTime = 4 * time.Second
	// mostFetches is how many requests it may be, and fetchesAtOnce how many at a time.
	mostFetches, fetchesAtOnce = 400, 48
	// largePage is from which size on the site's page is worth more than an answer
	// to OPTIONS, of 600 bytes on average.
	largePage  = 2 << 10
	lookVolume = 250 * time.Millisecond
)

// Volume lets bytes come down one connection, and sees whether they stop.
func (t *Trial) Volume(ctx context.Context) *Fault {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pull := t.pull
	if t.k == nil {
		// A WebSocket carries what a target sends, and there is none.
		conn, err := t.c.connect(ctx, true)
		if err != nil {
			return newFault(ctx, StageVolume, err)
		}
		defer conn.Close()
		t.meter = conn.meter
		pull = func(ctx context.Context) error { return t.pullPlain(ctx, conn) }
	}
	t.mark()
	var watching sync.WaitGroup
	watching.Go(func() { t.watch(limited, cancel) })
	err := pull(limited)
	cause := context.Cause(limited)
	cancel(nil)
	watching.Wait()
	took, came := time.Since(t.began)-t.trip, t.meter.down.Load()-t.before
	switch {
	case cause == errEnough || cause == nil && err == nil:
		if came >= volumeSize/2 {
			t.rate = int64(float64(came) / max(took, time.Millisecond).Seconds())
		}
		return nil
	case cause != nil && ctx.Err() == nil:
		err = cause
	}
	return newFault(ctx, StageVolume, err)
}

// mark is where the measuring begins.
func (t *Trial) mark() { t.began, t.before = time.Now(), t.meter.down.Load() }

// errEnough ends what takes long, but goes on.
var errEnough = fmt.Errorf("enough")

// watch ends a download that has stopped, or takes long.
func (t *Trial) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(lookVolume)
	defer tick.Stop()
	began, asked := time.Now(), false
	last, at := t.meter.down.Load(), began
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := t.meter.down.Load()
		switch {
		case n != last:
			last, at, asked = n, time.Now(), false
		case time.Since(at) >= frozenTime:
			cancel(errFrozen)
		case time.Since(at) >= frozenTime/4 && !asked && t.k != nil:
			asked = true // a site that is slow answers this all the same
			t.c.tasks.Go(func() { _ = t.k.conn.Ping(ctx) })
		}
		if time.Since(began) >= volumeTime {
			cancel(errEnough)
		}
	}
}

// pull makes requests over HTTP/2 until enough has come.
func (t *Trial) pull(ctx context.Context) error {
	size, err := t.fetch(ctx, true)
	if err != nil {
		return err
	}
	page, each := size >= largePage, max(size, 1)
	if !page {
		each = max(t.each, 1)
		t.mark() // it may have come from far behind the relay
	}
	goal := t.meter.down.Load() + volumeSize - size
	var left atomic.Int64
	left.Store(mostFetches)
	var fetching sync.WaitGroup
	errs := make(chan error, fetchesAtOnce)
	for range min(fetchesAtOnce, (volumeSize-size+each-1)/each) {
		fetching.Go(func() {
			for left.Add(-1) >= 0 && t.meter.down.Load() < goal {
				if _, err := t.fetch(ctx, page); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	fetching.Wait()
	select {
	case err = <-errs:
	default:
	}
	return err
}

// pullPlain makes requests over HTTP/1.1, of which the next does not wait for the
// answer to the last (RFC 9112, Section 9.3.2).
func (t *Trial) pullPlain(ctx context.Context, conn *connected) error {
	c := t.c
	stop := context.AfterFunc(ctx, func() { _ = transport.Abort(conn) })
	defer stop()
	var b strings.Builder
	fmt.Fprintf(&b, "OPTIONS %s HTTP/1.1\r\nHost: %s\r\n", string(c.way.Path), c.way.Authority)
	for _, f := range c.ask(http.MethodOptions, string(c.way.Path), c.profile.HTTP2.Get, -1).Fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	ahead := make(chan struct{}, fetchesAtOnce)
	var writing sync.WaitGroup
	defer writing.Wait()
	done, over := context.WithCancel(ctx)
	defer over()
	writing.Go(func() {
		for range mostFetches {
			select {
			case ahead <- struct{}{}:
			case <-done.Done():
				return
			}
			if _, err := io.WriteString(conn, b.String()); err != nil {
				return // whoever reads hears of it
			}
		}
	})
	in := bufio.NewReaderSize(io.LimitReader(conn, 2*volumeSize), mostHead)
	asked := &http.Request{Method: http.MethodOptions}
	for n := 0; n < mostFetches && t.meter.down.Load() < volumeSize; n++ {
		answer, err := http.ReadResponse(in, asked)
		if err != nil && n > 0 && t.meter.down.Load() < leastFrozen && ctx.Err() == nil {
			return nil // some servers answer once, and censors let more through
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, volumeSize))
		_ = answer.Body.Close()
		if err != nil {
			return err
		}
		if answer.Close {
			return nil // it does not want more, and says so
		}
		<-ahead
	}
	return nil
}

// Limited reports whether a connection that froze after so many bytes met a limit that
// a Client copes with.
func Limited(down int64) bool { return down >= leastFrozen && down <= mostFrozen }
