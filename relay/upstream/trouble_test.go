package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// TestNoLoop counts what an hour of a client that tries again every 100 ms does.
func TestNoLoop(t *testing.T) {
	for _, tt := range []struct {
		name string
		way  func() *fake
		most int32 // attempts, or requests
	}{
		{"refused", func() *fake { return &fake{ready: refuse} }, 300},
		{"silent", func() *fake { return &fake{ready: silent} }, 300},
		{"refused after a while", func() *fake {
			return &fake{ready: func(ctx context.Context) error { _ = after(time.Second)(ctx); return errRefused }}
		}, 300},
		// A user who was removed: the connection is there, and each request fails.
		{"each stream fails at once", func() *fake { return &fake{dial: func(context.Context) error { return errGone }} }, 300},
		{"each connection ends with its first stream", func() *fake {
			f := &fake{}
			f.dial = func(context.Context) error { f.lose(); return errGone }
			return f
		}, 600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := tt.way(), tt.way()
				s := newSet(t, a, b)
				for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
					go func() {
						began := time.Now()
						c, err := s.DialStream(t.Context(), target(t), nil)
						if err == nil {
							_ = c.Close()
							t.Error("DialStream: got a stream, want an error")
						}
						if took := time.Since(began); took > dialTime {
							t.Errorf("DialStream: got %v after %v, want it within %v", err, took, dialTime)
						}
					}()
				}
				time.Sleep(dialTime)
				for _, f := range []*fake{a, b} {
					if n := f.readies.Load() + f.dials.Load(); n > tt.most || n < 20 {
						t.Errorf("way %s: got %d attempts and %d streams in an hour, want 20 to %d", f.name, f.readies.Load(), f.dials.Load(), tt.most)
					}
				}
			})
		})
	}
}

// TestBackoff is how long a way is left alone.
func TestBackoff(t *testing.T) {
	var w way
	now := time.Now()
	for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 20, 20, 20, 20} {
		want *= time.Second
		seen := map[time.Duration]bool{}
		for range 200 {
			w.failures, w.failed = i, now
			w.trouble(now, errRefused)
			wait := w.retry.Sub(now)
			if wait < want/2 || wait > want*3/2 {
				t.Fatalf("failure %d: got a wait of %v, want %v to %v", i+1, wait, want/2, want*3/2)
			}
			seen[wait] = true
		}
		if want > 0 && len(seen) < 100 {
			t.Errorf("failure %d: got %d different waits of 200, want no rhythm", i+1, len(seen))
		}
	}
	w.trouble(now.Add(forgetTime+time.Second), errRefused)
	if w.failures != 1 {
		t.Errorf("failures after a long time: got %d, want 1", w.failures)
	}
}

// TestComesBack is that a way which was down is used as soon as it may be tried.
func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up bool
		a := &fake{}
		a.ready = func(context.Context) error {
			if !up {
				return errRefused
			}
			return nil
		}
		s := newSet(t, a)
		for range 20 {
			began := time.Now()
			if c, err := s.DialStream(t.Context(), target(t), nil); err == nil {
				t.Fatalf("DialStream: got %v, want an error", c)
			}
			if took := time.Since(began); took > mostHeld {
				t.Errorf("DialStream: got an error after %v, want it within %v", took, mostHeld)
			}
		}
		up = true
		began := time.Now()
		for time.Since(began) < 2*mostBackoff {
			if c, err := s.DialStream(t.Context(), target(t), []byte("x")); err == nil {
				_, _ = a.nth(t, 0).far.Write([]byte("y"))
				read(t, c, "y")
				// It has answered: the next ones do not wait.
				again := time.Now()
				dial(t, s, "y")
				if took := time.Since(again); took != 0 {
					t.Errorf("the second stream: got it after %v, want it at once", took)
				}
				_ = c.Close()
				return
			}
		}
		t.Errorf("a way that is there again: got no stream in %v", time.Since(began))
	})
}

// TestTrouble is who is preferred after a connection was lost.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		s := newSet(t, a, b)
		c := dial(t, s, "x")
		_ = a.nth(t, 0).got(t, 1)
		_, _ = a.nth(t, 0).far.Write([]byte("y"))
		read(t, c, "y")
		a.lose()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, transport.ErrCarrier) {
			t.Fatalf("Read: got %v, want that of the carrier", err)
		}
		dial(t, s, "")
		if b.count() != 1 {
			t.Fatalf("after a loss: got %d streams on the other way, want 1", b.count())
		}
		// Later the first may be as good as the other: the one that works stays.
		time.Sleep(forgetTime + time.Second)
		c = dial(t, s, "x")
		_, _ = b.nth(t, 1).far.Write([]byte("y"))
		read(t, c, "y")
		if b.count() != 2 {
			t.Errorf("much later: got %d streams on the way in use, want 2", b.count())
		}
		b.lose()
		b.ready = refuse
		dial(t, s, "")
		if a.count() != 2 {
			t.Errorf("when that is lost: got %d streams on the first way, want 2", a.count())
		}
		st := s.States()
		if st[0].Name != "a" || !st[0].Live || st[0].Streams != 2 || st[0].Opened != 2 || st[0].Trouble == "" {
			t.Errorf("state of the first: got %+v, want it live, with two streams and its trouble", st[0])
		}
		if st[1].Live || st[1].Failures != 1 || st[1].Trouble != errRefused.Error() {
			t.Errorf("state of the second: got %+v, want it down, once refused", st[1])
		}
	})
}

