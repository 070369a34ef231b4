package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// muxInbound answers "mux USER\n" with a stream of requests that the test makes.
type muxInbound struct {
	*inbound
	requests chan transport.Request
}

func (in *muxInbound) Open(_ context.Context, _ auth.User, c *transport.Peeked) (transport.Request, error) {
	line, err := readLine(c)
	if err != nil {
		return nil, err
	}
	_, user, _ := strings.Cut(line, " ")
	if _, err := io.WriteString(c, "ok\n"); err != nil {
		return nil, err
	}
	return &muxRequest{request{c: c, user: in.users[user]}, in.requests}, nil
}

type muxRequest struct {
	request
	requests chan transport.Request
}

// Each ends with the stream, and what was opened in it ends then too.
func (r *muxRequest) Each(_ context.Context, open func(transport.Request)) error {
	defer r.c.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r.c)
		ended <- err
	}()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case req := <-r.requests:
			running.Go(func() { open(req) })
		case err := <-ended:
			return err
		}
	}
}

// innerRequest is a request in a stream, with a connection of its own.
type innerRequest struct {
	user   auth.User
	to     transport.Target
	near   transport.Conn
	denied chan error
}

func (r *innerRequest) User() auth.User          { return r.user }
func (r *innerRequest) Target() transport.Target { return r.to }
func (r *innerRequest) Deny(why error) error     { r.denied <- why; return nil }
func (r *innerRequest) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	return r.near, far, nil
}

// muxRig is a rig with a stream of requests.
type muxRig struct {
	*rig
	requests chan transport.Request
	stream   transport.Conn
	user     string // whose requests are made
}

func inMuxRig(t *testing.T, change func(*rig), f func(*muxRig)) {
	t.Helper()
	m := &muxRig{}
	inRig(t, func(r *rig) {
		m.rig, m.requests = r, make(chan transport.Request)
		r.in.word = "mux"
		r.set.Listeners[0].Route = []relay.Candidate{&muxInbound{r.in, m.requests}}
		if change != nil {
			change(r)
		}
	}, func(r *rig) {
		r.user("alice", 2)
		r.user("bob", 0)
		m.user = "alice"
		m.stream = r.dial()
		r.say(m.stream, "mux alice\n", "ok\n")
		f(m)
		_ = m.stream.Close()
		synctest.Wait()
	})
}

// ask makes a request in the stream; client is nil if it was denied, and why says so.
func (m *muxRig) ask(to string) (client transport.Conn, why error) {
	m.t.Helper()
	target, err := transport.ParseTarget(to)
	if err != nil {
		m.t.Fatal(err)
	}
	near, client := relaytest.Pipe()
	req := &innerRequest{user: m.in.users[m.user], to: target, near: near, denied: make(chan error, 1)}
	m.requests <- req
	synctest.Wait()
	select {
	case why := <-req.denied:
		return nil, why
	default:
		return client, nil
	}
}

// join makes a request that is accepted, and returns both outer ends.
func (m *muxRig) join() (client, server transport.Conn) {
	m.t.Helper()
	client, why := m.ask(targetAddr)
	if client == nil {
		m.t.Fatalf("request: got denied, %v, want accepted", why)
	}
	s, err := m.target.Accept()
	if err != nil {
		m.t.Fatal(err)
	}
	return client, s.(transport.Conn)
}

// Requests in a stream are connections of their own: they count, have the user's
// limit and end one by one, each with a line; the stream has no session.
func TestMultiplex(t *testing.T) {
	inMuxRig(t, nil, func(m *muxRig) {
		one, far := m.join()
		two, far2 := m.join()
		m.say(struct {
			io.Reader
			io.Writer
		}{far, one}, "hello", "hello")
		if got := m.srv.Snapshot(); got.Live != 3 || got.Flows != 2 {
			t.Errorf("snapshot: got %d live, %d flows, want 3, 2", got.Live, got.Flows)
		}
		// alice may have two sessions: the stream is none.
		if _, why := m.ask(targetAddr); !errors.Is(why, auth.ErrTooManyConns) {
			t.Errorf("a third one: got %v, want %v", why, auth.ErrTooManyConns)
		}
		_, _ = one.Close(), far.Close()
		synctest.Wait()
		if client, why := m.ask("203.0.113.99:1"); client != nil || !errors.Is(why, syscall.ECONNREFUSED) {
			t.Errorf("nobody there: got %v, want %v", why, syscall.ECONNREFUSED)
		}
		_, _ = two.Close(), far2.Close()
		synctest.Wait()
		_ = m.stream.Close()
		m.wantEnds(map[transport.Status]int64{transport.OK: 3, transport.OverLimit: 1, transport.DialFailed: 1})
		if got := m.log.String(); strings.Count(got, "connection ended") != 5 || !strings.Contains(got, "up=5") {
			t.Errorf("log: got %q, want five lines, one with the bytes", got)
		}
	})
}

