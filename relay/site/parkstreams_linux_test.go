package site

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
	"relay/transport/h2"
	"relay/transport/web"
)

// patient is [streams] with time for who ends the other half later.
type patient struct{ streams }

func (p *patient) Stream(_ context.Context, _ auth.User, c transport.Conn) error {
	far, err := net.Dial("tcp4", p.to)
	if err != nil {
		return err
	}
	p.core.Join(c, far.(*net.TCPConn), splice.Limits{Fin: 20 * time.Second}, nil, func(e splice.End) { p.end <- e })
	return nil
}

// visitor is a user with connections to a site of our own, whose streams lead to
// targets.
type visitor struct {
	t       *testing.T
	dial    func() *h2.Conn
	conns   []*h2.Conn
	targets net.Listener
	ends    chan splice.End
	drawn   int
}

const streamsOfConn = 80

func newVisitor(t *testing.T, tick time.Duration) *visitor {
	t.Helper()
	v := &visitor{t: t, targets: loopback(t), ends: make(chan splice.End, 1000)}
	sink := &patient{streams{core: splice.New(tick), to: v.targets.Addr().String(), end: v.ends}}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		sink.core.Drain(ctx)
	})
	h := web.New(web.Options{
		Find: func(p string) (auth.User, bool) { return auth.User{ID: 1, Name: "alice"}, p == streamPassword },
		Sink: sink,
	})
	s := newSite(t, Options{Claims: []Claim{h.Claim}})
	v.dial = func() *h2.Conn {
		raw, given := between(t)
		s.Serve(given, time.Now(), closing(func() {}))
		c := h2.NewConn(tls.Client(raw, clientTLS(s, "h2")), &h2.Fingerprint{Settings: []h2.Setting{{ID: h2.SettingInitialWindowSize, Value: 4 << 20}}, Window: 64 << 20})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	return v
}

// request opens a stream.
func (v *visitor) request(c *h2.Conn, method, rest, body string, end bool) *h2.Stream {
	s, err := c.Open(v.t.Context(), h2.Head{Method: method, Scheme: "https", Authority: siteName, Path: "/" + streamPassword + "/" + rest, Fields: []h2.Field{
		{Name: "referer", Value: "https://" + siteName + "/?x_padding=" + strings.Repeat("X", 100)},
	}}, []byte(body), end)
	if err != nil {
		v.t.Errorf("Open: got %v, want a stream", err)
		runtime.Goexit()
	}
	return s
}

// carried is a stream of the visitor's and its target.
type carried struct {
	down   *h2.Stream
	up     func(text string)
	close  func() // of the uplink
	target *net.TCPConn
}

// carry opens one.
func (v *visitor) carry(mode string) *carried {
	v.t.Helper()
	if v.drawn%streamsOfConn == 0 {
		v.conns = append(v.conns, v.dial())
	}
	v.drawn++
	conn := v.conns[len(v.conns)-1]
	session := fmt.Sprintf("session%06d", v.drawn)
	c := new(carried)
	write := func(s *h2.Stream, text string) {
		if _, err := io.WriteString(s, text); err != nil {
			v.t.Errorf("Write: got %v, want nil", err)
		}
	}
	switch mode {
	case "stream-one":
		c.down = v.request(conn, "POST", "", "", false)
		c.up = func(text string) { write(c.down, text) }
		c.close = func() { _ = c.down.CloseWrite() }
	case "stream-up":
		c.down = v.request(conn, "GET", session, "", true)
		up := v.request(conn, "POST", session, "", false)
		c.up = func(text string) { write(up, text) }
		c.close = func() { _ = up.CloseWrite() }
	case "packet-up":
		c.down = v.request(conn, "GET", session, "", true)
		next := 0
		c.up = func(text string) {
			s := v.request(conn, "POST", fmt.Sprintf("%s/%d", session, next), text, true)
			next++
			if status, _, err := s.Response(v.t.Context()); status != 200 || err != nil {
				v.t.Errorf("piece: got %d, %v, want 200", status, err)
			}
			_, _ = io.Copy(io.Discard, s)
			_ = s.Close()
		}
	}
	far, err := v.targets.Accept()
	if err != nil {
		v.t.Fatalf("accept: got %v, want a connection", err)
	}
	c.target = far.(*net.TCPConn)
	v.t.Cleanup(func() { _ = far.Close(); _ = c.down.Close() })
	return c
}

