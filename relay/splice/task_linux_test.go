package splice_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

func TestTaskReadsAndWrites(t *testing.T) {
	for name, leave := range map[string]bool{"on the reactor": false, "off the reactor": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends := make(chan error, 1)
			d := opened(t, &door{serve: func(c transport.Conn) {
				if leave {
					if err := transport.MayWait(c); err != nil {
						t.Errorf("MayWait: got %v, want nil", err)
					}
				}
				ends <- echo(c)
			}})
			c := d.dial(t)
			const n = 3 << 20 // more than buffers hold
			go func() {
				_ = send(c, 7, n)
				_ = c.CloseWrite()
			}()
			if m, err := receive(c, 7); m != n || err != nil {
				t.Errorf("echo: got %d bytes, %v, want %d, nil", m, err, n)
			}
			if err := got(t, "the end of the task", ends); err != nil {
				t.Errorf("task: got %v, want nil", err)
			}
		})
	}
}

func TestTaskAddresses(t *testing.T) {
	for name, leave := range map[string]bool{"on the reactor": false, "off the reactor": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local, remote := make(chan string, 1), make(chan string, 1)
			source := make(chan netip.Addr, 1)
			d := opened(t, &door{eager: true, serve: func(c transport.Conn) {
				if leave {
					_ = transport.MayWait(c)
				}
				local <- c.LocalAddr().String()
				remote <- c.RemoteAddr().String()
				source <- transport.Source(c)
				_ = c.Close()
			}})
			c := d.dial(t)
			if g, want := got(t, "LocalAddr", local), d.ln.Addr().String(); g != want {
				t.Errorf("LocalAddr: got %s, want %s", g, want)
			}
			if g, want := got(t, "RemoteAddr", remote), c.LocalAddr().String(); g != want {
				t.Errorf("RemoteAddr: got %s, want %s", g, want)
			}
			if g, want := got(t, "Source", source), netip.MustParseAddr("127.0.0.1"); g != want {
				t.Errorf("Source: got %s, want %s", g, want)
			}
		})
	}
}

// option reads a socket option of a connection of the net package.
func option(t *testing.T, c transport.Conn, level, name int) (v int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { v, _ = unix.GetsockoptInt(int(fd), level, name) })
	}
	if err != nil {
		t.Errorf("option %d: got %v, want nil", name, err)
	}
	return v
}

// What a listener's connections inherit holds on the reactor and off it. The
// net package would have a sleeping phone woken every 15 seconds.
func TestTaskKeepsOptions(t *testing.T) {
	conns := make(chan transport.Conn, 1)
	d := &door{serve: func(c transport.Conn) {
		if err := transport.MayWait(c); err != nil {
			t.Errorf("MayWait: got %v, want nil", err)
		}
		conns <- c
	}}
	opened(t, d)
	raw, _ := d.ln.SyscallConn()
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 240)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 20)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
	})
	client := d.dial(t)
	_, _ = client.Write([]byte("x"))
	c := got(t, "the connection", conns)
	defer c.Close()
	for _, o := range []struct{ level, name, want int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 240},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 20}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		if g := option(t, c, o.level, o.name); g != o.want {
			t.Errorf("option %d of level %d: got %d, want %d", o.name, o.level, g, o.want)
		}
	}
}

