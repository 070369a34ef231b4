package splice_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// stop returns when the port is free: a reload may want it at once.
func TestStopFreesThePort(t *testing.T) {
	d := opened(t, &door{serve: func(c transport.Conn) { _ = c.Close() }})
	address := d.ln.Addr().String()
	for range 50 {
		d.stop()
		_ = d.ln.Close()
		ln, err := net.Listen("tcp4", address)
		if err != nil {
			t.Fatalf("listen again: got %v, want nil", err)
		}
		d.ln = ln.(*net.TCPListener)
		stop, ok := d.core.Serve(ln, d)
		if !ok {
			t.Fatal("Serve again: got no reactor, want one")
		}
		d.stop = sync.OnceFunc(stop)
		_ = d.dial(t).Close()
	}
}

// A service manager keeps the socket open that it has given us. What arrives
// there after stop is for the next one who accepts, and no work for us.
func TestStopLooksAway(t *testing.T) {
	d := opened(t, &door{serve: func(c transport.Conn) { _ = c.Close() }})
	f, err := d.ln.File()
	if err != nil {
		t.Fatalf("duplicate the listener: got %v, want nil", err)
	}
	defer f.Close()
	d.stop()
	_ = d.ln.Close()
	d.dial(t)
	time.Sleep(5 * taskTick)
	before := processorTime(t)
	time.Sleep(30 * taskTick)
	if used := processorTime(t) - before; used > 10*taskTick {
		t.Errorf("processor time after stop: got %v in %v, want next to none", used, 30*taskTick)
	}
}

// processorTime is what this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatalf("getrusage: got %v, want nil", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Without descriptors accepting rests, and goes on when there are some again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	ends := make(chan bool, 1)
	d := opened(t, &door{pause: 10 * taskTick, serve: func(c transport.Conn) {
		_ = c.Close()
		ends <- true
	}})
	// The reactor has its descriptors, and those of the runtime are open.
	_ = d.dial(t).Close()
	got(t, "the first connection", ends)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socket: got %v, want nil", err)
	}
	defer unix.Close(fd)
	scarce(t, func() {
		to := &unix.SockaddrInet4{Port: d.ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
		if err := unix.Connect(fd, to); err != nil {
			t.Errorf("connect: got %v, want nil", err)
		}
		_, _ = unix.Write(fd, []byte("x"))
		before := processorTime(t)
		time.Sleep(50 * taskTick)
		if used := processorTime(t) - before; used > 10*taskTick {
			t.Errorf("processor time without descriptors: got %v in %v, want next to none", used, 50*taskTick)
		}
	})
	got(t, "the connection that had to wait", ends)
	if n := d.failed.Load(); n < 2 || n > 7 {
		t.Errorf("attempts: got %d that failed in %v, want one every %v", n, 50*taskTick, d.pause)
	}
}

// Whoever has ended must not be rung by those who come late: the number of the
// bell means something else by then.
func TestLateCutRingsNobody(t *testing.T) {
	c := splice.New(taskTick)
	var p path
	for _, p = range paths {
		if p.name == "tcp" {
			break
		}
	}
	j := p.join(t, c, splice.Limits{}, nil)
	j.close()
	j.want(t, transport.OK, 0, 0)
	c.Drain(context.Background())
	var bells []int
	for range 100 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatalf("eventfd: got %v, want nil", err)
		}
		bells = append(bells, fd)
	}
	j.flow.Cut(transport.Cut)
	for _, fd := range bells {
		if _, err := unix.Read(fd, make([]byte, 8)); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("descriptor %d: got %v, want nothing written to it", fd, err)
		}
		_ = unix.Close(fd)
	}
}

// Reactors that pass connections and pairs to each other all the time lose
// nothing and double nothing.
func TestServeOnSeveralReactors(t *testing.T) {
	target, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer target.Close()
	go func() {
		for {
			s, err := target.AcceptTCP()
			if err != nil {
				return
			}
			go func() { _ = echo(s) }()
		}
	}()
	const clients, each, n = 20, 10, 200_000
	core, ends := splice.New(taskTick), make(chan splice.End, clients*each)
	core.TestingRestless()
	d := &door{core: core}
	d.serve = joins(t, core, target.Addr().(*net.TCPAddr).AddrPort(), ends, func(near transport.Conn) transport.Conn { return near })
	opened(t, d)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for k := range each {
				c, err := net.Dial("tcp4", d.ln.Addr().String())
				if err != nil {
					t.Errorf("dial: got %v, want nil", err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(taskWait))
				seed := uint64(i*each + k)
				go func() {
					_ = send(c, seed, n)
					_ = c.(*net.TCPConn).CloseWrite()
				}()
				if m, err := receive(c, seed); m != n || err != nil {
					t.Errorf("echo: got %d bytes, %v, want %d, nil", m, err, n)
				}
				_ = c.Close()
			}
		})
	}
	all.Wait()
	for range clients * each {
		if e := got(t, "the end of a flow", ends); e.Status != transport.OK || e.Up != n || e.Down != n {
			t.Errorf("end: got %s, %d up, %d down, want ok, %d, %d", e.Status, e.Up, e.Down, n, n)
		}
	}
}
