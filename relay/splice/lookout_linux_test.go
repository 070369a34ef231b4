package splice_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// portable are the paths whose directions the lookout can wait for.
var portable = []path{
	{name: "tcp", pair: plainPair, portable: true},
	{name: "records", pair: recordsPair, portable: true},
}

// TestIdleFlowHasNoGoroutine has many flows that have moved something and rest.
func TestIdleFlowHasNoGoroutine(t *testing.T) {
	const flows = 200
	for _, p := range portable {
		t.Run(p.name, func(t *testing.T) {
			relaytest.LeakCheck(t)
			files, before := len(descriptors(t, "")), runtime.NumGoroutine()
			c := p.core(10 * time.Millisecond)
			var all []*joined
			for i := range flows {
				j := p.join(t, c, splice.Limits{Idle: time.Hour}, nil)
				exchange(t, j, uint64(i))
				all = append(all, j)
			}
			waitFor(t, "all directions to be parked", func() bool { return c.Parked() == 2*flows })
			// The sweeper, the lookout, and what is about to end.
			waitFor(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
			for i, j := range all {
				exchange(t, j, uint64(i))
			}
			waitFor(t, "all directions to be parked again", func() bool { return c.Parked() == 2*flows })
			for _, j := range all {
				_ = j.client.CloseWrite()
				_ = j.server.CloseWrite()
				j.want(t, transport.OK, 200, 100)
				j.close()
			}
			c.Drain(t.Context())
			if got := len(descriptors(t, "")); got > files {
				t.Errorf("descriptors after Drain: got %d, want %d as before", got, files)
			}
		})
	}
}

// exchange moves 100 bytes up and 50 down.
func exchange(t testing.TB, j *joined, seed uint64) {
	t.Helper()
	for _, way := range []struct {
		from, to transport.Conn
		n        int
	}{{j.client, j.server, 100}, {j.server, j.client, 50}} {
		b, s := make([]byte, way.n), stream{seed: seed}
		if err := send(way.from, seed, way.n); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
		if _, err := io.ReadFull(way.to, b); err != nil {
			t.Fatalf("read: got %v, want nil", err)
		}
		if err := s.check(b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEndsOfParked ends flows, both of whose directions are parked, in every way.
func TestEndsOfParked(t *testing.T) {
	const tick = 10 * time.Millisecond
	for _, test := range []struct {
		name string
		lim  splice.Limits
		end  func(t *testing.T, j *joined)
		want transport.Status
	}{
		{"half-closes", splice.Limits{}, func(t *testing.T, j *joined) {
			_ = j.client.CloseWrite()
			wantError(t, "server after the client's end", j.server, io.EOF)
			answer(t, j)
			_ = j.server.CloseWrite()
			wantError(t, "client after the server's end", j.client, io.EOF)
		}, transport.OK},
		{"client's reset", splice.Limits{}, func(t *testing.T, j *joined) {
			_ = transport.Abort(j.client)
			wantError(t, "server", j.server, syscall.ECONNRESET)
		}, transport.ClientGone},
		{"server's reset", splice.Limits{}, func(t *testing.T, j *joined) {
			_ = transport.Abort(j.server)
			wantError(t, "client", j.client, syscall.ECONNRESET)
		}, transport.TargetGone},
		{"cut", splice.Limits{}, func(t *testing.T, j *joined) {
			j.flow.Cut(transport.Cut)
			wantError(t, "client", j.client, syscall.ECONNRESET)
			wantError(t, "server", j.server, syscall.ECONNRESET)
		}, transport.Cut},
		{"idle timeout", splice.Limits{Idle: 100 * tick}, func(*testing.T, *joined) {}, transport.Timeout},
		{"closed by somebody else", splice.Limits{Fin: 20 * tick}, func(t *testing.T, j *joined) {
			_ = j.near.Close()
			_ = j.client.Close()
		}, transport.Timeout},
		{"fin timeout", splice.Limits{Fin: 20 * tick}, func(t *testing.T, j *joined) {
			_ = j.client.CloseWrite()
			wantError(t, "server after the client's end", j.server, io.EOF)
		}, transport.Timeout},
	} {
		for _, p := range portable {
			t.Run(test.name+" "+p.name, func(t *testing.T) {
				relaytest.LeakCheck(t)
				c := p.core(tick)
				j := p.join(t, c, test.lim, nil)
				waitFor(t, "both directions to be parked", func() bool { return c.Parked() == 2 })
				test.end(t, j)
				j.want(t, test.want, 0, -1)
				j.close()
				if got := c.Parked(); got != 0 {
					t.Errorf("parked after the end: got %d, want 0", got)
				}
				c.Drain(t.Context())
			})
		}
	}
}

func wantError(t *testing.T, who string, c transport.Conn, want error) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", who, err, want)
	}
}

func answer(t *testing.T, j *joined) {
	t.Helper()
	_, _ = j.server.Write([]byte("answer"))
	b := make([]byte, 6)
	if _, err := io.ReadFull(j.client, b); err != nil || string(b) != "answer" {
		t.Errorf("answer: got %q, %v, want it", b, err)
	}
}

// TestParkedStorm has flows whose directions are parked and begin anew at random,
// while others end.
func TestParkedStorm(t *testing.T) {
	flows, workers, rounds := 2000, 8, 10_000
	if testing.Short() {
		flows, rounds = 200, 1000
	}
	relaytest.LeakCheck(t)
	files := len(descriptors(t, ""))
	p := path{pair: plainPair, portable: true, parking: true}
	c := p.core(0)
	var running sync.WaitGroup
	for range workers {
		var mine []*joined
		for range flows / workers {
			mine = append(mine, p.join(t, c, splice.Limits{Idle: time.Hour, Fin: time.Hour}, nil))
		}
		running.Go(func() {
			for range rounds / workers {
				i := rand.IntN(len(mine))
				if stir(t, mine[i]) {
					continue
				}
				mine[i].close()
				<-mine[i].end
				if mine = append(mine[:i], mine[i+1:]...); len(mine) == 0 {
					return
				}
			}
			for _, j := range mine {
				j.close()
				j.want(t, transport.OK, -1, -1)
			}
		})
	}
	running.Wait()
	if left := c.Drain(t.Context()); left != 0 {
		t.Errorf("flows left: got %d, want 0", left)
	}
	if got := len(descriptors(t, "")); got > files {
		t.Errorf("descriptors after Drain: got %d, want %d as before", got, files)
	}
}

// stir does something to a flow; false: it has ended it.
func stir(t *testing.T, j *joined) bool {
	from, to := j.client, j.server
	if rand.IntN(2) == 0 {
		from, to = to, from
	}
	switch rand.IntN(40) {
	case 0:
		j.flow.Cut(transport.Cut)
		return false
	case 1:
		_ = transport.Abort(from)
		return false
	case 2:
		_ = from.CloseWrite()
		if n, err := to.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("end: got %d bytes, %v, want EOF", n, err)
		}
		return false
	}
	n, s := 1+rand.IntN(3*splice.BufferSize), stream{}
	go func() { _ = send(from, 0, n) }()
	b := make([]byte, n)
	_ = to.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(to, b); err != nil {
		t.Errorf("read: got %v, want %d bytes", err, n)
		return false
	}
	if err := s.check(b); err != nil {
		t.Error(err)
	}
	return true
}
