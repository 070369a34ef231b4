package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

func dialPackets(t *testing.T, s *Set) transport.PacketConn {
	t.Helper()
	p, err := s.DialPacket(t.Context())
	if err != nil {
		t.Fatalf("DialPacket: got %v, want a connection", err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// nthPackets is the nth connection for datagrams of a way.
func (f *fake) nthPackets(t *testing.T, n int) *carriedPackets {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.packets) <= n {
		t.Fatalf("%s: got %d connections for datagrams, want more than %d", f.name, len(f.packets), n)
	}
	return f.packets[n]
}

// got reads a datagram at the other end.
func (p *carriedPackets) got(t *testing.T, want string, to transport.Target) {
	t.Helper()
	b := make([]byte, transport.MaxPacket)
	_ = p.far.SetDeadline(time.Now().Add(time.Second))
	n, peer, err := p.far.ReadPacket(b)
	if err != nil || string(b[:n]) != want || peer != to {
		t.Errorf("at the other end: got %q to %v, %v, want %q to %v", b[:n], peer, err, want, to)
	}
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("denied")
		other, err := transport.ParseTarget("192.0.2.1:53")
		if err != nil {
			t.Fatal(err)
		}
		a := &fake{}
		s := newSetWith(t, Options{Check: func(to transport.Target) error {
			if to == other {
				return denied
			}
			return nil
		}}, a)
		p := dialPackets(t, s)
		if err := p.WritePacket([]byte("no"), other); err != denied {
			t.Errorf("a target that is refused: got %v, want %v", err, denied)
		}
		if err := p.WritePacket([]byte("yes"), target(t)); err != nil {
			t.Errorf("another: got %v, want nil", err)
		}
		far := a.nthPackets(t, 0)
		far.got(t, "yes", target(t))
		_ = far.far.WritePacket([]byte("answer"), target(t))
		b := make([]byte, transport.MaxPacket)
		if n, from, err := p.ReadPacket(b); err != nil || string(b[:n]) != "answer" || from != target(t) {
			t.Errorf("ReadPacket: got %q from %v, %v, want the answer", b[:n], from, err)
		}
	})
}

// TestPacketsOutlive is an association that outlives its carrier.
func TestPacketsOutlive(t *testing.T) {
	for _, find := range []string{"read", "wait", "write"} {
		t.Run(find, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := &fake{}, &fake{ready: after(300 * time.Millisecond)}
				p := dialPackets(t, newSet(t, a, b))
				got := make(chan string, 1)
				if find != "write" {
					go func() {
						if find == "wait" {
							if err := p.(transport.ReadWaiter).WaitRead(); err != nil {
								t.Errorf("WaitRead: got %v, want nil", err)
							}
						}
						q := make([]byte, transport.MaxPacket)
						n, _, err := p.ReadPacket(q)
						if err != nil {
							t.Errorf("ReadPacket: got %v, want an answer on the other way", err)
						}
						got <- string(q[:n])
					}()
				}
				synctest.Wait()
				a.lose()
				time.Sleep(time.Minute)
				if b.dials.Load() != 0 {
					t.Errorf("while nothing is written: got %d connections, want none", b.dials.Load())
				}
				if err := p.WritePacket([]byte("question"), target(t)); err != nil {
					t.Errorf("WritePacket: got %v, want it to go by the other way", err)
				}
				far := b.nthPackets(t, 0)
				far.got(t, "question", target(t))
				_ = far.far.WritePacket([]byte("answer"), target(t))
				if find == "write" {
					q := make([]byte, transport.MaxPacket)
					n, _, _ := p.ReadPacket(q)
					got <- string(q[:n])
				}
				if s := <-got; s != "answer" {
					t.Errorf("answer: got %q, want it from the other way", s)
				}
			})
		})
	}
}

