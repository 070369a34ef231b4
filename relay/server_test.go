package relay_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay"
	"relay/transport"
)

func TestApplySwapsListeners(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		client, server := r.open("-")
		opening := r.dial()
		_, _ = io.WriteString(opening, "go ")
		synctest.Wait() // it is accepted: a closing listener resets what is not
		// The old address goes, a new one comes, with other inbounds and limits.
		const next = "10.0.0.1:1081"
		r.set.Listeners = []relay.Listener{{Address: next, Route: []relay.Candidate{&inbound{word: "new"}}}}
		r.set.Limits.Handshake = time.Second
		r.apply()
		if _, err := r.net.Dial(r.t.Context(), listenAddr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial of the old address: got %v, want ECONNREFUSED", err)
		}
		c, err := r.net.Dial(r.t.Context(), next)
		if err != nil {
			t.Fatalf("dial of the new address: got %v, want nil", err)
		}
		r.say(c, "new - "+targetAddr+"\n", "ok\n")
		// What ran goes on under the settings that it began with.
		time.Sleep(5 * time.Second)
		r.say(opening, "- "+targetAddr+"\n", "ok\n")
		_, _ = io.WriteString(client, "still here\n")
		buf := make([]byte, 11)
		if _, err := io.ReadFull(server, buf); err != nil || string(buf) != "still here\n" {
			t.Errorf("running flow: got %q, %v, want it to go on", buf, err)
		}
		for _, c := range []transport.Conn{client, server, opening, c} {
			_ = c.Close()
		}
	})
}

func TestApplyChangesInPlace(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		waiting := r.dial() // in the accept queue or just accepted
		r.set.Listeners[0].Route = []relay.Candidate{&inbound{word: "new"}}
		r.apply()
		c := r.dial()
		r.say(c, "new - "+targetAddr+"\n", "ok\n")
		_ = c.Close()
		_ = waiting.Close()
	})
}

func TestApplyIsAllOrNothing(t *testing.T) {
	const taken, free = "10.0.0.1:2000", "10.0.0.1:2001"
	inRig(t, nil, func(r *rig) {
		defer r.listen(taken).Close()
		good := r.set
		one := func(addr string) relay.Listener {
			return relay.Listener{Address: addr, Route: []relay.Candidate{r.in}}
		}
		for name, listeners := range map[string][]relay.Listener{
			"taken":             {one(free), one(taken)},
			"two faults":        {one(taken), one("no address"), one(free)},
			"new one twice":     {one(free), one(free)},
			"running one twice": {one(listenAddr), one(listenAddr), one(free)},
		} {
			r.set.Listeners = listeners
			err := r.srv.Apply(r.set)
			if err == nil {
				t.Errorf("%s: got nil, want an error", name)
				continue
			}
			if name == "two faults" && (!errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "no address")) {
				t.Errorf("%s: got %v, want both faults", name, err)
			}
			if _, err := r.net.Dial(r.t.Context(), free); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: dial of the other address: got %v, want ECONNREFUSED", name, err)
			}
			c := r.dial()
			r.say(c, "go - "+targetAddr+"\n", "ok\n")
			_ = c.Close()
			if got := r.srv.Addrs(); len(got) != 1 || got[0].String() != listenAddr {
				t.Errorf("%s: addresses: got %v, want %s", name, got, listenAddr)
			}
		}
		r.set = good
		r.apply()
	})
}

// What Ready does is done when nothing else can fail, and undone by nobody.
func TestApplyReady(t *testing.T) {
	const taken, free = "10.0.0.1:2000", "10.0.0.1:2001"
	inRig(t, nil, func(r *rig) {
		defer r.listen(taken).Close()
		calls, refuse := 0, errors.New("no")
		try := func(addr string, ready error) error {
			set := r.set
			set.Listeners = []relay.Listener{{Address: addr, Route: []relay.Candidate{r.in}}}
			set.Ready = func() error { calls++; return ready }
			return r.srv.Apply(set)
		}
		if err := try(taken, nil); err == nil || calls != 0 {
			t.Errorf("a listener that fails: got %v and %d calls, want an error and none", err, calls)
		}
		if err := try(free, refuse); !errors.Is(err, refuse) || calls != 1 {
			t.Errorf("not ready: got %v and %d calls, want its error and one", err, calls)
		}
		if _, err := r.net.Dial(r.t.Context(), free); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial of the new address: got %v, want ECONNREFUSED", err)
		}
		c := r.dial()
		r.say(c, "go - "+targetAddr+"\n", "ok\n")
		_ = c.Close()
		if err := try(free, nil); err != nil || calls != 2 {
			t.Errorf("ready: got %v and %d calls, want nil and two", err, calls)
		}
		r.apply()
	})
}

