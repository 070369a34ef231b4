package splice_test

import (
	"context"
	"errors"
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

// dialled runs splice.Dial in a task.
func dialled(t *testing.T, to netip.AddrPort, timeout time.Duration, before func(c transport.Conn)) error {
	t.Helper()
	ends := make(chan error, 1)
	d := opened(t, &door{eager: true, serve: func(c transport.Conn) {
		defer c.Close()
		if before != nil {
			before(c)
		}
		far, ok, err := splice.Dial(c, to, timeout, splice.Never)
		if !ok {
			t.Errorf("Dial: got no dialling, want it on the reactor")
		}
		if err == nil {
			_ = far.Close()
		}
		ends <- err
	}})
	d.dial(t)
	return got(t, "the end of dialling", ends)
}

func TestTaskDialFails(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		// Bound, so that the door cannot be given the same port, and not listening.
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("socket: got %v, want nil", err)
		}
		defer unix.Close(fd)
		host := netip.MustParseAddr("127.0.0.1")
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: host.As4()}); err != nil {
			t.Fatalf("bind: got %v, want nil", err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatalf("getsockname: got %v, want nil", err)
		}
		to := netip.AddrPortFrom(host, uint16(name.(*unix.SockaddrInet4).Port))
		if err := dialled(t, to, time.Minute, nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: got %v, want ECONNREFUSED", err)
		}
	})
	silent := silentTarget(t)
	t.Run("no answer", func(t *testing.T) {
		began := time.Now()
		if err := dialled(t, silent, 10*taskTick, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Dial: got %v, want os.ErrDeadlineExceeded", err)
		}
		if took := time.Since(began); took < 10*taskTick {
			t.Errorf("Dial: gave up after %v, want no less than %v", took, 10*taskTick)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		if err := dialled(t, silent, 0, splice.CancelDial); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial: got %v, want context.Canceled", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		err := dialled(t, silent, 0, func(c transport.Conn) {
			time.AfterFunc(5*taskTick, func() { splice.CancelDial(c) })
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Dial: got %v, want context.Canceled", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		err := dialled(t, silent, 0, func(c transport.Conn) {
			time.AfterFunc(5*taskTick, func() { transport.Interrupt(c) })
		})
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial: got %v, want net.ErrClosed", err)
		}
	})
}

// A client who leaves ends what is dialled for him, as far as his leaving tells.
func TestTaskDialLeft(t *testing.T) {
	silent := silentTarget(t)
	for _, tt := range []struct {
		name  string
		until splice.Leaving
		reset bool
		want  error
	}{
		{"reset", splice.Broken, true, splice.ErrLeft},
		{"end", splice.Ended, false, splice.ErrLeft},
		{"end of half", splice.Broken, false, os.ErrDeadlineExceeded},
		{"reset of a stranger", splice.Never, true, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ends := make(chan error, 1)
			limit := 10 * taskTick
			if tt.want == splice.ErrLeft {
				limit = time.Minute
			}
			d := opened(t, &door{eager: true, serve: func(c transport.Conn) {
				defer c.Close()
				_, _, err := splice.Dial(c, silent, limit, tt.until)
				ends <- err
			}})
			client := d.dial(t)
			time.Sleep(2 * taskTick)
			if tt.reset {
				_ = client.SetLinger(0)
				_ = client.Close()
			} else {
				_ = client.CloseWrite()
			}
			if err := got(t, "the end of dialling", ends); !errors.Is(err, tt.want) {
				t.Errorf("Dial: got %v, want %v", err, tt.want)
			}
		})
	}
}

// silentTarget is an address that does not answer: its queue is full.
func silentTarget(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { _ = unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	sa, _ := unix.Getsockname(fd)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 8 {
		c, err := net.DialTimeout("tcp4", to.String(), 100*time.Millisecond)
		if err != nil {
			return to
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("the system takes connections that nobody accepts")
	return to
}

// A task that has left its reactor is no place to dial from.
func TestTaskDialAfterLeaving(t *testing.T) {
	oks := make(chan bool, 1)
	d := opened(t, &door{eager: true, serve: func(c transport.Conn) {
		defer c.Close()
		_ = transport.MayWait(c)
		_, ok, _ := splice.Dial(c, netip.MustParseAddrPort("127.0.0.1:1"), 0, splice.Never)
		oks <- ok
	}})
	d.dial(t)
	if got(t, "Dial", oks) {
		t.Error("Dial off the reactor: got ok, want it left to others")
	}
}
