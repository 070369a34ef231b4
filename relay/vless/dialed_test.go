package vless

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// What goes out is what Xray's client writes, with the payload in the same piece.
func TestDialerWritesXraysOpenings(t *testing.T) {
	for _, c := range []struct{ to, want string }{
		{"93.184.216.34:443", xrayTCP},
		{"www.example.org:80", xrayName},
		{"[2001:db8::1]:8443", xrayIPv6},
	} {
		dialing(t, func(t *testing.T, x *exit) {
			conn, err := x.dialer().DialStream(t.Context(), target(t, c.to), []byte("early"))
			if err != nil {
				t.Fatalf("DialStream: got %v, want nil", err)
			}
			defer conn.Close()
			x.opened(c.want + "early")
		})
	}
}

func TestDialerWithoutTarget(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		if c, err := x.dialer().DialStream(t.Context(), transport.Target{}, nil); err == nil {
			t.Errorf("DialStream to nowhere: got %v, want an error", c)
		}
	})
}

// dialled is a stream to 93.184.216.34:443 without early payload.
func dialled(t *testing.T, x *exit) transport.Conn {
	t.Helper()
	c, err := x.dialer().DialStream(t.Context(), target(t, "93.184.216.34:443"), nil)
	if err != nil {
		t.Fatalf("DialStream: got %v, want nil", err)
	}
	return c
}

func TestOpeningWaitsForPayload(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c := dialled(t, x)
		defer c.Close()
		time.Sleep(time.Minute)
		x.opened()
		for i, s := range []string{"one", "two"} {
			if n, err := io.WriteString(c, s); n != 3 || err != nil {
				t.Errorf("write %d: got %d, %v, want 3 bytes", i, n, err)
			}
		}
		x.opened(xrayTCP + "one")
		b := make([]byte, 100)
		if n, _ := x.end().Read(b); string(b[:n]) != xrayTCP+"onetwo" {
			t.Errorf("at the exit: got %q, want both writes behind one opening", b[:n])
		}
	})
}

// Somebody reads first, and the payload comes a moment later, or never.
func TestOpeningGoesAlone(t *testing.T) {
	for _, wait := range []bool{false, true} { // Read, WaitRead
		dialing(t, func(t *testing.T, x *exit) {
			c := dialled(t, x)
			defer c.Close()
			got := make(chan string, 1)
			go func() {
				b := make([]byte, 10)
				if wait {
					if err := c.(transport.ReadWaiter).WaitRead(); err != nil {
						t.Errorf("WaitRead: got %v, want nil", err)
					}
				}
				n, _ := c.Read(b)
				got <- string(b[:n])
			}()
			time.Sleep(firstWait - time.Millisecond)
			x.opened()
			time.Sleep(2 * time.Millisecond)
			x.opened(xrayTCP)
			_, _ = x.end().Write([]byte(answer + "hello"))
			if s := <-got; s != "hello" {
				t.Errorf("read: got %q, want what the target says first", s)
			}
		})
		dialing(t, func(t *testing.T, x *exit) {
			c := dialled(t, x)
			done := make(chan struct{})
			go func() { defer close(done); _, _ = c.Read(make([]byte, 1)) }()
			time.Sleep(firstWait - time.Millisecond)
			_, _ = io.WriteString(c, "in time")
			time.Sleep(time.Second)
			x.opened(xrayTCP + "in time")
			_ = c.Close()
			<-done
		})
	}
}

func TestOpeningWaitsAsTold(t *testing.T) {
	for _, mux := range []int{0, 3} {
		dialing(t, func(t *testing.T, x *exit) {
			d := x.dialer()
			d.Wait, d.Mux = time.Second, mux
			c, err := d.DialStream(t.Context(), target(t, "93.184.216.34:443"), nil)
			if err != nil {
				t.Fatalf("DialStream: got %v, want nil", err)
			}
			done := make(chan struct{})
			go func() { defer close(done); _, _ = c.Read(make([]byte, 1)) }()
			time.Sleep(time.Second - time.Millisecond)
			x.opened()
			time.Sleep(2 * time.Millisecond)
			if x.end(); len(x.firsts) != 1 {
				t.Errorf("mux %d: got %d streams after a second, want 1", mux, len(x.firsts))
			}
			_ = c.Close()
			_ = d.Close()
			<-done
		})
	}
}

