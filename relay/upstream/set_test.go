package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// TestChoice is which way the first stream takes, and when.
func TestChoice(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ways  []*fake
		want  string
		after time.Duration
	}{
		{"the first", []*fake{{}, {}}, "a", 0},
		{"the first is slow, but not slow enough", []*fake{{ready: after(1900 * time.Millisecond)}, {}}, "a", 1900 * time.Millisecond},
		{"the first fails at once", []*fake{{ready: refuse}, {}}, "b", 0},
		{"two fail at once", []*fake{{ready: refuse}, {ready: refuse}, {}}, "c", 0},
		{"the first is silent", []*fake{{ready: silent}, {ready: after(300 * time.Millisecond)}}, "b", 2300 * time.Millisecond},
		{"two are silent", []*fake{{ready: silent}, {ready: silent}, {}}, "c", 4 * time.Second},
		{"silent, then refused", []*fake{{ready: silent}, {ready: refuse}, {}}, "c", 4 * time.Second},
		{"the first answers after all", []*fake{{ready: after(3 * time.Second)}, {ready: silent}}, "a", 3 * time.Second},
		{"connected ones come first", []*fake{{}, {live: true}}, "b", 0},
		{"the first of the connected", []*fake{{live: true}, {live: true}}, "a", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSet(t, tt.ways...)
				began := time.Now()
				c := dial(t, s, "hello")
				if took := time.Since(began); took != tt.after {
					t.Errorf("DialStream: got a stream after %v, want %v", took, tt.after)
				}
				i := slices.IndexFunc(tt.ways, func(f *fake) bool { return f.count() > 0 })
				if got := tt.ways[i].name; got != tt.want {
					t.Errorf("way: got %s, want %s", got, tt.want)
				}
				write(t, c, " there")
				if got := tt.ways[i].nth(t, 0).got(t, 11); got != "hello there" {
					t.Errorf("at the other end: got %q, want %q", got, "hello there")
				}
			})
		})
	}
}

// TestShared is that all who wait for a way wait for one attempt, and that it goes on
// when they have gone.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{ready: after(time.Second)}
		s := newSet(t, a)
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			go func() {
				if _, err := s.DialStream(ctx, target(t), nil); err == nil {
					t.Error("DialStream: got a stream from a way that is not ready")
				}
			}()
		}
		time.Sleep(600 * time.Millisecond)
		began := time.Now()
		dial(t, s, "")
		if took := time.Since(began); took != 400*time.Millisecond || a.readies.Load() != 1 {
			t.Errorf("the next stream: got it after %v and %d attempts, want 400ms and 1", took, a.readies.Load())
		}
	})
}

func TestAllDead(t *testing.T) {
	for _, tt := range []struct {
		name string
		ways []*fake
		most time.Duration
		want []string
	}{
		{"refused", []*fake{{ready: refuse}, {ready: refuse}}, 0, []string{"a: connection refused", "b: connection refused"}},
		{"silent", []*fake{{ready: silent}, {ready: silent}}, 14 * time.Second, []string{"a: no answer", "b: no answer"}},
		{"ten are silent", slices.Repeat([]*fake{{ready: silent}}, 10), dialTime, []string{"no answer; ", "no answer yet", "not tried yet"}},
		{"ready, and no more", []*fake{{dial: func(context.Context) error { return errGone }}}, 5 * time.Second, []string{"a: fake: the carrier was lost: frozen"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i, f := range tt.ways {
					tt.ways[i] = &fake{ready: f.ready, dial: f.dial}
				}
				s := newSet(t, tt.ways...)
				began := time.Now()
				c, err := s.DialStream(t.Context(), target(t), []byte("hello"))
				if err == nil {
					t.Fatalf("DialStream: got %v, want an error", c)
				}
				if took := time.Since(began); took > tt.most {
					t.Errorf("DialStream: got %v after %v, want it after %v", err, took, tt.most)
				}
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error: got %q, want %q in it", err, want)
					}
				}
				// Afterwards it is known, and nobody waits that long again.
				for range 5 {
					began = time.Now()
					if _, err := s.DialStream(t.Context(), target(t), nil); err == nil {
						t.Fatal("DialStream: got a stream, want an error")
					}
					if took := time.Since(began); took > dialTime {
						t.Errorf("DialStream: got an error after %v, want it within %v", took, dialTime)
					}
				}
			})
		})
	}
}