// TestLateLoss is that a stream which hears late of the loss of an older connection says
// nothing about the one that is there.
func TestLateLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		s := newSet(t, a, b)
		old := dial(t, s, "x")
		_, _ = a.nth(t, 0).far.Write([]byte("y"))
		read(t, old, "y")
		a.mu.Lock()
		a.live = false // nobody has noticed
		a.mu.Unlock()
		time.Sleep(time.Second)
		b.ready = refuse
		dial(t, s, "")
		a.nth(t, 0).lose()
		if _, err := old.Read(make([]byte, 1)); !errors.Is(err, transport.ErrCarrier) {
			t.Fatalf("Read: got %v, want that of the carrier", err)
		}
		if st := s.States()[0]; st.Failures != 0 {
			t.Errorf("failures of the way: got %d, want 0", st.Failures)
		}
	})
}

// TestOneLoss is that a connection which was lost with many streams is one failure.
func TestOneLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{}
		s := newSet(t, a)
		var all []transport.Conn
		for i := range 20 {
			c := dial(t, s, "x")
			_, _ = a.nth(t, i).far.Write([]byte("y"))
			read(t, c, "y")
			all = append(all, c)
		}
		time.Sleep(time.Second)
		a.lose()
		for _, c := range all {
			_, _ = c.Read(make([]byte, 1))
			time.Sleep(100 * time.Millisecond)
		}
		if st := s.States()[0]; st.Failures != 1 {
			t.Errorf("failures of the way: got %d, want 1", st.Failures)
		}
		// A new one that works makes it forgotten, and one that only connects does not.
		c := dial(t, s, "x")
		if st := s.States()[0]; st.Failures != 1 {
			t.Errorf("failures once connected: got %d, want 1", st.Failures)
		}
		_, _ = a.nth(t, 20).far.Write([]byte("y"))
		read(t, c, "y")
		if st := s.States()[0]; st.Failures != 0 {
			t.Errorf("failures after an answer: got %d, want 0", st.Failures)
		}
	})
}

// TestPlain is what people get to see of an error that others may have worded.
func TestPlain(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"connection refused", "connection refused"},
		{"two\nlines\tand \x1b[31mred\x1b[0m", "two lines and  [31mred [0m"},
		{"no text: \xff\xfe", "no text: ?"},
		{"\u202eturned", " turned"},
		{strings.Repeat("ж", mostSaid), strings.Repeat("ж", mostSaid/2) + "…"},
	} {
		if got := plain(errors.New(tt.text)); got != tt.want {
			t.Errorf("plain(%q): got %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestTrial is how many of those who wait get a way that has failed more than once: one,
// and the others when it has answered.
func TestTrial(t *testing.T) {
	for _, answers := range []bool{false, true} {
		t.Run(fmt.Sprint("answers ", answers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &fake{ready: refuse}
				s := newSet(t, a)
				for range 2 {
					if err := s.Warm(t.Context()); err == nil {
						t.Fatal("Warm: got a way, want none")
					}
				}
				a.ready = nil
				time.Sleep(2 * time.Second)
				for range 10 {
					go func() {
						if c, err := s.DialStream(t.Context(), target(t), []byte("x")); err == nil {
							_, _ = c.Read(make([]byte, 1))
						}
					}()
				}
				time.Sleep(trialTime / 2)
				if n := a.count(); n != 1 {
					t.Errorf("at first: got %d streams, want 1", n)
				}
				want := 2
				if answers {
					want = 10
					_, _ = a.nth(t, 0).far.Write([]byte("y"))
				}
				time.Sleep(trialTime / 2)
				synctest.Wait()
				if n := a.count(); n != want {
					t.Errorf("after %v: got %d streams, want %d", trialTime, n, want)
				}
			})
		})
	}
}

// TestRelapse is for how long failures count where what answers does not hold.
func TestRelapse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // since the failures
		err   error
		want  int
	}{
		{"lost as others are", 10 * time.Second, transport.ErrCarrier, 1},
		{"not held", 10 * time.Second, transport.ErrUnsound, 4},
		{"not held, much later", relapseTime, transport.ErrUnsound, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSet(t, &fake{})
				w := s.ways[0]
				for range 3 {
					s.lost(w, time.Now(), errGone)
				}
				time.Sleep(tt.after)
				s.worked(w)
				if w.failures != 0 {
					t.Errorf("failures after an answer: got %d, want 0", w.failures)
				}
				if s.lost(w, time.Now(), fmt.Errorf("way: %w", tt.err)); w.failures != tt.want {
					t.Errorf("failures: got %d, want %d", w.failures, tt.want)
				}
			})
		})
	}
}
