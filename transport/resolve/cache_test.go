package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a resolver whose answers a test chooses.
type scripted struct {
	asked  atomic.Int32
	answer func(ctx context.Context) (Answer, error)
}

func (s *scripted) Lookup(ctx context.Context, _ string) (Answer, error) {
	s.asked.Add(1)
	return s.answer(ctx)
}

// gives answers with one address at once.
func gives(addr string, ttl time.Duration) func(context.Context) (Answer, error) {
	return func(context.Context) (Answer, error) {
		return Answer{Addrs: []netip.Addr{netip.MustParseAddr(addr)}, TTL: ttl}, nil
	}
}

func fails(err error) func(context.Context) (Answer, error) {
	return func(context.Context) (Answer, error) { return Answer{}, err }
}

// hangs answers when it is cancelled.
func hangs(ctx context.Context) (Answer, error) {
	<-ctx.Done()
	return Answer{}, ctx.Err()
}

func look(t *testing.T, c *Cache, name string) string {
	t.Helper()
	start := time.Now()
	a, err := c.Lookup(t.Context(), name)
	return fmt.Sprint(a.Addrs, " ", err, " ", time.Since(start))
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func wantAsked(t *testing.T, what string, s *scripted, want int32) {
	t.Helper()
	if got := s.asked.Load(); got != want {
		t.Errorf("%s: got %d questions, want %d", what, got, want)
	}
}

func TestCacheTTL(t *testing.T) {
	for _, tt := range []struct {
		ttl  time.Duration
		want time.Duration // how long it holds
	}{{0, minTTL}, {time.Minute, time.Minute}, {48 * time.Hour, maxTTL}} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{answer: gives("1.1.1.1", tt.ttl)}
			c := NewCache(0, s)
			defer c.Close()
			want(t, "first", look(t, c, "a.test"), "[1.1.1.1] <nil> 0s")
			time.Sleep(tt.want - time.Nanosecond)
			want(t, "just before", look(t, c, "A.test."), "[1.1.1.1] <nil> 0s")
			wantAsked(t, "just before", s, 1)
			s.answer = gives("1.0.0.1", tt.ttl)
			time.Sleep(time.Nanosecond)
			want(t, "after", look(t, c, "a.test"), "[1.0.0.1] <nil> 0s")
			wantAsked(t, "after", s, 2)
		})
	}
}

func TestCacheNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: fails(ErrNotFound)}
		c := NewCache(0, s)
		defer c.Close()
		for range 3 {
			want(t, "missing", look(t, c, "a.test"), "[] resolve: the name has no address 0s")
		}
		wantAsked(t, "at once", s, 1)
		time.Sleep(negativeTTL)
		s.answer = gives("1.1.1.1", time.Minute)
		want(t, "then", look(t, c, "a.test"), "[1.1.1.1] <nil> 0s")
		wantAsked(t, "then", s, 2)
	})
}

// What worked yesterday is used while resolvers fail, lie or hang, and not for longer
// than a day.
func TestCacheStale(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(context.Context) (Answer, error)
		wait   string
	}{
		{"fails", fails(ErrFailed), "0s"},
		{"is gone", fails(ErrNotFound), "0s"},
		{"lies", fails(ErrPoisoned), "0s"},
		{"hangs", hangs, "1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{answer: gives("1.1.1.1", time.Minute)}
				c := NewCache(0, s)
				defer c.Close()
				look(t, c, "a.test")
				s.answer = tt.answer
				time.Sleep(time.Minute)
				want(t, "first", look(t, c, "a.test"), "[1.1.1.1] <nil> "+tt.wait)
				time.Sleep(defaultLimit)
				want(t, "while nobody is asked", look(t, c, "a.test"), "[1.1.1.1] <nil> 0s")
				wantAsked(t, "while nobody is asked", s, 2)
				time.Sleep(staleFor - time.Minute - defaultLimit - 2*time.Second)
				want(t, "within a day", look(t, c, "a.test"), "[1.1.1.1] <nil> "+tt.wait)
				time.Sleep(time.Minute)
				if _, err := c.Lookup(t.Context(), "a.test"); err == nil {
					t.Error("after a day: got an answer, want an error")
				}
			})
		})
	}
}

// A slow resolver's answer comes to those who ask after it.
func TestCacheRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: gives("1.1.1.1", time.Minute)}
		c := NewCache(0, s)
		defer c.Close()
		look(t, c, "a.test")
		s.answer = func(ctx context.Context) (Answer, error) {
			time.Sleep(1500 * time.Millisecond)
			return gives("1.0.0.1", time.Minute)(ctx)
		}
		time.Sleep(time.Minute)
		want(t, "old", look(t, c, "a.test"), "[1.1.1.1] <nil> 1s")
		want(t, "new", look(t, c, "a.test"), "[1.0.0.1] <nil> 500ms")
		wantAsked(t, "new", s, 2)
	})
}

func TestCacheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging, missing, good := &scripted{answer: hangs}, &scripted{answer: fails(ErrNotFound)}, &scripted{answer: gives("1.1.1.1", 0)}
		c := NewCache(2*time.Second, hanging, missing, good)
		defer c.Close()
		want(t, "third", look(t, c, "a.test"), "[1.1.1.1] <nil> 2s")
		good.answer = fails(ErrPoisoned)
		_, err := c.Lookup(t.Context(), "b.test")
		for _, kind := range []error{ErrTimeout, ErrNotFound, ErrPoisoned} {
			if !errors.Is(err, kind) {
				t.Errorf("all failing: got %v, want it to say %v", err, kind)
			}
		}
		if strings.Contains(err.Error(), "b.test") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %q, want one line without the name", err)
		}
	})
}

func TestCacheSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: func(ctx context.Context) (Answer, error) {
			time.Sleep(time.Second)
			return gives("1.1.1.1", time.Minute)(ctx)
		}}
		c := NewCache(0, s)
		defer c.Close()
		got := make(chan string)
		for range 50 {
			go func() {
				a, err := c.Lookup(context.Background(), "a.test")
				got <- fmt.Sprint(a.Addrs, err)
			}()
		}
		// One that leaves takes nobody else's answer away.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Lookup(ctx, "a.test"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("left: got %v, want its context's end", err)
		}
		for range 50 {
			want(t, "waiting", <-got, "[1.1.1.1] <nil>")
		}
		wantAsked(t, "all", s, 1)
	})
}

func TestCacheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: gives("1.1.1.1", time.Minute)}
		c := NewCache(0, s)
		defer c.Close()
		for i := range 3 * maxNames {
			look(t, c, fmt.Sprintf("n%d.test", i))
		}
		if len(c.names) > maxNames {
			t.Errorf("names: got %d, want %d at most", len(c.names), maxNames)
		}
		s.answer = hangs
		for i := range maxNames {
			go func() { _, _ = c.Lookup(t.Context(), fmt.Sprintf("h%d.test", i)) }()
		}
		synctest.Wait()
		if _, err := c.Lookup(t.Context(), "more.test"); !errors.Is(err, ErrFailed) {
			t.Errorf("full: got %v, want ErrFailed at once", err)
		}
	})
}

func TestCacheExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: gives("1.1.1.1", time.Hour)}
		c := NewCache(0, s)
		defer c.Close()
		c.Expire("a.test")
		look(t, c, "a.test")
		s.answer = gives("1.0.0.1", time.Hour)
		c.Expire("a.test")
		want(t, "too soon", look(t, c, "a.test"), "[1.1.1.1] <nil> 0s")
		time.Sleep(minTTL)
		c.Expire("A.test")
		want(t, "then", look(t, c, "a.test"), "[1.0.0.1] <nil> 0s")
		time.Sleep(time.Minute)
		s.answer = fails(ErrFailed)
		for range 10 {
			c.Expire("a.test")
			want(t, "failing", look(t, c, "a.test"), "[1.0.0.1] <nil> 0s")
		}
		wantAsked(t, "failing", s, 3)
	})
}

func TestCacheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: hangs}
		c := NewCache(time.Hour, s, s)
		done := make(chan error)
		go func() {
			_, err := c.Lookup(context.Background(), "a.test")
			done <- err
		}()
		synctest.Wait()
		c.Close()
		if err := <-done; err == nil {
			t.Error("waiting: got no error, want one")
		}
		if _, err := c.Lookup(t.Context(), "b.test"); !errors.Is(err, ErrFailed) {
			t.Errorf("after: got %v, want ErrFailed", err)
		}
	})
}

// Addresses and names that are none are nobody's business.
func TestCacheAsksNobody(t *testing.T) {
	s := &scripted{answer: gives("1.1.1.1", 0)}
	c := NewCache(0, s)
	defer c.Close()
	for _, tt := range []struct{ name, want string }{
		{"10.0.0.1", "[10.0.0.1] <nil>"},
		{"::ffff:1.2.3.4", "[1.2.3.4] <nil>"},
		{"2001:db8::1", "[2001:db8::1] <nil>"},
		{"", "[] this is not a host name"},
		{"a b.test", "[] this is not a host name"},
		{strings.Repeat("a.", 200) + "test", "[] this is not a host name"},
	} {
		a, err := c.Lookup(t.Context(), tt.name)
		want(t, tt.name, fmt.Sprint(a.Addrs, " ", err), tt.want)
	}
	wantAsked(t, "all", s, 0)
}