func TestOwn(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		if got := r.srv.Own(); len(got) != 1 || got[0].String() != listenAddr {
			t.Errorf("Own: got %v, want %s", got, listenAddr)
		}
		if got := testing.AllocsPerRun(100, func() { r.srv.Own() }); got != 0 {
			t.Errorf("Own: got %v allocations, want 0", got)
		}
		r.set.Listeners = nil
		r.apply()
		if got := r.srv.Own(); len(got) != 0 {
			t.Errorf("Own without listeners: got %v, want none", got)
		}
	})
}

// Shutdown waits for what runs, and for nothing else.
func TestShutdownDrains(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		client, server := r.open("-")
		opening := r.dial()
		_, _ = io.WriteString(opening, "go ")
		synctest.Wait()
		began := time.Now()
		time.AfterFunc(3*time.Second, func() {
			if _, err := r.net.Dial(r.t.Context(), listenAddr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial while draining: got %v, want ECONNREFUSED", err)
			}
			if err := r.srv.Apply(r.set); err == nil {
				t.Error("Apply while draining: got nil, want an error")
			}
			// An opening may still be completed.
			r.say(opening, "- "+targetAddr+"\n", "ok\n")
			_ = opening.Close()
		})
		time.AfterFunc(20*time.Second, func() {
			_ = client.Close()
			_ = server.Close()
		})
		go func() {
			s, err := r.target.Accept()
			if err == nil {
				_ = s.Close()
			}
		}()
		if got := r.shutdown(time.Minute); got != 0 {
			t.Errorf("Shutdown: got %d flows cut, want 0", got)
		}
		if got := time.Since(began); got != 20*time.Second {
			t.Errorf("Shutdown took %v, want 20 s", got)
		}
		r.wantEnds(map[transport.Status]int64{transport.OK: 2})
	})
}

// What is left when the time is up is cut: joined, silent, asking, dialling.
func TestShutdownCuts(t *testing.T) {
	inRig(t, func(r *rig) {
		inner := r.set.Dialer
		r.set.Dialer = dialer(func(ctx context.Context, to transport.Target) (transport.Conn, error) {
			if to.Port() == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return inner.DialStream(ctx, to, nil)
		})
	}, func(r *rig) {
		client, server := r.open("-")
		silent, asking, dialling, refused := r.dial(), r.dial(), r.dial(), r.dial()
		_, _ = io.WriteString(asking, "go ")
		_, _ = io.WriteString(dialling, "go - 203.0.113.5:1\n")
		r.say(refused, "go wrong "+targetAddr+"\n", "no\n")
		synctest.Wait()
		began := time.Now()
		if got := r.shutdown(500 * time.Millisecond); got != 1 {
			t.Errorf("Shutdown: got %d flows cut, want 1", got)
		}
		if got := time.Since(began); got != 500*time.Millisecond {
			t.Errorf("Shutdown took %v, want half a second", got)
		}
		r.wantEnd(client, syscall.ECONNRESET)
		r.wantEnd(server, syscall.ECONNRESET)
		r.wantEnd(silent, syscall.ECONNRESET)
		r.wantEnds(map[transport.Status]int64{transport.Drained: 4, transport.AuthFailed: 1})
		for _, c := range []transport.Conn{client, server, silent, asking, dialling, refused} {
			_ = c.Close()
		}
	})
}

// Connections pass from the flow to the splice core while Shutdown cuts: no
// moment of that may panic, lose one, or count one twice.
func TestShutdownRaces(t *testing.T) {
	for i := range 50 {
		inRig(t, nil, func(r *rig) {
			const n = 40
			go func() {
				for {
					s, err := r.target.Accept()
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(s, s); _ = s.Close() }()
				}
			}()
			var conns []transport.Conn
			for range n {
				c := r.dial()
				conns = append(conns, c)
				go func() { _, _ = io.WriteString(c, "go - "+targetAddr+"\n") }()
			}
			if i%2 == 0 {
				synctest.Wait()
			}
			r.shutdown(0)
			for _, c := range conns {
				_ = c.Close()
			}
			_ = r.target.Close()
			snap := r.srv.Snapshot()
			if snap.Live != 0 || snap.Flows != 0 {
				t.Errorf("after Shutdown: got %d live and %d flows, want 0", snap.Live, snap.Flows)
			}
			// The network resets those that were never accepted.
			if got := sum(r.srv); got > n {
				t.Errorf("ends: got %d, want at most %d", got, n)
			}
		})
	}
}

// dialer is a Dialer in a function.
type dialer func(ctx context.Context, to transport.Target) (transport.Conn, error)

func (d dialer) DialStream(ctx context.Context, to transport.Target, _ []byte) (transport.Conn, error) {
	return d(ctx, to)
}
