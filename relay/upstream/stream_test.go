package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// echo has both ends say something on a stream that stands.
func echo(t *testing.T, c transport.Conn, far *carried) {
	t.Helper()
	write(t, c, "ping")
	if got := far.got(t, 4); got != "ping" {
		t.Errorf("at the other end: got %q, want ping", got)
	}
	_, _ = far.far.Write([]byte("pong"))
	read(t, c, "pong")
}

// TestMove moves streams whose first connection is lost before anything came.
func TestMove(t *testing.T) {
	type world struct {
		t    *testing.T
		a, b *fake
		c    transport.Conn
	}
	for _, tt := range []struct {
		name  string
		early string
		do    func(w *world) // before the loss
		after func(w *world) // and what finds out
		want  string         // all that the second way gets
	}{
		{"client first, then it reads", "", func(w *world) { write(w.t, w.c, "hello") }, nil, "hello"},
		{"early payload", "early", func(*world) {}, nil, "early"},
		{"early payload and more", "early", func(w *world) {
			write(w.t, w.c, " and")
			write(w.t, w.c, " more")
		}, nil, "early and more"},
		{"server first", "", func(*world) {}, nil, ""},
		{"a write finds out", "x", func(*world) {}, func(w *world) {
			write(w.t, w.c, "y")
			write(w.t, w.c, "z")
		}, "xyz"},
		{"the end finds out", "x", func(*world) {}, func(w *world) {
			if err := w.c.CloseWrite(); err != nil {
				w.t.Errorf("CloseWrite: got %v, want nil", err)
			}
		}, "x"},
		{"waiting finds out", "x", func(*world) {}, func(w *world) {
			go func() {
				w.b.nth(w.t, 0)
				_, _ = w.b.nth(w.t, 0).far.Write([]byte("!"))
			}()
			if err := w.c.(transport.ReadWaiter).WaitRead(); err != nil {
				w.t.Errorf("WaitRead: got %v, want nil", err)
			}
			read(w.t, w.c, "!")
		}, "x"},
		{"as much as is kept", "", func(w *world) {
			for range mostKept / 1024 {
				write(w.t, w.c, strings.Repeat("k", 1024))
			}
		}, nil, strings.Repeat("k", mostKept)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, a: &fake{}, b: &fake{ready: after(300 * time.Millisecond)}}
				s := newSet(t, w.a, w.b)
				w.c = dial(t, s, tt.early)
				tt.do(w)
				w.a.lose()
				if tt.after != nil {
					tt.after(w)
				} else {
					_ = w.c.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := w.c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("Read: got %v, want a time-out on the new connection", err)
					}
					_ = w.c.SetReadDeadline(time.Time{})
				}
				far := w.b.nth(t, 0)
				if got := far.got(t, len(tt.want)); got != tt.want {
					t.Errorf("on the second way: got %d bytes %.20q, want %d", len(got), got, len(tt.want))
				}
				if got := far.rest(); got != "" {
					t.Errorf("on the second way: got %q more, want nothing twice", got)
				}
				if tt.name != "the end finds out" {
					echo(t, w.c, far)
				} else if _, err := far.far.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("on the second way: got %v, want the end", err)
				}
				if w.a.count() != 1 || w.b.count() != 1 {
					t.Errorf("streams: got %d and %d, want 1 and 1", w.a.count(), w.b.count())
				}
				_ = w.c.Close()
				if st := s.States(); st[0].Streams != 0 || st[1].Streams != 0 {
					t.Errorf("open streams: got %d and %d, want none", st[0].Streams, st[1].Streams)
				}
			})
		})
	}
}

// TestEndMoves carries an end over that was made before the loss.
func TestEndMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		c := dial(t, newSet(t, a, b), "question")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		a.lose()
		go func() {
			far := b.nth(t, 0)
			if q, err := io.ReadAll(far.far); string(q) != "question" || err != nil {
				t.Errorf("on the second way: got %q, %v, want the question and its end", q, err)
			}
			_, _ = far.far.Write([]byte("answer"))
			_ = far.far.Close()
		}()
		if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
			t.Errorf("answer: got %q, %v, want %q", got, err, "answer")
		}
	})
}

// TestDeadlinesMove carries deadlines over, and keeps them while the stream moves.
func TestDeadlinesMove(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ready time.Duration // of the second way
		at    time.Duration // the deadline
	}{
		{"after the move", time.Second, 4 * time.Second},
		{"during the move", 10 * time.Second, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := &fake{}, &fake{ready: after(tt.ready)}
				s := newSet(t, a, b)
				c := dial(t, s, "x")
				_ = c.SetDeadline(time.Now().Add(tt.at))
				began := time.Now()
				a.ready = refuse
				a.lose()
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != tt.at {
					t.Errorf("Read: got %v after %v, want a time-out after %v", err, time.Since(began), tt.at)
				}
				// So does who sets it while another waits.
				_ = c.SetReadDeadline(time.Time{})
				time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
				began = time.Now()
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("Read: got %v after %v, want a time-out after 1s", err, time.Since(began))
				}
				// And then it goes on.
				_ = c.SetDeadline(time.Time{})
				far := b.nth(t, 0)
				if got := far.got(t, 1); got != "x" {
					t.Errorf("on the second way: got %q, want x", got)
				}
				echo(t, c, far)
			})
		})
	}
}