// TestNoLoop counts what an hour of a client that tries again every 100 ms does.
func TestNoLoop(t *testing.T) {
	for _, tt := range []struct {
		name string
		way  func() *fake
		most int32 // attempts, or requests
	}{
		{"refused", func() *fake { return &fake{ready: refuse} }, 130},
		{"silent", func() *fake { return &fake{ready: silent} }, 130},
		{"refused after a while", func() *fake {
			return &fake{ready: func(ctx context.Context) error { _ = after(time.Second)(ctx); return errRefused }}
		}, 130},
		// A user who was removed: the connection is there, and each request fails.
		{"each stream fails at once", func() *fake { return &fake{dial: func(context.Context) error { return errGone }} }, 130},
		// Those who have waited for a connection use it at the same time.
		{"each connection ends with its first stream", func() *fake {
			f := &fake{}
			f.dial = func(context.Context) error { f.lose(); return errGone }
			return f
		}, 1000},
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
	for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60, 60} {
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
				// The next ones do not wait.
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

// spy is a direct dialer.
type spy struct {
	relaytest.Network
	asked []transport.Target
	limit time.Duration // of the context
}

func (s *spy) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	s.asked = append(s.asked, to)
	if at, ok := ctx.Deadline(); ok {
		s.limit = time.Until(at)
	}
	near, _ := relaytest.Pipe()
	return near, nil
}

func (s *spy) DialPacket(ctx context.Context) (transport.PacketConn, error) {
	s.asked = append(s.asked, transport.Target{})
	near, _ := relaytest.PacketPipe()
	return near, nil
}

// TestNoLeak is that targets are judged as they were written, that nothing is done for
// those that are refused, and that nothing goes out directly unasked.
func TestNoLeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var judged []transport.Target
		denied := errors.New("denied")
		a := &fake{}
		s := newSetWith(t, Options{Check: func(to transport.Target) error {
			judged = append(judged, to)
			return denied
		}}, a)
		if _, err := s.DialStream(t.Context(), target(t), []byte("x")); err != denied {
			t.Errorf("DialStream: got %v, want what the check says", err)
		}
		if len(judged) != 1 || judged[0] != target(t) || !judged[0].IsName() {
			t.Errorf("judged: got %v, want the name, once", judged)
		}
		if a.readies.Load()+a.dials.Load() != 0 {
			t.Errorf("for a target that is refused: got %d attempts and %d streams, want none", a.readies.Load(), a.dials.Load())
		}
		s.Judge(allowed, nil)
		dial(t, s, "x")
		if got := a.nth(t, 0).to; got != target(t) {
			t.Errorf("target on the way: got %v, want %v", got, target(t))
		}
	})
}

func TestDirect(t *testing.T) {
	for _, tt := range []struct {
		name   string
		way    *fake
		direct bool
		want   int
	}{
		{"not allowed", &fake{ready: refuse}, false, 0},
		{"not needed", &fake{}, true, 0},
		{"the way is refused", &fake{ready: refuse}, true, 1},
		{"the way is silent", &fake{ready: silent}, true, 1},
		{"the way ends each stream", &fake{dial: func(context.Context) error { return errGone }}, true, 1},
		{"the exit says no", &fake{dial: refuse}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &spy{}
				o := Options{}
				if tt.direct {
					o.Direct = d
				}
				s := newSetWith(t, o, tt.way)
				c, err := s.DialStream(t.Context(), target(t), nil)
				if err == nil {
					_ = c.Close()
				}
				p, perr := s.DialPacket(t.Context())
				if perr == nil {
					_ = p.Close()
				}
				if len(d.asked) != 2*tt.want {
					t.Errorf("direct: got %v, want %d streams and as many sockets", d.asked, tt.want)
				}
				if d.limit != 0 {
					t.Errorf("time for the direct way: got %v, want what the caller has", d.limit)
				}
				if tt.want == 0 {
					return
				}
				// Nobody is held back for a way that has failed.
				_, _ = s.DialStream(t.Context(), target(t), nil)
				began := time.Now()
				for range 3 {
					if _, err := s.DialStream(t.Context(), target(t), nil); err != nil || time.Since(began) > readyTime {
						t.Errorf("the next: got %v after %v, want a direct stream soon", err, time.Since(began))
					}
				}
			})
		})
	}
}

