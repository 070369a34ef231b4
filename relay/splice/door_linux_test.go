package splice_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

const (
	taskTick = 10 * time.Millisecond
	// taskWait is how long anything here may take.
	taskWait = 10 * time.Second
)

// door lets connections in that a reactor accepts.
type door struct {
	core   *splice.Core
	ln     *net.TCPListener
	stop   func()
	serve  func(c transport.Conn) // the task
	eager  bool
	limit  time.Duration // until the deadline of a new connection; 0: none
	shown  func(c transport.Conn)
	tasks  sync.WaitGroup
	failed atomic.Int64
	pause  time.Duration // after an error of accepting
}

func (d *door) Admit(c transport.Conn) (serve func(), start time.Time) {
	if d.eager {
		start = time.Now()
	}
	d.tasks.Add(1)
	if d.limit > 0 {
		_ = c.SetDeadline(time.Now().Add(d.limit))
	}
	if d.shown != nil {
		d.shown(c)
	}
	return func() {
		defer d.tasks.Done()
		d.serve(c)
	}, start
}

func (d *door) Failed(error) time.Duration {
	d.failed.Add(1)
	return d.pause
}

// opened makes a door on a listener, which ends with the test.
func opened(t *testing.T, d *door) *door {
	t.Helper()
	if d.core == nil {
		d.core = splice.New(taskTick)
	}
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	d.ln = ln
	stop, ok := d.core.Serve(ln, d)
	if !ok {
		t.Fatal("Serve: got no reactor, want one")
	}
	d.stop = sync.OnceFunc(stop)
	t.Cleanup(func() {
		d.stop()
		_ = ln.Close()
		d.tasks.Wait()
		d.core.Drain(context.Background())
	})
	return d
}

// dial connects to the door.
func (d *door) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", d.ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(taskWait))
	return c.(*net.TCPConn)
}

// got waits for what a task reports.
func got[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(taskWait):
		t.Fatalf("%s: waited %v, got nothing", what, taskWait)
	}
	return v
}

// echo says again what it reads, up to the end.
func echo(c transport.Conn) error {
	defer c.Close()
	if _, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}); err != nil {
		return err
	}
	return c.CloseWrite()
}