// TestBothMove reads and writes while the connection is lost.
func TestBothMove(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			a, b := &fake{}, &fake{ready: after(50 * time.Millisecond)}
			c := dial(t, newSet(t, a, b), "")
			var all sync.WaitGroup
			all.Go(func() { read(t, c, "done") })
			all.Go(func() {
				for i := range 100 {
					write(t, c, string(rune('a'+i%26)))
					time.Sleep(time.Millisecond)
				}
			})
			time.Sleep(17 * time.Millisecond)
			a.lose()
			far := b.nth(t, 0)
			var want bytes.Buffer
			for i := range 100 {
				want.WriteByte(byte('a' + i%26))
			}
			if got := far.got(t, 100); got != want.String() {
				t.Errorf("on the second way: got %q, want %q", got, want.String())
			}
			_, _ = far.far.Write([]byte("done"))
			all.Wait()
			if got := far.rest(); got != "" {
				t.Errorf("on the second way: got %q more, want nothing", got)
			}
		})
	}
}

// TestCloseMoving closes a stream that is being moved, in order and not.
func TestCloseMoving(t *testing.T) {
	for name, end := range map[string]func(transport.Conn) error{
		"close": transport.Conn.Close,
		"abort": transport.Abort,
	} {
		t.Run(name, func(t *testing.T) {
			for _, at := range []string{"ready", "dial", "deaf dial"} {
				synctest.Test(t, func(t *testing.T) {
					a, b := &fake{}, &fake{}
					switch at {
					case "ready":
						b.ready = after(time.Second)
					case "dial":
						b.dial = after(time.Second)
					default:
						b.dial = func(context.Context) error { time.Sleep(time.Second); return nil }
					}
					s := newSet(t, a, b)
					c := dial(t, s, "x")
					results := make(chan error, 2)
					a.ready = refuse
					a.lose()
					go func() { _, err := c.Read(make([]byte, 1)); results <- err }()
					synctest.Wait()
					go func() { _, err := c.Write([]byte("y")); results <- err }()
					time.Sleep(500 * time.Millisecond)
					began := time.Now()
					if err := end(c); err != nil {
						t.Errorf("got %v, want nil", err)
					}
					for range 2 {
						if err := <-results; !errors.Is(err, net.ErrClosed) {
							t.Errorf("what waited: got %v, want net.ErrClosed", err)
						}
					}
					if took := time.Since(began); took != 0 {
						t.Errorf("what waited: got its end after %v, want it at once", took)
					}
					time.Sleep(time.Minute)
					if st := s.States(); st[0].Streams != 0 || st[1].Streams != 0 {
						t.Errorf("%s, afterwards: got %d and %d open streams, want none", at, st[0].Streams, st[1].Streams)
					}
					if at != "deaf dial" {
						if b.count() != 0 {
							t.Errorf("%s: got %d streams on the second way, want none", at, b.count())
						}
						return
					}
					_ = b.nth(t, 0).got(t, 1)
					if _, err := b.nth(t, 0).far.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("a stream that came too late: got %v, want its end", err)
					}
				})
			}
		})
	}
}

// TestPrefersOther is that a stream leaves the way whose connection was lost, even if
// that has more of them: what froze one may have frozen all.
func TestPrefersOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{ready: after(300 * time.Millisecond)}
		c := dial(t, newSet(t, a, b), "x")
		a.nth(t, 0).lose()
		time.AfterFunc(time.Second, func() { _, _ = b.nth(t, 0).far.Write([]byte("y")) })
		read(t, c, "y")
		if a.count() != 1 {
			t.Errorf("streams on the first way: got %d, want 1", a.count())
		}
	})
	// Where there is none, or it is slow, another connection will do.
	for _, b := range []*fake{{ready: refuse}, {ready: silent}} {
		synctest.Test(t, func(t *testing.T) {
			a, b := &fake{}, &fake{ready: b.ready}
			c := dial(t, newSet(t, a, b), "x")
			a.nth(t, 0).lose()
			began := time.Now()
			go func() { _, _ = a.nth(t, 1).far.Write([]byte("y")) }()
			read(t, c, "y")
			if took := time.Since(began); took > hedgeTime+20*time.Millisecond {
				t.Errorf("answer: got it after %v, want it within %v", took, hedgeTime)
			}
		})
	}
}

// TestBytes is what is counted of streams, moved or not.
func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		s := newSet(t, a, b)
		c := dial(t, s, "")
		write(t, c, "12345")
		a.lose()
		write(t, c, "678")
		far := b.nth(t, 0)
		_ = far.got(t, 8)
		_, _ = far.far.Write([]byte("answer"))
		read(t, c, "answer")
		write(t, c, "9")
		if up, down := s.Bytes(); up != 9 || down != 6 {
			t.Errorf("Bytes: got %d up, %d down, want 9 and 6", up, down)
		}
	})
}

// TestBelow is that Begun looks through layers.
func TestBelow(t *testing.T) {
	near, _ := relaytest.Pipe()
	c := &carried{Conn: near}
	if Begun(transport.NewPeeked(c)) {
		t.Error("Begun: got true, want false")
	}
	c.begun = true
	if !Begun(transport.NewPeeked(c)) {
		t.Error("Begun: got false, want true through a layer")
	}
	if Begun(near) {
		t.Error("Begun: got true, want false where nobody knows")
	}
}
