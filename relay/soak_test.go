//go:build soak && linux

package relay_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/httpconnect"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/relay/socks5"
	"relay/relay/splice"
)

// TestSoak runs a whole relay in this process, on real sockets, under churn,
// aborts and slow peers, for ten minutes or as long as SOAK says ("2m"). After
// a warm-up and at the end the load pauses and the cost of an idle relay is
// taken: heap, goroutines and descriptors must be the same.
func TestSoak(t *testing.T) {
	relaytest.LeakCheck(t)
	total := 10 * time.Minute
	if s := os.Getenv("SOAK"); s != "" {
		var err error
		if total, err = time.ParseDuration(s); err != nil {
			t.Fatalf("SOAK: got %v, want a duration", err)
		}
	}
	s := newSoak(t)
	defer s.close()
	warmUp := min(total/5, time.Minute)
	before := s.phase(warmUp)
	t.Logf("after the warm-up: %v", before)
	for left := total - warmUp; left > 0; {
		d := min(left, time.Minute)
		left -= d
		now := s.phase(d)
		t.Logf("%v to go: %v", left, now)
		s.compare(before, now)
	}
	t.Logf("operations: %d, with %d failures", s.ops.Load(), s.failures.Load())
}

// soak is the relay and what is around it.
type soak struct {
	t             *testing.T
	srv           *relay.Server
	users         *auth.Users
	store         *auth.Store
	password      string
	addr          string
	target        net.Listener
	idle          []net.Conn // joined for as long as the test runs
	targets       sync.WaitGroup
	ops, failures atomic.Int64
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t}
	must := func(err error) {
		if err != nil {
			t.Fatalf("start: got %v, want nil", err)
		}
	}
	var err error
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s.store, err = auth.OpenStore(t.TempDir())
	must(err)
	s.users = auth.NewUsers(s.store, log)
	rec := &auth.Record{Name: "alice", Key: auth.NewKey()}
	must(s.users.Add(rec))
	s.password = rec.Password(s.users.Realm(), socks5.Label)
	s.srv = relay.New(relay.Options{Log: log, Users: s.users, Splice: splice.New(0)})
	egress, err := policy.New(policy.Options{Config: policy.Config{Allow: []string{"127.0.0.0/8"}}, Own: s.srv.Own})
	must(err)
	in := &socks5.Inbound{Anonymous: true, Verify: s.verify(socks5.Label)}
	web := &httpconnect.Inbound{Anonymous: true, Verify: s.verify(httpconnect.Label)}
	must(s.srv.Apply(relay.Settings{
		Listeners: []relay.Listener{{Address: "127.0.0.1:0", Route: []relay.Candidate{in, web}}},
		Dialer:    egress,
		Limits: relay.Limits{
			Handshake: 5 * time.Second, Idle: time.Hour, Fin: 5 * time.Second,
			Connections: 5000, PerSource: 1000, Backlog: 1024,
		},
	}))
	s.addr = s.srv.Addrs()[0].String()
	s.target, err = net.Listen("tcp", "127.0.0.1:0")
	must(err)
	s.targets.Go(s.serveTargets)
	for range 200 {
		c, err := s.open()
		must(err)
		s.idle = append(s.idle, c)
	}
	return s
}

func (s *soak) verify(label string) func(context.Context, netip.Addr, string, string) (auth.User, error) {
	return func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error) {
		return s.users.Verify(ctx, label, source, name, password)
	}
}

func (s *soak) close() {
	for _, c := range s.idle {
		_ = c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.srv.Shutdown(ctx)
	_ = s.target.Close()
	s.targets.Wait()
	_ = s.users.Close()
	_ = s.store.Close()
}

// phase loads the relay for d, lets it come to rest and measures it.
func (s *soak) phase(d time.Duration) cost {
	end := time.Now().Add(d)
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for time.Now().Before(end) {
				s.ops.Add(1)
				if err := s.operation(rand.IntN(len(operations))); err != nil {
					s.failures.Add(1)
					s.t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	for _, c := range s.idle { // the quiet ones have been alive all the time
		if err := echo(c, 300); err != nil {
			s.failures.Add(1)
			s.t.Errorf("idle connection: %v", err)
		}
	}
	until(s.t, "the load to end", func() bool { return s.srv.Snapshot().Live == len(s.idle) })
	time.Sleep(3 * time.Second) // ticks, lingering, counters on disk
	return measure(s.t)
}

// cost is what the process holds.
type cost struct {
	heap            int64
	goroutines, fds int
}

func (c cost) String() string {
	return fmt.Sprintf("%d kB of heap and stacks, %d goroutines, %d descriptors", c.heap>>10, c.goroutines, c.fds)
}

func measure(t *testing.T) cost {
	heap := inUse() // first: it also ends what is only waiting for a collection
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("read /proc/self/fd: got %v, want nil", err)
	}
	return cost{heap: heap, goroutines: runtime.NumGoroutine(), fds: len(names)}
}

func (s *soak) compare(before, now cost) {
	const pipes = 2 * (8 + 16) // as many as stay open for the next bulk
	if now.heap > before.heap+before.heap/4+(1<<20) {
		s.t.Errorf("heap: got %d kB, want about the %d kB after the warm-up", now.heap>>10, before.heap>>10)
	}
	if now.goroutines > before.goroutines+5 {
		s.t.Errorf("goroutines: got %d, want about the %d after the warm-up", now.goroutines, before.goroutines)
	}
	if now.fds > before.fds+pipes {
		s.t.Errorf("descriptors: got %d, want about the %d after the warm-up", now.fds, before.fds)
	}
}

// serveTargets answers "e" with an echo, "d" and a length with so many bytes,
// "r" and a length with so many bytes and a reset, "s" with silence.
func (s *soak) serveTargets() {
	for {
		c, err := s.target.Accept()
		if err != nil {
			return
		}
		s.targets.Go(func() { serveTarget(c.(*net.TCPConn)) })
	}
}

func serveTarget(c *net.TCPConn) {
	defer c.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	switch n := int64(binary.BigEndian.Uint32(head[1:])); head[0] {
	case 'e':
		// Plain copying: io.Copy between sockets would hold pipes of its own.
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		_ = c.CloseWrite()
	case 'd', 'r':
		_, _ = io.CopyN(c, rand.NewChaCha8([32]byte{1}), n)
		if head[0] == 'r' {
			_ = c.SetLinger(0)
			return
		}
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	case 's':
		_, _ = io.Copy(io.Discard, c)
	}
}