// TestPacketsWait is who waits for another connection, and what ends that.
func TestPacketsWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(s *Set, p transport.PacketConn)
		want error
	}{
		{"close", func(_ *Set, p transport.PacketConn) { _ = p.Close() }, net.ErrClosed},
		{"a deadline that is past", func(_ *Set, p transport.PacketConn) { _ = p.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"a deadline", func(_ *Set, p transport.PacketConn) {
			_ = p.SetDeadline(time.Now().Add(time.Millisecond))
			time.Sleep(time.Millisecond)
		}, os.ErrDeadlineExceeded},
		{"the end of the set", func(s *Set, _ transport.PacketConn) { s.Close() }, errStopped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &fake{}
				s := newSet(t, a)
				p := dialPackets(t, s)
				a.ready = silent
				reads, writes := make(chan error, 1), make(chan error, 1)
				go func() { _, _, err := p.ReadPacket(make([]byte, transport.MaxPacket)); reads <- err }()
				synctest.Wait()
				a.lose()
				synctest.Wait()
				go func() { writes <- p.WritePacket([]byte("x"), target(t)) }()
				time.Sleep(time.Second)
				began := time.Now()
				tt.end(s, p)
				if err := <-reads; !errors.Is(err, tt.want) {
					t.Errorf("ReadPacket: got %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took > time.Millisecond {
					t.Errorf("ReadPacket: got its end after %v, want it at once", took)
				}
				if err := <-writes; err == nil {
					t.Error("WritePacket: got nil, want an error")
				}
				if took := time.Since(began); took > redialTime {
					t.Errorf("WritePacket: got its end after %v, want it within %v", took, redialTime)
				}
			})
		})
	}
}

// TestPacketsNoLoop is a client that goes on sending where nothing works.
func TestPacketsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{}
		p := dialPackets(t, newSet(t, a))
		a.dial = func(context.Context) error { return errGone }
		a.lose()
		sent := 0
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if p.WritePacket([]byte("x"), target(t)) == nil {
				sent++
			}
		}
		if n := a.readies.Load() + a.dials.Load(); sent > 0 || n > 300 || n < 20 {
			t.Errorf("in an hour: got %d datagrams sent and %d attempts, want none and 20 to 300", sent, n)
		}
		// And it works as soon as it may.
		a.dial = nil
		for range 100 {
			if err := p.WritePacket([]byte("y"), target(t)); err == nil {
				a.nthPackets(t, 1).got(t, "y", target(t))
				return
			}
		}
		t.Error("a way that is there again: got no datagram through")
	})
}

// TestPacketsEnd is that what the exit says is the end.
func TestPacketsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{}
		p := dialPackets(t, newSet(t, a))
		over := errors.New("the association is over")
		a.nthPackets(t, 0).far.Break(over)
		if _, _, err := p.ReadPacket(make([]byte, transport.MaxPacket)); err != over {
			t.Errorf("ReadPacket: got %v, want %v", err, over)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
		if err := p.WritePacket(nil, target(t)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WritePacket: got %v, want net.ErrClosed", err)
		}
	})
}

// TestPacketsIdle is an association that the exit has ended, as nothing came for long: the
// client's goes on. One that ends unanswered was refused.
func TestPacketsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{}
		s := newSet(t, a)
		p := dialPackets(t, s)
		b := make([]byte, transport.MaxPacket)
		for i := range 3 {
			if err := p.WritePacket([]byte("x"), target(t)); err != nil {
				t.Fatalf("WritePacket: got %v, want nil", err)
			}
			far := a.nthPackets(t, i)
			_ = far.far.WritePacket([]byte("y"), target(t))
			if _, _, err := p.ReadPacket(b); err != nil {
				t.Fatalf("ReadPacket: got %v, want an answer", err)
			}
			_ = far.far.Close()
			_ = p.SetDeadline(time.Now().Add(time.Second))
			if _, _, err := p.ReadPacket(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("ReadPacket: got %v, want a time-out", err)
			}
			_ = p.SetDeadline(time.Time{})
		}
		if st := s.States()[0]; st.Failures != 0 {
			t.Errorf("failures: got %d, want 0", st.Failures)
		}
		_ = p.WritePacket([]byte("x"), target(t))
		_ = a.nthPackets(t, 3).far.Close()
		if _, _, err := p.ReadPacket(b); err != io.EOF {
			t.Errorf("ReadPacket: got %v, want the end", err)
		}
	})
}

// TestNoPackets is a way that carries none.
func TestNoPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{dial: func(context.Context) error { return transport.ErrNoPacket }}
		if _, err := newSet(t, a).DialPacket(t.Context()); !errors.Is(err, transport.ErrNoPacket) {
			t.Errorf("DialPacket: got %v, want transport.ErrNoPacket", err)
		}
	})
}
