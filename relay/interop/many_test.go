package interop

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	manyConns   = 2000
	manyWorkers = 32
	perConn     = 20_000 // bytes of resident memory a mostly idle connection may cost
)

// TestManyIdle holds 2,000 connections, most of them idle, and looks at what
// they cost the relay in memory and descriptors.
func TestManyIdle(t *testing.T) {
	integration(t)
	r := anonymous(t)
	addr := listen(t, echo)
	via := r.proxy("socks5")

	// What the runtime and the pools take once is not the price of a connection.
	warm := openMany(t, r, addr, 50)
	messageEach(t, warm)
	closeAll(warm)
	pause(t, 2*time.Second) // until the relay has seen the ends
	startFDs, startRSS := r.fds(t), r.rss(t)

	conns := openMany(t, r, addr, manyConns)
	// A collector returns what the handshakes took in its own time.
	rss := func() int { return r.rss(t) }
	idle := settle(t, startRSS+manyConns*perConn-1, 10*time.Second, rss)
	fds := r.fds(t)
	messageEach(t, conns)
	used := settle(t, startRSS+manyConns*perConn-1, 10*time.Second, rss)
	closeAll(conns)
	endFDs := settle(t, startFDs, 20*time.Second, func() int { return r.fds(t) })

	t.Logf("VmRSS: %d kB before, %d kB with %d idle connections (%d bytes each), %d kB after a message on each (%d bytes each), %d kB after closing",
		startRSS/1000, idle/1000, manyConns, (idle-startRSS)/manyConns, used/1000, (used-startRSS)/manyConns, r.rss(t)/1000)
	t.Logf("descriptors: %d before, %d with the connections, %d after closing", startFDs, fds, endFDs)
	for _, c := range []struct {
		when string
		rss  int
	}{{"idle", idle}, {"after a message on each", used}} {
		if got := (c.rss - startRSS) / manyConns; got >= perConn {
			t.Errorf("resident memory per connection, %s: got %d bytes, want less than %d", c.when, got, perConn)
		}
	}
	if fds < startFDs+2*manyConns {
		t.Errorf("descriptors with the connections: got %d, want at least %d: are they not open?", fds, startFDs+2*manyConns)
	}
	if endFDs > startFDs {
		t.Errorf("descriptors after closing: got %d, want %d as before", endFDs, startFDs)
	}
	if c, err := tryVia(via, addr); err != nil {
		t.Errorf("a connection afterwards: got %v, want one that opens", err)
	} else {
		c.Close()
	}
}

// openMany opens n connections and ends the test if one of them fails.
func openMany(t *testing.T, r *relay, addr string, n int) []*net.TCPConn {
	t.Helper()
	conns := make([]*net.TCPConn, n)
	t.Cleanup(func() { closeAll(conns) })
	each(t, conns, func(i int) (err error) {
		conns[i], err = tryVia(r.proxy("socks5"), addr)
		return err
	})
	return conns
}

func messageEach(t *testing.T, conns []*net.TCPConn) {
	t.Helper()
	each(t, conns, func(i int) error {
		return roundTrip(conns[i], fmt.Sprintf("message on connection %04d", i), 20*time.Second)
	})
}

// each calls f with each index, a few at a time, and ends the test with the first
// error.
func each[T any](t *testing.T, all []T, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, manyWorkers)
	for w := range manyWorkers {
		wg.Go(func() {
			for i := w; i < len(all); i += manyWorkers {
				if err := f(i); err != nil {
					errs <- fmt.Errorf("%d of %d: %w", i, len(all), err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
}

func closeAll(conns []*net.TCPConn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

// rss is the resident memory of the relay in bytes.
func (r *relay) rss(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("/proc/%d/status: got no VmRSS, want one", r.pid())
	return 0
}

// fds is the number of descriptors the relay has open.
func (r *relay) fds(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.pid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// settle polls measure until it is at most limit or the time is over, and
// returns the last value.
func settle(t *testing.T, limit int, wait time.Duration, measure func() int) int {
	t.Helper()
	for end := time.Now().Add(wait); ; pause(t, 200*time.Millisecond) {
		if v := measure(); v <= limit || time.Now().After(end) {
			return v
		}
	}
}
