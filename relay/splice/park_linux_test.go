package splice_test

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

// parker lets connections in whose tasks park. serve says when one is over; it
// is called with how often it was called before.
type parker struct {
	serve func(c transport.Conn, before int) (over bool)
	limit time.Duration
	tick  time.Duration // 0: taskTick
	tasks sync.WaitGroup
}

func (p *parker) Admit(c transport.Conn) (serve func(), start time.Time) {
	if p.limit > 0 {
		_ = c.SetDeadline(time.Now().Add(p.limit))
	}
	p.tasks.Add(1)
	n := 0
	return func() {
		over := p.serve(c, n)
		if n++; over {
			_ = c.Close()
			p.tasks.Done()
		}
	}, time.Now()
}

func (p *parker) Failed(error) time.Duration { return time.Millisecond }

// parked listens, with one reactor, and returns how to dial.
func parked(t *testing.T, p *parker) (dial func() net.Conn) {
	t.Helper()
	core := splice.New(cmp.Or(p.tick, taskTick))
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	stop, ok := core.Serve(ln, p)
	if !ok {
		t.Fatal("Serve: got no reactor, want one")
	}
	t.Cleanup(func() {
		stop()
		_ = ln.Close()
		p.tasks.Wait()
		core.Drain(t.Context())
	})
	return func() net.Conn {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatalf("dial: got %v, want nil", err)
		}
		_ = c.SetDeadline(time.Now().Add(taskWait))
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// TestPark parks until each of three bytes comes, and then until the end.
func TestPark(t *testing.T) {
	calls := make(chan int, 16)
	dial := parked(t, &parker{serve: func(c transport.Conn, before int) bool {
		if splice.Park(c, nil) {
			return false
		}
		calls <- before
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return true
		}
		_, _ = c.Write(b[:])
		if !splice.Park(c, nil) {
			t.Error("Park after all was read: got false, want true")
		}
		return false
	}})
	c := dial()
	var b [1]byte
	last := -1
	for i := range 3 {
		if _, err := c.Write([]byte{byte('a' + i)}); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != byte('a'+i) {
			t.Fatalf("read: got %q and %v, want what was sent", b, err)
		}
		n := got(t, "call", calls)
		if n <= last {
			t.Errorf("byte %d: got call %d, want another one than for the byte before, %d", i, n, last)
		}
		last = n
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if n := got(t, "call", calls); n <= last {
		t.Errorf("end: got call %d, want another one than for the last byte, %d", n, last)
	}
	if _, err := c.Read(b[:]); err != io.EOF {
		t.Errorf("read: got %v, want EOF", err)
	}
}

// TestParkDeadline begins anew at the deadline, at which reading fails.
func TestParkDeadline(t *testing.T) {
	errs := make(chan error, 1)
	dial := parked(t, &parker{limit: 3 * taskTick, serve: func(c transport.Conn, _ int) bool {
		if splice.Park(c, nil) {
			return false
		}
		_, err := c.Read(make([]byte, 1))
		errs <- err
		return true
	}})
	dial()
	if err := got(t, "error", errs); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: got %v, want that the deadline has come", err)
	}
}

// TestParkFar begins anew when the other side of the task has something to read.
func TestParkFar(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	to := ln.Addr().(*net.TCPAddr).AddrPort()
	var far transport.Conn
	said := make(chan string, 1)
	dial := parked(t, &parker{serve: func(c transport.Conn, before int) bool {
		if before == 0 {
			var err error
			if far, _, err = splice.Dial(c, to, time.Second, splice.Never); err != nil {
				t.Errorf("dial: got %v, want nil", err)
				return true
			}
		}
		if splice.Park(c, far) {
			return false
		}
		b := make([]byte, 8)
		n, _ := far.Read(b)
		said <- string(b[:n])
		_ = far.Close()
		return true
	}})
	dial()
	c, err := ln.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	defer c.Close()
	time.Sleep(3 * taskTick) // it is parked by now, mostly
	if _, err := c.Write([]byte("answer")); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	if s := got(t, "answer", said); s != "answer" {
		t.Errorf("got %q, want the answer", s)
	}
}

