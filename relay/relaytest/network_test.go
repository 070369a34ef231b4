package relaytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

func TestHalfClose(t *testing.T) {
	a, b := Pipe()
	write(t, a, "question")
	if err := a.CloseWrite(); err != nil {
		t.Fatalf("CloseWrite: got %v, want nil", err)
	}
	if got, err := io.ReadAll(b); err != nil || string(got) != "question" {
		t.Fatalf("ReadAll: got %q, %v, want the question and nil", got, err)
	}
	write(t, b, "answer")
	buf := make([]byte, 10)
	if n, err := a.Read(buf); err != nil || string(buf[:n]) != "answer" {
		t.Errorf("Read after CloseWrite: got %q, %v, want the answer", buf[:n], err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after CloseWrite: got %v, want EPIPE", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if n, err := a.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("Read at the end: got %d, %v, want 0, io.EOF", n, err)
	}
}

func TestClosed(t *testing.T) {
	a, b := Pipe()
	_ = a.Close()
	buf := make([]byte, 1)
	calls := map[string]func() error{
		"Read":       func() error { _, err := a.Read(buf); return err },
		"Write":      func() error { _, err := a.Write(buf); return err },
		"WaitRead":   a.WaitRead,
		"CloseWrite": a.CloseWrite,
		"Close":      a.Close,
		"Deadline":   func() error { return a.SetDeadline(time.Now()) },
		"SetLinger":  func() error { return a.SetLinger(0) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: got %v, want net.ErrClosed", name, err)
		}
	}
	if _, err := b.Write(buf); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write to a closed peer: got %v, want EPIPE", err)
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := PipeSize(4)
		began := time.Now()
		_ = a.SetReadDeadline(began.Add(time.Second))
		_, err := a.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || !isTimeout(err) {
			t.Errorf("Read: got %v, want a timeout", err)
		}
		if got := time.Since(began); got != time.Second {
			t.Errorf("Read waited %v, want 1s", got)
		}
		_ = a.SetWriteDeadline(began.Add(3 * time.Second))
		n, err := a.Write([]byte("0123456789"))
		if n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write into a full queue: got %d, %v, want 4 and a timeout", n, err)
		}
		write(t, b, "x")
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read past the deadline: got %v, want a timeout even with bytes there", err)
		}
		_ = a.SetDeadline(time.Time{})
		if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read without deadline: got %d, %v, want 1, nil", n, err)
		}
	})
}

// A deadline that moves wakes a Read that already waits.
func TestDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := Pipe()
		errs := make(chan error)
		go func() { errs <- a.WaitRead() }()
		synctest.Wait()
		_ = a.SetDeadline(time.Unix(1, 0))
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("WaitRead: got %v, want a timeout", err)
		}
	})
}

func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := PipeSize(1000)
		payload := bytes.Repeat([]byte("0123456789"), 5000)
		done := make(chan bool)
		go func() {
			write(t, a, string(payload))
			_ = a.CloseWrite()
			close(done)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatalf("Write of %d bytes returned, want it to block after 1000", len(payload))
		default:
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("ReadAll: got %d bytes, %v, want the %d written", len(got), err, len(payload))
		}
		<-done
	})
}

func TestReset(t *testing.T) {
	unread := func(c *Conn) { write(t, c.peer, "unread"); _ = c.Close() }
	linger := func(c *Conn) { write(t, c, "lost"); _ = c.SetLinger(0); _ = c.Close() }
	for name, reset := range map[string]func(*Conn){"linger 0": linger, "unread bytes": unread} {
		t.Run(name, func(t *testing.T) {
			a, b := Pipe()
			reset(a)
			_, err := b.Read(make([]byte, 9))
			var op *net.OpError
			if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
				t.Errorf("Read: got %v, want ECONNRESET in a net.OpError", err)
			}
			if _, err := b.Read(make([]byte, 9)); err != io.EOF {
				t.Errorf("second Read: got %v, want io.EOF", err)
			}
			for _, want := range []error{syscall.ECONNRESET, syscall.EPIPE} {
				if _, err := b.Write([]byte("x")); !errors.Is(err, want) {
					t.Errorf("Write: got %v, want %v", err, want)
				}
			}
			if err := b.CloseWrite(); !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("CloseWrite: got %v, want ENOTCONN", err)
			}
		})
	}
	t.Run("while writing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := PipeSize(2)
			errs := make(chan error)
			go func() { _, err := b.Write([]byte("four")); errs <- err }()
			synctest.Wait()
			_ = a.Close() // two bytes are unread
			if err := <-errs; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Write: got %v, want ECONNRESET", err)
			}
		})
	})
}

func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Network{Hosts: map[string]netip.Addr{"example.org": netip.MustParseAddr("10.0.0.1")}}
		ln, err := n.Listen("10.0.0.1:443")
		if err != nil {
			t.Fatalf("Listen: got %v, want nil", err)
		}
		if _, err := n.Listen("10.0.0.1:443"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Listen twice: got %v, want EADDRINUSE", err)
		}
		target, _ := transport.NameTarget("example.org", 443)
		c, err := n.DialStream(t.Context(), target, []byte("early"))
		if err != nil {
			t.Fatalf("DialStream: got %v, want nil", err)
		}
		if got := c.RemoteAddr().(*net.TCPAddr).String(); got != "10.0.0.1:443" {
			t.Errorf("RemoteAddr: got %s, want 10.0.0.1:443", got)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatalf("Accept: got %v, want nil", err)
		}
		if got, want := s.RemoteAddr().String(), c.LocalAddr().String(); got != want {
			t.Errorf("RemoteAddr of the accepted conn: got %s, want %s", got, want)
		}
		_ = c.CloseWrite()
		if got, err := io.ReadAll(s); err != nil || string(got) != "early" {
			t.Errorf("ReadAll: got %q, %v, want the early bytes", got, err)
		}
		_ = ln.Close()
		if _, err := n.Dial(t.Context(), "10.0.0.1:443"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial after Close: got %v, want ECONNREFUSED", err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: got %v, want net.ErrClosed", err)
		}
		var dns *net.DNSError
		if _, err := n.Dial(t.Context(), "unknown.example:1"); !errors.As(err, &dns) {
			t.Errorf("Dial of an unknown name: got %v, want a net.DNSError", err)
		}
	})
}

func TestNetworkQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Network)
		ln, err := n.Listen("0.0.0.0:0")
		if err != nil {
			t.Fatalf("Listen: got %v, want nil", err)
		}
		port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
		to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), port).String()
		first, err := n.Dial(t.Context(), to)
		for range backlog - 1 {
			if _, err := n.Dial(t.Context(), to); err != nil {
				t.Fatalf("Dial: got %v, want nil", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Dial(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial into a full queue: got %v, want the deadline", err)
		}
		_ = ln.Close()
		if _, rerr := first.Read(make([]byte, 1)); err != nil || !errors.Is(rerr, syscall.ECONNRESET) {
			t.Errorf("Read of a conn nobody accepted: got %v (dial: %v), want ECONNRESET", rerr, err)
		}
	})
}

func TestConnAllocates(t *testing.T) {
	a, b := Pipe()
	msg, buf := make([]byte, 512), make([]byte, 512)
	got := testing.AllocsPerRun(1000, func() {
		_, _ = a.Write(msg)
		_ = b.WaitRead()
		_, _ = b.Read(buf)
	})
	if got != 0 {
		t.Errorf("allocations per message: got %v, want 0", got)
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Errorf("Write: got %d, %v, want %d, nil", n, err, len(s))
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