// both passes something both ways.
func (c *carried) both(t *testing.T) {
	t.Helper()
	c.up("up the stream")
	b := make([]byte, len("up the stream"))
	_ = c.target.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c.target, b); err != nil || string(b) != "up the stream" {
		t.Fatalf("target: got %q, %v, want what was sent", b, err)
	}
	passes(t, c.target, c.down, "down again")
}

// TestParkedStreams leaves streams alone until nobody waits for them: then they cost no
// goroutine. Each goes on when either side speaks, and ends when either side does.
func TestParkedStreams(t *testing.T) {
	const many = 200
	for _, mode := range []string{"stream-one", "stream-up", "packet-up"} {
		t.Run(mode, func(t *testing.T) {
			relaytest.LeakCheck(t)
			v := newVisitor(t, 10*time.Millisecond)
			all := []*carried{v.carry(mode)}
			all[0].both(t)
			waitParked(t)
			few := runtime.NumGoroutine()
			for len(all) < many {
				all = append(all, v.carry(mode))
			}
			for range 2 {
				waitParked(t)
				if got := runtime.NumGoroutine() - few; got > many/10 {
					t.Errorf("goroutines for %d more streams at rest: got %d, want those of connections", many-1, got)
				}
				for _, c := range all {
					c.both(t)
				}
			}
			waitParked(t)
			for i, c := range all {
				switch i % 4 {
				case 0:
					_ = c.down.Close()
				case 1:
					_ = c.target.SetLinger(0)
					_ = c.target.Close()
				case 2:
					_ = c.target.CloseWrite()
					if b, err := io.ReadAll(c.down); len(b) > 0 || err != nil {
						t.Errorf("downlink: got %q, %v, want the end", b, err)
					}
					if c.close != nil {
						c.close()
					}
				case 3:
					if c.close == nil {
						_ = c.down.Close()
						continue
					}
					c.close()
					if b, err := io.ReadAll(c.target); len(b) > 0 || err != nil {
						t.Errorf("target: got %q, %v, want the end", b, err)
					}
					_ = c.target.Close()
				}
			}
			for range all {
				select {
				case e := <-v.ends:
					if e.Up != e.Down+6 && e.Up != e.Down+9 {
						t.Errorf("end: got %+v, want 13 bytes up and 10 down each time", e)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("ends: got none for 10 s, want one of each stream")
				}
			}
			for _, c := range v.conns {
				if err := c.Err(); err != nil {
					t.Errorf("connection: got %v, want none to have ended", err)
				}
			}
		})
	}
}

// TestParkedStorm: streams that are parked and woken all the time, by both ends and by
// ends, lose nothing.
func TestParkedStorm(t *testing.T) {
	relaytest.LeakCheck(t)
	v := newVisitor(t, time.Millisecond)
	var wg sync.WaitGroup
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for i := range 60 {
		c := v.carry([]string{"stream-one", "stream-up", "packet-up"}[i%3])
		random := rand.New(rand.NewPCG(4, uint64(i)))
		echoed := make(chan struct{})
		go func() {
			defer close(echoed)
			_, _ = io.Copy(struct{ io.Writer }{c.target}, struct{ io.Reader }{c.target})
			_ = c.target.Close()
		}()
		wg.Go(func() {
			for n := range rounds {
				text := fmt.Sprintf("%d of %d;", n, i)
				c.up(text)
				b := make([]byte, len(text))
				_ = c.down.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.ReadFull(c.down, b); err != nil || string(b) != text {
					t.Errorf("stream %d: got %q, %v, want %q", i, b, err, text)
					return
				}
				time.Sleep(time.Duration(random.IntN(6000)) * time.Microsecond)
			}
			if i%2 == 0 && c.close != nil {
				c.close()
				_, _ = io.Copy(io.Discard, c.down)
			}
			_ = c.down.Close()
			<-echoed
		})
	}
	wg.Wait()
	for range 60 {
		select {
		case <-v.ends:
		case <-time.After(10 * time.Second):
			t.Fatal("ends: got none for 10 s, want one of each stream")
		}
	}
}
