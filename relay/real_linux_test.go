package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// real starts a relay on a socket of 127.0.0.1.
func real(t *testing.T, limits relay.Limits, d transport.Dialer) (srv *relay.Server, addr string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatalf("open the store: got %v, want nil", err)
	}
	users := auth.NewUsers(store, log)
	srv = relay.New(relay.Options{Log: log, Users: users, Splice: splice.New(0)})
	limits.Backlog = 4096
	err = srv.Apply(relay.Settings{
		Listeners: []relay.Listener{{Address: "127.0.0.1:0", Route: []relay.Candidate{&inbound{word: "go"}}}},
		Dialer:    d, Limits: limits,
	})
	if err != nil {
		t.Fatalf("Apply: got %v, want nil", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
		_ = users.Close()
		_ = store.Close()
	})
	return srv, srv.Addrs()[0].String()
}

// dialReal connects from source. A reset that is quicker than the dialer is
// the dialer's error.
func dialReal(source, addr string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func mustDial(t *testing.T, source, addr string) *net.TCPConn {
	t.Helper()
	c, err := dialReal(source, addr)
	if err != nil {
		t.Fatalf("dial the relay: got %v, want nil", err)
	}
	return c
}

// Connections that say nothing cost a goroutine and a descriptor while they
// last, and nothing afterwards. (50 sources with 80 each: the files that a test
// may open set the number, both ends are in this process.)
func TestSilentConnections(t *testing.T) {
	const sources, each, most = 50, 80, 8 << 10
	relaytest.LeakCheck(t)
	srv, addr := real(t, relay.Limits{Handshake: time.Minute, PerSource: each}, nil)
	// Twice: the first time, the runtime learns how many goroutines there can be.
	var after [2]int64
	for i := range after {
		silentConnections(t, srv, addr, sources, each, most)
		after[i] = inUse()
	}
	grown := after[1] - after[0]
	t.Logf("second time: %d bytes more are left than after the first", grown)
	if grown > 1<<20 && !raceEnabled {
		t.Errorf("memory left: got %d bytes more than after the first time, want none", grown)
	}
}

func silentConnections(t *testing.T, srv *relay.Server, addr string, sources, each int, most int64) {
	t.Helper()
	start, before := srv.Snapshot().Ends, inUse()
	var all []net.Conn
	for i := range sources {
		for range each {
			all = append(all, mustDial(t, fmt.Sprintf("127.0.0.%d", i+1), addr))
		}
	}
	until(t, "all connections to be accepted", func() bool { return srv.Snapshot().Live == sources*each })
	held := (inUse() - before) / int64(len(all))
	t.Logf("silent connection: %d bytes of heap and stacks, both ends", held)
	if held >= most && !raceEnabled {
		t.Errorf("memory per silent connection: got %d bytes, want less than %d", held, most)
	}
	for i := range sources { // one more of each is refused
		c, err := dialReal(fmt.Sprintf("127.0.0.%d", i+1), addr)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection over the limit: got %v, want ECONNRESET", err)
		}
	}
	for _, c := range all {
		_ = c.Close()
	}
	until(t, "all connections to end", func() bool { return srv.Snapshot().Live == 0 })
	ends := srv.Snapshot().Ends
	gone, refused := ends[transport.ClientGone]-start[transport.ClientGone], ends[transport.OverLimit]-start[transport.OverLimit]
	if gone != int64(sources*each) || refused != int64(sources) {
		t.Errorf("ends: got %d client_gone and %d over_limit, want %d and %d", gone, refused, sources*each, sources)
	}
}

// A source that connects and closes as fast as it can is counted, refused
// beyond its limit, and forgotten.
func TestRealFlood(t *testing.T) {
	const workers, each = 8, 400
	relaytest.LeakCheck(t)
	srv, addr := real(t, relay.Limits{Handshake: time.Minute, PerSource: 4}, nil)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range each {
				c, err := dialReal("127.0.0.9", addr)
				if err != nil && errors.Is(err, syscall.ECONNRESET) {
					continue
				}
				if err != nil {
					t.Errorf("dial the relay: got %v, want nil or ECONNRESET", err)
					return
				}
				if (w+i)%2 == 0 {
					_ = c.SetLinger(0)
				}
				_ = c.Close()
			}
		})
	}
	all.Wait()
	// The kernel may drop a connection that was reset before it was accepted.
	until(t, "all connections to end", func() bool { return srv.Snapshot().Live == 0 && sum(srv) >= workers*each*9/10 })
	if got := sum(srv); got > workers*each {
		t.Errorf("ends: got %d, want at most %d", got, workers*each)
	}
	// What is still in the accept queue counts until it has been looked at.
	until(t, "the source to be welcome again", func() bool {
		c, err := dialReal("127.0.0.9", addr)
		if err != nil {
			return false
		}
		defer c.Close()
		_, _ = io.WriteString(c, "go away\n")
		got, err := io.ReadAll(c)
		return string(got) == "what\n" && err == nil
	})
}

// On real sockets, too, a refused client reads its answer behind all that it
// has sent.
func TestRealLingeringClose(t *testing.T) {
	relaytest.LeakCheck(t)
	_, addr := real(t, relay.Limits{Handshake: time.Minute}, nil)
	for range 20 {
		c := mustDial(t, "127.0.0.1", addr)
		_, _ = io.WriteString(c, "go away\n"+strings.Repeat("pipelined ", 10_000))
		got, err := io.ReadAll(c)
		if string(got) != "what\n" || err != nil {
			t.Errorf("answer: got %q, %v, want all of it and an orderly end", got, err)
		}
		_ = c.Close()
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s, got nothing", what)
		}
	}
}

// inUse is the memory in heap objects and stacks after a collection, which
// also empties the pools.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// 0.0.0.0 is IPv4 and nothing else, and :: is both.
func TestListenFamilies(t *testing.T) {
	for address, want := range map[string]bool{"0.0.0.0:0": false, "[::]:0": true} {
		ln, err := relay.Listen(t.Context(), address, 0)
		if err != nil {
			t.Fatalf("listen on %s: got %v, want nil", address, err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		c, err := net.Dial("tcp6", "[::1]:"+port)
		if got := err == nil; got != want {
			t.Errorf("IPv6 dial to a listener on %s: got %v, want it to work: %v", address, err, want)
		}
		if c != nil {
			_ = c.Close()
		}
		_ = ln.Close()
	}
}