// TestJudge changes the rules while a stream lives.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{}
		s := newSet(t, a)
		c := dial(t, s, "x")
		p, err := s.DialPacket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		denied := errors.New("denied")
		go s.Judge(func(transport.Target) error { return denied }, nil)
		write(t, c, "y") // meanwhile
		synctest.Wait()
		if got := a.nth(t, 0).got(t, 2); got != "xy" {
			t.Errorf("the stream: got %q, want it to go on with %q", got, "xy")
		}
		if _, err := s.DialStream(t.Context(), target(t), nil); err != denied {
			t.Errorf("a new stream: got %v, want %v", err, denied)
		}
		if err := p.WritePacket([]byte("x"), target(t)); err != denied {
			t.Errorf("a datagram: got %v, want %v", err, denied)
		}
	})
}

// TestClose ends a set with everything under way; the bubble says if a goroutine is left.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &fake{}, &fake{ready: silent}, &fake{ready: refuse}
		s := newSet(t, a, b, c)
		begun := dial(t, s, "x")
		_, _ = a.nth(t, 0).far.Write([]byte("y"))
		read(t, begun, "y")
		waits := dial(t, s, "x")
		p, err := s.DialPacket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		results := make(chan error, 4)
		go func() { _, err := begun.Read(make([]byte, 1)); results <- err }()
		go func() { _, err := waits.Read(make([]byte, 1)); results <- err }()
		go func() { _, _, err := p.ReadPacket(make([]byte, 100)); results <- err }()
		synctest.Wait()
		a.ready = silent
		a.lose() // waits is moved: to b, which is silent
		go func() { _, err := s.DialStream(t.Context(), target(t), nil); results <- err }()
		time.Sleep(time.Second)
		began := time.Now()
		s.Close()
		for range 4 {
			if err := <-results; err == nil {
				t.Error("what was under way: got no error, want one")
			}
		}
		if _, err := s.DialStream(t.Context(), target(t), nil); !errors.Is(err, errStopped) {
			t.Errorf("afterwards: got %v, want %v", err, errStopped)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close: got everything ended after %v, want it at once", took)
		}
	})
}

// TestCanceled is that whoever asked does not wait longer than he wants to.
func TestCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, &fake{ready: silent})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if _, err := s.DialStream(ctx, target(t), nil); err == nil || time.Since(began) != time.Second {
			t.Errorf("DialStream: got %v after %v, want an error after 1s", err, time.Since(began))
		}
	})
}

// TestQuietLog is that nothing but names of ways is logged above the debug level: errors
// may have hosts in them.
func TestQuietLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(logged)
		hidden := errors.New("certificate is not for hidden.example")
		a := &fake{ready: func(context.Context) error { return hidden }}
		b := &fake{dial: func(context.Context) error { return fmt.Errorf("%w: %w", transport.ErrCarrier, hidden) }}
		s := newSetWith(t, Options{Log: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))}, a, b)
		for range 5 {
			_, _ = s.DialStream(t.Context(), target(t), nil)
			time.Sleep(time.Second)
		}
		if got := l.String(); !strings.Contains(got, "way=a") || !strings.Contains(got, "way=b") || strings.Contains(got, "example") {
			t.Errorf("log: got %s, want both ways and no host", got)
		}
		if st := s.States()[0]; st.Trouble != hidden.Error() {
			t.Errorf("state: got %q, want %q: it is for who asks", st.Trouble, hidden)
		}
	})
}

// TestOtherNetwork is that failures in one network say nothing in the next.
func TestOtherNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := "home"
		m := OpenMemory(t.TempDir()+"/ways.json", func() string { return network })
		a, b := &fake{ready: refuse}, &fake{}
		s := newSetWith(t, Options{Memory: m}, a, b)
		c := dial(t, s, "x")
		_, _ = b.nth(t, 0).far.Write([]byte("y"))
		read(t, c, "y")
		for range 10 {
			dial(t, s, "")
		}
		if n := a.readies.Load(); n != 1 {
			t.Fatalf("at home: got %d attempts on the first way, want 1", n)
		}
		network, a.ready = "work", nil
		b.lose()
		time.Sleep(lookTime)
		dial(t, s, "")
		if a.count() != 1 {
			t.Errorf("elsewhere: got %d streams on the first way, want 1", a.count())
		}
		// At home again it is remembered which one worked.
		network = "home"
		a.lose()
		time.Sleep(lookTime)
		dial(t, s, "")
		if n := b.count(); n != 12 {
			t.Errorf("at home again: got %d streams on the second way, want 12", n)
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