// A task starts at the deadline of a client that says nothing, and meets it.
func TestTaskDeadline(t *testing.T) {
	const limit = 10 * taskTick
	for _, test := range []struct {
		name  string
		leave bool
		op    func(c transport.Conn) error
	}{
		{"silence", false, func(c transport.Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
		{"silence off the reactor", true, func(c transport.Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
		{"wait off the reactor", true, func(c transport.Conn) error { return c.(transport.ReadWaiter).WaitRead() }},
		{"not reading", false, func(c transport.Conn) error { return pour(c) }},
		{"not reading off the reactor", true, func(c transport.Conn) error { return pour(c) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ends := make(chan error, 1)
			d := opened(t, &door{limit: limit, eager: test.leave, serve: func(c transport.Conn) {
				defer c.Close()
				if test.leave {
					if err := transport.MayWait(c); err != nil {
						t.Errorf("MayWait: got %v, want nil", err)
					}
				}
				ends <- test.op(c)
			}})
			began := time.Now()
			d.dial(t)
			if err := got(t, "the deadline", ends); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("past the deadline: got %v, want os.ErrDeadlineExceeded", err)
			}
			if took := time.Since(began); took < limit || took > limit+2*time.Second {
				t.Errorf("deadline: came after %v, want %v and a little", took, limit)
			}
		})
	}
}

// A deadline that is moved after it was met lets the task go on: that is how a
// client is told that it was too slow.
func TestTaskDeadlineMoves(t *testing.T) {
	d := opened(t, &door{limit: 3 * taskTick, serve: func(c transport.Conn) {
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: got %v, want os.ErrDeadlineExceeded", err)
		}
		_ = c.SetDeadline(time.Time{})
		if _, err := c.Write([]byte("late")); err != nil {
			t.Errorf("Write with a new deadline: got %v, want nil", err)
		}
	}})
	c := d.dial(t)
	if b, err := io.ReadAll(c); string(b) != "late" || err != nil {
		t.Errorf("client: got %q, %v, want \"late\", nil", b, err)
	}
}

// Interrupt ends a task wherever it is, and the client is not told that all
// went well.
func TestTaskInterrupt(t *testing.T) {
	for _, test := range []struct {
		name          string
		eager, leave  bool
		before, after bool // of leaving; neither: while it reads
	}{
		{name: "before it starts"},
		{name: "while it reads", eager: true},
		{name: "before it leaves", leave: true, before: true},
		{name: "off the reactor", eager: true, leave: true, after: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ends, conns := make(chan error, 1), make(chan transport.Conn, 1)
			d := &door{eager: test.eager, shown: func(c transport.Conn) { conns <- c }}
			d.serve = func(c transport.Conn) {
				if test.before {
					transport.Interrupt(c)
				}
				if test.leave {
					if err := transport.MayWait(c); test.before != errors.Is(err, net.ErrClosed) {
						t.Errorf("MayWait: got %v, want net.ErrClosed if it was interrupted before", err)
					}
				}
				_, err := c.Read(make([]byte, 1))
				_ = transport.Abort(c)
				ends <- err
			}
			opened(t, d)
			client := d.dial(t)
			c := got(t, "the connection", conns)
			if test.before {
				_, _ = client.Write([]byte("x"))
			} else {
				time.Sleep(5 * taskTick)
				transport.Interrupt(c)
			}
			if err := got(t, "the end of the task", ends); !errors.Is(err, net.ErrClosed) {
				t.Errorf("interrupted: got %v, want net.ErrClosed", err)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("client of an interrupted task: got %v, want ECONNRESET", err)
			}
			transport.Interrupt(c) // of no effect any more
		})
	}
}

func TestTaskSetLinger(t *testing.T) {
	d := opened(t, &door{serve: func(c transport.Conn) { _ = transport.Abort(c) }})
	c := d.dial(t)
	_, _ = c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client of an aborted connection: got %v, want ECONNRESET", err)
	}
}

// What is tried on a socket after its end fails, and does nothing.
func TestTaskSocketAfterClose(t *testing.T) {
	ends := make(chan []error, 1)
	d := opened(t, &door{eager: true, serve: func(c transport.Conn) {
		_ = c.Close()
		var errs []error
		_, err := c.Read(make([]byte, 1))
		errs = append(errs, err)
		_, err = c.Write([]byte("x"))
		errs = append(errs, err, transport.MayWait(c), c.Close(), c.SetDeadline(time.Now()),
			c.(interface{ CloseWrite() error }).CloseWrite(), c.(interface{ SetLinger(int) error }).SetLinger(0))
		ends <- errs
	}})
	d.dial(t)
	for i, err := range got(t, "the end of the task", ends) {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("call %d after Close: got %v, want net.ErrClosed", i, err)
		}
	}
}

