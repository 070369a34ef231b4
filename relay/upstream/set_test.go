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
