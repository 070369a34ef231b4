package splice_test

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

// TestYieldStarvesNobody has tasks that give way for ever beside one that echoes:
// both go on.
func TestYieldStarvesNobody(t *testing.T) {
	const yielders = 100
	var turns atomic.Int64
	var enough atomic.Bool
	dial := parked(t, &parker{serve: func(c transport.Conn, before int) bool {
		b := make([]byte, 1)
		if before == 0 {
			if _, err := io.ReadFull(c, b); err != nil {
				return true
			}
			if b[0] == 'e' {
				_ = echo(c)
				return true
			}
		}
		turns.Add(1)
		return enough.Load() || !splice.Yield(c)
	}})
	defer enough.Store(true)
	for range yielders {
		if _, err := dial().Write([]byte("y")); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
	}
	for turns.Load() < 10*yielders {
		time.Sleep(time.Millisecond)
	}
	c := dial()
	if _, err := c.Write([]byte("e")); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	before := turns.Load()
	for range 200 {
		var b [1]byte
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil {
			t.Fatalf("read: got %v, want an echo", err)
		}
	}
	if turns.Load() == before {
		t.Error("nobody who gives way had a turn beside 200 messages")
	}
	c.Close()
}

// TestYieldOutlastsDeadline has many tasks give way, and their deadlines come while
// they do: that gets nobody ahead of those who give way to no one.
func TestYieldOutlastsDeadline(t *testing.T) {
	const limit = 20 * taskTick
	for name, tick := range map[string]time.Duration{"in the wheel": taskTick, "in the alarms": limit} {
		t.Run(name, func(t *testing.T) { testYieldOutlastsDeadline(t, limit, tick) })
	}
}

func testYieldOutlastsDeadline(t *testing.T, limit, tick time.Duration) {
	const yielders = 400
	var served atomic.Int32
	dial := parked(t, &parker{limit: limit, tick: tick, serve: func(c transport.Conn, before int) bool {
		if before > 0 {
			time.Sleep(2 * time.Millisecond) // a long turn: all of them outlast the limit
			served.Add(1)
			return true
		}
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return true
		}
		if b[0] == 'y' {
			return !splice.Yield(c)
		}
		_ = c.SetDeadline(time.Time{})
		_ = echo(c)
		return true
	}})
	c := dial()
	_, _ = c.Write([]byte("e"))
	var all []net.Conn
	for range yielders {
		all = append(all, dial())
	}
	for _, y := range all {
		_, _ = y.Write([]byte("y"))
	}
	most := int32(0)
	for last := int32(0); last < yielders*3/4; {
		var b [1]byte
		if _, err := c.Write(b[:]); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil {
			t.Fatalf("read: got %v, want an echo", err)
		}
		now := served.Load()
		last, most = now, max(most, now-last)
	}
	if most > yielders/3 {
		t.Errorf("between two messages: got %d of those who give way served, want a few", most)
	}
}

// TestYieldInterrupted interrupts tasks that give way, which then leave their
// reactor: their turn comes when they are somewhere else.
func TestYieldInterrupted(t *testing.T) {
	const conns = 300
	dial := parked(t, &parker{serve: func(c transport.Conn, _ int) bool {
		if splice.Park(c, nil) {
			return false
		}
		if _, err := c.Read(make([]byte, 1)); err == nil && splice.Yield(c) {
			go transport.Interrupt(c)
			return false
		}
		_ = transport.MayWait(c)
		time.Sleep(taskTick)
		return true
	}})
	var all []net.Conn
	for range conns {
		all = append(all, dial())
	}
	for _, c := range all {
		_, _ = c.Write([]byte("y"))
	}
	for _, c := range slices.Backward(all) {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: got %v, want the end of the connection", err)
		}
	}
}
