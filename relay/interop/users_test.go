package interop

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestUserDisable cuts a user's live connections within a second, leaves another
// user's alone, and lets her in no more.
func TestUserDisable(t *testing.T) {
	integration(t)
	t.Parallel()
	state := t.TempDir()
	userCommand(t, "add", "alice", state) // without a running relay: no listener, no links
	r := serve(t, state, false, nil, "")
	alice, bob := userCommand(t, "show", "alice", state), userCommand(t, "add", "bob", state)
	addr := listen(t, echo)

	aliceConns, bobConns := make(map[string]*net.TCPConn), make(map[string]*net.TCPConn)
	for _, protocol := range []string{"socks5", "http"} {
		aliceConns[protocol] = dialVia(t, r.as(protocol, alice.credential(t, protocol)), addr)
		bobConns[protocol] = dialVia(t, r.as(protocol, bob.credential(t, protocol)), addr)
		for _, c := range []*net.TCPConn{aliceConns[protocol], bobConns[protocol]} {
			if err := roundTrip(c, "before", 10*time.Second); err != nil {
				t.Fatalf("%s, before: %v", protocol, err)
			}
		}
	}
	userCommand(t, "disable", "alice", state)
	end := time.Now().Add(time.Second)
	for protocol, c := range aliceConns {
		_ = c.SetReadDeadline(end)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
			t.Errorf("alice over %s, 1s after the command: got %d bytes and %v, want the end of the connection", protocol, n, err)
		}
		if again, err := tryVia(r.as(protocol, alice.credential(t, protocol)), addr); err == nil {
			again.Close()
			t.Errorf("alice over %s, anew: got a connection, want a refusal", protocol)
		}
	}
	for protocol, c := range bobConns {
		if err := roundTrip(c, "after", 10*time.Second); err != nil {
			t.Errorf("bob over %s: got %v, want his connection to live", protocol, err)
		}
	}
}

// Traffic for TestKill: enough that five seconds of it cannot be mistaken for
// anything else, little enough to cost no time.
const (
	killTick = 20 * time.Millisecond
	killUp   = 16 << 10 // per tick
	killDown = 48 << 10
	mostLost = 5 * time.Second
)

// TestKill kills the relay with SIGKILL in the middle of a transfer and wants the
// byte counts of the user to be at most five seconds behind afterwards.
func TestKill(t *testing.T) {
	integration(t)
	t.Parallel()
	// A relay that writes too seldom may have done so just before one kill, but
	// then not before the other.
	for _, after := range []time.Duration{6 * time.Second, 9 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			killDuringTransfer(t, after)
		})
	}
}

func killDuringTransfer(t *testing.T, after time.Duration) {
	t.Helper()
	state := t.TempDir()
	r := serve(t, state, false, nil, "")
	alice := userCommand(t, "add", "alice", state)

	var sentUp, gotUp, sentDown, gotDown atomic.Int64
	addr := listen(t, func(c *net.TCPConn) { join(c, killDown, &sentDown, &gotUp) })
	c := dialVia(t, r.as("socks5", alice.credential(t, "socks5")), addr)
	over := make(chan struct{})
	go func() { defer close(over); join(c, killUp, &sentUp, &gotDown) }()

	// What had arrived at its end five seconds before the kill is what must have
	// been kept; what was sent is what may be counted.
	pause(t, after-mostLost)
	leastUp, leastDown := gotUp.Load(), gotDown.Load()
	since := time.Now()
	pause(t, mostLost)
	r.kill()
	if late := time.Since(since) - mostLost; late > time.Second {
		t.Logf("the machine is slow: killed %v late", late.Round(time.Millisecond))
	}
	c.Close()
	<-over
	mostUp, mostDown := sentUp.Load(), sentDown.Load()
	if leastUp == 0 || leastDown == 0 {
		t.Fatalf("traffic before the kill: got %d bytes up and %d down, want some", leastUp, leastDown)
	}

	again := serve(t, state, false, nil, "")
	got := userCommand(t, "show", "alice", state).Bytes
	t.Logf("up: %d of %d to %d; down: %d of %d to %d", got.Up, leastUp, mostUp, got.Down, leastDown, mostDown)
	const handshake = 4 << 10 // may be counted or not
	if got.Up < leastUp || got.Up > mostUp+handshake {
		t.Errorf("bytes up after the restart: got %d, want %d to %d", got.Up, leastUp, mostUp)
	}
	if got.Down < leastDown || got.Down > mostDown+handshake {
		t.Errorf("bytes down after the restart: got %d, want %d to %d", got.Down, leastDown, mostDown)
	}
	// The relay that came back must serve her, too.
	if err := roundTrip(dialVia(t, again.as("socks5", alice.credential(t, "socks5")), listen(t, echo)), "back", 10*time.Second); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// join writes size bytes each tick until the connection ends, and reads; it
// counts both.
func join(c *net.TCPConn, size int, sent, got *atomic.Int64) {
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			got.Add(int64(n))
			if err != nil {
				c.Close()
				return
			}
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(killTick)
		defer tick.Stop()
		b := make([]byte, size)
		for i := uint64(0); ; i++ {
			binary.BigEndian.PutUint64(b, i)
			n, err := c.Write(b)
			sent.Add(int64(n))
			if err != nil {
				return
			}
			<-tick.C
		}
	})
	wg.Wait()
}

// TestDrain sends SIGTERM in the middle of an answer: the answer must come to its
// end, nobody new gets in, and the relay ends with exit code 0 (which stop checks).
func TestDrain(t *testing.T) {
	integration(t)
	t.Parallel()
	r := serve(t, t.TempDir(), true, nil, "") // quickstart drains for a second only
	answer := patternBytes(1 << 20)
	half := make(chan struct{})
	addr := listen(t, func(c *net.TCPConn) {
		_, _ = c.Write(answer[:len(answer)/2])
		<-half
		_, _ = c.Write(answer[len(answer)/2:])
	})
	c := dialVia(t, r.proxy("socks5"), addr)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	first := make([]byte, len(answer)/2)
	_, err := io.ReadFull(c, first)
	if err != nil {
		close(half)
		t.Fatal(err)
	}
	r.terminate()
	// The listener closes at once or within a moment; the connection stays.
	refused := false
	for end := time.Now().Add(2 * time.Second); !refused && time.Now().Before(end); pause(t, 50*time.Millisecond) {
		again, err := net.DialTimeout("tcp", r.proxy("socks5").Host, time.Second)
		if refused = err != nil; !refused {
			again.Close()
		}
	}
	if !refused {
		t.Error("2s after SIGTERM: got a new connection, want the listener closed")
	}
	close(half)
	checkBytes(t, "answer", append(first, readAll(t, c)...), answer)
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