// TestParkKeepsNoStack has many tasks that have read something and wait for more.
func TestParkKeepsNoStack(t *testing.T) {
	const conns = 1000
	var waiting atomic.Int32
	dial := parked(t, &parker{serve: func(c transport.Conn, _ int) bool {
		for {
			if splice.Park(c, nil) {
				return false
			}
			if _, err := c.Read(make([]byte, 8)); err != nil {
				return true
			}
			waiting.Add(1)
		}
	}})
	before := runtime.NumGoroutine()
	var all []net.Conn
	for range conns {
		c := dial()
		all = append(all, c)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
	}
	for until := time.Now().Add(taskWait); waiting.Load() < conns; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("got %d that wait for more, want %d", waiting.Load(), conns)
		}
	}
	if n := runtime.NumGoroutine() - before; n > conns/10 {
		t.Errorf("got %d goroutines for %d tasks that are parked, want a few", n, conns)
	}
	for _, c := range all {
		c.Close()
	}
}

// TestParkElsewhere asks for what only a reactor has.
func TestParkElsewhere(t *testing.T) {
	ln, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	defer c.Close()
	if splice.Park(c.(*net.TCPConn), nil) || splice.Yield(c.(*net.TCPConn)) {
		t.Error("got true for a connection of the net package, want false")
	}
}

// TestLeave serves connections where waiting holds nobody up.
func TestLeave(t *testing.T) {
	const conns = 20
	var here sync.WaitGroup
	here.Add(conns)
	dial := parked(t, &parker{serve: func(c transport.Conn, before int) bool {
		if before == 0 {
			return !splice.Leave(c)
		}
		if splice.Leave(c) {
			t.Error("Leave once more: got true, want false")
		}
		here.Done()
		here.Wait() // on a reactor the first one would wait for ever
		_ = echo(c)
		return true
	}})
	var all []net.Conn
	for range conns {
		all = append(all, dial())
	}
	for _, c := range all {
		var b [1]byte
		_, _ = c.Write([]byte("x"))
		if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 'x' {
			t.Errorf("read: got %q and %v, want an echo", b, err)
		}
		c.Close()
	}
}

// TestLeaveInterrupted interrupts a task before it leaves and afterwards.
func TestLeaveInterrupted(t *testing.T) {
	for name, before := range map[string]bool{"before": true, "after": false} {
		t.Run(name, func(t *testing.T) {
			errs := make(chan error, 1)
			dial := parked(t, &parker{serve: func(c transport.Conn, n int) bool {
				if n == 0 {
					_, _ = c.Read(make([]byte, 1)) // the client knows that it is connected
					if before {
						transport.Interrupt(c)
					}
					return !splice.Leave(c)
				}
				if !before {
					time.AfterFunc(taskTick, func() { transport.Interrupt(c) })
				}
				_, err := c.Read(make([]byte, 1))
				errs <- err
				return true
			}})
			c := dial()
			_, _ = c.Write([]byte("x"))
			if err := got(t, "the end", errs); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: got %v, want net.ErrClosed", err)
			}
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("client: got %v, want the end of the connection", err)
			}
		})
	}
}

// TestHold: a held task waits for Resume and for nothing else, its deadline included;
// what happens meanwhile may only make it look again.
func TestHold(t *testing.T) {
	held := make(chan transport.Conn, 64)
	var free atomic.Bool
	dial := parked(t, &parker{limit: 2 * taskTick, serve: func(c transport.Conn, _ int) bool {
		if !free.Load() {
			if !splice.Hold(c) {
				t.Error("Hold: got false, want true")
				return true
			}
			held <- c
			return false
		}
		_ = c.SetDeadline(time.Time{})
		_ = echo(c)
		return true
	}})
	c := dial()
	first := got(t, "held", held)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	got(t, "held again", held)
	time.Sleep(4 * taskTick) // the deadline comes
	if n := len(held); n > 0 {
		t.Errorf("begun again: got %d times without a reason, want 0", n)
	}
	free.Store(true)
	splice.Resume(first)
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 'x' {
		t.Errorf("read: got %q and %v, want the echo of what was sent while it was held", b, err)
	}
	_ = c.Close()
	splice.Resume(first) // in vain
}