func TestCloseWriteOpens(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c := dialled(t, x)
		defer c.Close()
		if err := c.CloseWrite(); err != nil {
			t.Fatalf("CloseWrite: got %v, want nil", err)
		}
		got, err := io.ReadAll(x.end())
		if string(got) != xrayTCP || err != nil {
			t.Errorf("at the exit: got %q, %v, want the opening and the end", got, err)
		}
		_, _ = x.end().Write([]byte(answer + "late"))
		_ = x.end().CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "late" || err != nil {
			t.Errorf("read: got %q, %v, want the answer", got, err)
		}
	})
}

// A deadline that was set before the stream was opened holds for it.
func TestDeadlineIsHandedDown(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c := dialled(t, x)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "ask")
		began := time.Now()
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Minute {
			t.Errorf("read: got %v after %v, want a time-out after a minute", err, took)
		}
		if _, err := io.WriteString(c, "more"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: got %v, want a time-out", err)
		}
	})
}

// Whatever an opening that takes long is ended by, it ends.
func TestOpenTakesLong(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(c transport.Conn)
		want error
		took time.Duration
	}{
		{"closed", func(c transport.Conn) { _ = c.Close() }, net.ErrClosed, time.Second},
		{"aborted", func(c transport.Conn) { _ = transport.Abort(c) }, net.ErrClosed, time.Second},
		{"interrupted", transport.Interrupt, net.ErrClosed, time.Second},
		{"deadline", func(c transport.Conn) { _ = c.SetWriteDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded, 2 * time.Second},
		{"nothing", func(transport.Conn) {}, os.ErrDeadlineExceeded, openTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialing(t, func(t *testing.T, x *exit) {
				x.hold = make(chan struct{})
				conn := dialled(t, x)
				began := time.Now()
				time.AfterFunc(time.Second, func() { c.end(conn) })
				read := make(chan error, 1)
				go func() {
					_, err := conn.Read(make([]byte, 1))
					read <- err
				}()
				synctest.Wait()
				_, err := io.WriteString(conn, "ask")
				if took := time.Since(began); err == nil || took != c.took {
					t.Errorf("write: got %v after %v, want an error after %v", err, took, c.took)
				}
				if got := <-read; !errors.Is(got, c.want) && !strings.Contains(got.Error(), "deadline exceeded") {
					t.Errorf("read: got %v, want %v", got, c.want)
				}
				_ = conn.Close()
				x.opened()
			})
		})
	}
}

func TestOpenFails(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		x.fail = errNoWay
		c := dialled(t, x)
		if _, err := io.WriteString(c, "ask"); !errors.Is(err, errNoWay) {
			t.Errorf("write: got %v, want why", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errNoWay) {
			t.Errorf("read: got %v, want why", err)
		}
		if err := c.CloseWrite(); !errors.Is(err, errNoWay) {
			t.Errorf("CloseWrite: got %v, want why", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
		if _, err := x.dialer().DialStream(t.Context(), target(t, "93.184.216.34:443"), []byte("early")); !errors.Is(err, errNoWay) {
			t.Errorf("DialStream: got %v, want why", err)
		}
		x.opened()
	})
}

// Without a byte there is no stream, and nobody hears of it.
func TestCloseUnopened(t *testing.T) {
	for _, closing := range []func(transport.Conn) error{transport.Conn.Close, transport.Abort} {
		dialing(t, func(t *testing.T, x *exit) {
			c := dialled(t, x)
			if err := closing(c); err != nil {
				t.Errorf("close: got %v, want nil", err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: got %v, want net.ErrClosed", err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: got %v, want net.ErrClosed", err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("close again: got %v, want net.ErrClosed", err)
			}
			time.Sleep(time.Second)
			x.opened()
		})
	}
}

func TestAbortOpened(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c := dialled(t, x)
		_, _ = io.WriteString(c, "ask")
		_ = transport.Abort(c)
		if _, err := io.ReadAll(x.end()); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("at the exit: got %v, want a reset", err)
		}
	})
}