func TestMultiplexEnds(t *testing.T) {
	disable := func(m *muxRig) {
		if _, err := m.users.Update("alice", func(rec *auth.Record) error { rec.Disabled = true; return nil }); err != nil {
			m.t.Error(err)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(m *muxRig)
		want map[transport.Status]int64
		wire error
	}{
		{"user cut", func(m *muxRig) { m.join(); disable(m) }, map[transport.Status]int64{transport.Cut: 2}, syscall.ECONNRESET},
		{"user not served any more", func(m *muxRig) {
			disable(m)
			if _, why := m.ask(targetAddr); !errors.Is(why, auth.ErrDisabled) {
				m.t.Errorf("request: got %v, want %v", why, auth.ErrDisabled)
			}
		}, map[transport.Status]int64{transport.Cut: 1, transport.Denied: 1}, syscall.ECONNRESET},
		{"silence", func(m *muxRig) { time.Sleep(61 * time.Second) }, map[transport.Status]int64{transport.Timeout: 1}, syscall.ECONNRESET},
		{"silence after a request", func(m *muxRig) {
			client, far := m.join()
			for range 3 { // longer than the limit of a stream without one
				time.Sleep(50 * time.Second)
				m.say(struct {
					io.Reader
					io.Writer
				}{far, client}, "x", "x")
			}
			_, _ = client.Close(), far.Close()
			time.Sleep(59 * time.Second)
			if live := m.srv.Snapshot().Live; live != 1 {
				m.t.Errorf("a second before: got %d live, want 1", live)
			}
			time.Sleep(2 * time.Second)
		}, map[transport.Status]int64{transport.OK: 1, transport.Timeout: 1}, syscall.ECONNRESET},
		{"drain without a request", func(m *muxRig) {
			began := time.Now()
			if m.shutdown(time.Minute); time.Since(began) > 4*time.Second {
				m.t.Errorf("Shutdown: got an end after %v, want 3s", time.Since(began))
			}
		}, map[transport.Status]int64{transport.Drained: 1}, syscall.ECONNRESET},
		{"drain with a request", func(m *muxRig) {
			client, far := m.join()
			done := make(chan bool)
			go func() { m.shutdown(time.Minute); close(done) }()
			time.Sleep(10 * time.Second)
			if _, why := m.ask(targetAddr); why == nil {
				m.t.Error("request while draining: got accepted, want denied")
			}
			_, _ = client.Close(), far.Close()
			<-done
		}, map[transport.Status]int64{transport.OK: 1, transport.Drained: 2}, syscall.ECONNRESET},
		{"hard drain", func(m *muxRig) { m.join(); m.shutdown(0) }, map[transport.Status]int64{transport.Drained: 2}, syscall.ECONNRESET},
		{"client", func(m *muxRig) { _ = m.stream.Close() }, map[transport.Status]int64{transport.OK: 1}, net.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inMuxRig(t, nil, func(m *muxRig) {
				tt.do(m)
				m.wantEnds(tt.want)
				if tt.wire != net.ErrClosed {
					m.wantEnd(m.stream, tt.wire)
				}
			})
		})
	}
}

// One stream has a bound of its own, and all connections have theirs.
func TestMultiplexBounds(t *testing.T) {
	for _, tt := range []struct {
		name        string
		connections int
		want        int
	}{{"stream", 0, 256}, {"relay", 11, 10}} {
		t.Run(tt.name, func(t *testing.T) {
			inMuxRig(t, func(r *rig) { r.set.Limits.Connections = tt.connections }, func(m *muxRig) {
				m.user = "bob"
				for i := range tt.want {
					if client, why := m.ask(targetAddr); client == nil {
						t.Fatalf("request %d: got %v, want accepted", i, why)
					}
				}
				if client, why := m.ask(targetAddr); client != nil {
					t.Errorf("one more: got accepted, %v, want denied", why)
				}
				if got := m.srv.Snapshot(); got.Live != tt.want+1 || got.Ends[transport.OverLimit] != 1 {
					t.Errorf("snapshot: got %d live, %d over the limit, want %d, 1", got.Live, got.Ends[transport.OverLimit], tt.want+1)
				}
			})
		})
	}
}