// upper changes every byte, in a way that is no codec's.
type upper struct{ transport.Conn }

func (u upper) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	copy(b, bytes.ToUpper(b[:n]))
	return n, err
}

func (u upper) Below() transport.Conn { return u.Conn }

// joins is a task that dials and joins.
func joins(t *testing.T, core *splice.Core, to netip.AddrPort, ends chan splice.End, wrap func(near transport.Conn) transport.Conn) func(c transport.Conn) {
	return func(c transport.Conn) {
		far, ok, err := splice.Dial(c, to, 0, splice.Never)
		if !ok || err != nil {
			t.Errorf("Dial: got %v, %v, want true, nil", ok, err)
			_ = c.Close()
			return
		}
		core.Join(wrap(c), far, splice.Limits{}, nil, func(e splice.End) { ends <- e })
	}
}

// A layer that does not detach keeps seeing every byte.
func TestTaskJoinsLayer(t *testing.T) {
	for name, interrupt := range map[string]bool{"layer": false, "interrupted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, _ := net.Listen("tcp4", "127.0.0.1:0")
			defer target.Close()
			core, ends := splice.New(taskTick), make(chan splice.End, 1)
			d := &door{core: core}
			d.serve = joins(t, core, target.Addr().(*net.TCPAddr).AddrPort(), ends, func(near transport.Conn) transport.Conn {
				if interrupt {
					transport.Interrupt(near)
				}
				return upper{near}
			})
			opened(t, d)
			c := d.dial(t)
			_, _ = c.Write([]byte("hello"))
			_ = c.CloseWrite()
			s, err := target.Accept()
			if err != nil {
				t.Fatalf("accept: got %v, want nil", err)
			}
			defer s.Close()
			_ = s.SetDeadline(time.Now().Add(taskWait))
			if !interrupt {
				if b, err := io.ReadAll(s); string(b) != "HELLO" || err != nil {
					t.Errorf("target: got %q, %v, want \"HELLO\", nil", b, err)
				}
			}
			_ = s.Close()
			got(t, "the end of the flow", ends)
		})
	}
}

// scarce leaves no descriptor free while f runs.
func scarce(t *testing.T, f func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatalf("getrlimit: got %v, want nil", err)
	}
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatalf("dup: got %v, want nil", err)
	}
	_ = unix.Close(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: old.Max}); err != nil {
		t.Fatalf("setrlimit: got %v, want nil", err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }()
	f()
}

// Leaving the reactor takes a descriptor for a moment. When there is none the
// connection ends, and nothing is left behind.
func TestTaskLeavesWithoutDescriptors(t *testing.T) {
	target, _ := net.Listen("tcp4", "127.0.0.1:0")
	defer target.Close()
	ends, now := make(chan error, 1), make(chan bool)
	d := opened(t, &door{eager: true, serve: func(c transport.Conn) {
		if _, _, err := splice.Dial(c, target.Addr().(*net.TCPAddr).AddrPort(), 0, splice.Never); err != nil {
			t.Errorf("Dial: got %v, want nil", err)
		}
		_, _ = c.Read(make([]byte, 1))
		err := transport.MayWait(c)
		if _, werr := c.Write([]byte("x")); !errors.Is(werr, net.ErrClosed) {
			t.Errorf("Write after it failed: got %v, want net.ErrClosed", werr)
		}
		_ = c.Close()
		ends <- err
		<-now
	}})
	before := openFiles(t)
	c := d.dial(t)
	s, err := target.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	scarce(t, func() {
		_, _ = c.Write([]byte("x"))
		if err := got(t, "MayWait", ends); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("MayWait without descriptors: got %v, want EMFILE", err)
		}
	})
	close(now)
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("client: got %v, want io.EOF", err)
	}
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("target: got %v, want io.EOF", err)
	}
	_, _ = c.Close(), s.Close()
	if after := openFiles(t); after != before {
		t.Errorf("descriptors: got %d afterwards, want %d as before", after, before)
	}
}