// Once there is nothing left to do, the core may have what is below.
func TestDialedDetaches(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		c := dialled(t, x)
		defer c.Close()
		d := c.(transport.Detachable)
		stays := func(when string) {
			t.Helper()
			if below, codec, unread := d.Detach(); below != c || codec != nil || len(unread) > 0 {
				t.Errorf("Detach %s: got %T, %v, %q, want the stream itself", when, below, codec, unread)
			}
		}
		stays("before it is open")
		_, _ = io.WriteString(c, "ask")
		stays("before the answer")
		_, _ = x.end().Write([]byte(answer + "payload"))
		_ = waitTimes(c)
		below, codec, unread := d.Detach()
		if _, ok := below.(*relaytest.Conn); !ok || codec != nil || len(unread) > 0 {
			t.Errorf("Detach behind the answer: got %T, %v, %q, want the carrier's connection", below, codec, unread)
		}
		b := make([]byte, 10)
		if n, _ := below.Read(b); string(b[:n]) != "payload" {
			t.Errorf("read below: got %q, want the payload", b[:n])
		}
	})
}

// Both ways through the inbound, with the end of either direction.
func TestDialerThroughInbound(t *testing.T) {
	payload := make([]byte, 300<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(payload)
	for _, mux := range []int{0, 3} {
		for _, early := range []int{0, 1, 5000, 18 << 10} {
			dialing(t, func(t *testing.T, x *exit) {
				e := &echoing{in: Inbound{UUID: ids, Packets: true}}
				x.serve, x.buffer = e.serve, 20<<10
				d := x.dialer()
				d.Mux = mux
				d.Pad = func() int { return early % 300 }
				to := target(t, "www.example.org:443")
				c, err := d.DialStream(t.Context(), to, payload[:early])
				if err != nil {
					t.Fatalf("DialStream: got %v, want nil", err)
				}
				go func() {
					if _, err := c.Write(payload[early:]); err != nil {
						t.Errorf("write: got %v, want nil", err)
					}
					if err := c.CloseWrite(); err != nil {
						t.Errorf("CloseWrite: got %v, want nil", err)
					}
				}()
				got, err := io.ReadAll(c)
				if !bytes.Equal(got, payload) || err != nil {
					t.Errorf("mux %d, early %d: got %d bytes, %v, want the %d sent", mux, early, len(got), err, len(payload))
				}
				if got := e.asked(); !slices.Equal(got, []string{to.String()}) {
					t.Errorf("asked for: got %q, want %v", got, to)
				}
				_ = c.Close()
				_ = d.Close()
				x.served.Wait()
			})
		}
	}
}

// Early payload that nobody takes ends with the context.
func TestEarlyTakesLong(t *testing.T) {
	for _, mux := range []int{0, 3} {
		dialing(t, func(t *testing.T, x *exit) {
			d := x.dialer()
			d.Mux = mux
			x.buffer = firstSize + 1000
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errNoWay)
			defer cancel()
			c, err := d.DialStream(ctx, target(t, "93.184.216.34:443"), make([]byte, 200<<10))
			if err != errNoWay {
				t.Errorf("mux %d: DialStream: got %v, %v, want %v", mux, c, err, errNoWay)
			}
			_ = d.Close()
		})
	}
}

// Padding has the length that was drawn, and means nothing to us.
func TestPadding(t *testing.T) {
	to := target(t, "93.184.216.34:443")
	for _, c := range []struct{ draw, addons int }{
		{-1, 0}, {0, 0}, {1, 3}, {127, 129}, {128, 131}, {MaxPad, 255}, {MaxPad + 1, 255}, {100000, 255},
	} {
		d := &Dialer{Pad: func() int { return c.draw }}
		b := appendAddress(d.opening(commandTCP), to)
		if got := int(b[idEnd]); got != c.addons || len(b) != len(xrayTCP)+c.addons {
			t.Errorf("padding of %d: got %d bytes of addons in %d, want %d", c.draw, got, len(b), c.addons)
		}
		if h, n, err := parseHeader(b); n != len(b) || h.target != to || h.flow != "" || err != nil {
			t.Errorf("padding of %d: got %+v, %d, %v, want the same opening", c.draw, h, n, err)
		}
	}
}
