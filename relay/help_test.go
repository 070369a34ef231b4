package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

const (
	listenAddr = "10.0.0.1:1080"
	clientIP   = "198.51.100.7"
	targetAddr = "203.0.113.5:443"
)

// inbound is a protocol of one line, "WORD USER TARGET\n", and answers "ok\n",
// "no\n" or "what\n". The user "-" is nobody, "wrong" has no credential.
type inbound struct {
	word  string
	users map[string]auth.User
	// hold, if set, keeps Open from returning until it is closed.
	hold chan bool
}

func (in *inbound) Name() string { return in.word }

func (in *inbound) Match(prefix []byte) relay.Verdict {
	switch {
	case strings.HasPrefix(string(prefix), in.word):
		return relay.Yes
	case strings.HasPrefix(in.word, string(prefix)):
		return relay.More
	}
	return relay.No
}

func (in *inbound) Open(ctx context.Context, _ auth.User, c *transport.Peeked) (transport.Request, error) {
	line, err := readLine(c)
	if err != nil {
		return nil, err
	}
	if in.hold != nil {
		<-in.hold
	}
	f := strings.Fields(line)
	if len(f) != 3 {
		_, _ = io.WriteString(c, "what\n")
		return nil, relay.ErrBadRequest
	}
	if f[1] == "wrong" {
		_, _ = io.WriteString(c, "no\n")
		return nil, relay.ErrAuth
	}
	to, err := transport.ParseTarget(f[2])
	if err != nil {
		_, _ = io.WriteString(c, "what\n")
		return nil, fmt.Errorf("%w: %w", relay.ErrBadRequest, err)
	}
	return &request{c: c, user: in.users[f[1]], to: to}, nil
}

func readLine(c *transport.Peeked) (string, error) {
	for n := 1; ; n++ {
		b, err := c.Peek(n)
		if err != nil {
			return "", err
		}
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line := string(b[:i])
			c.Discard(i + 1)
			return line, nil
		}
		n = len(b)
	}
}

// request is an accepted line.
type request struct {
	c    *transport.Peeked
	user auth.User
	to   transport.Target
}

func (r *request) User() auth.User          { return r.user }
func (r *request) Target() transport.Target { return r.to }

func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	if _, err := io.WriteString(r.c, "ok\n"); err != nil {
		return nil, nil, err
	}
	return r.c, far, nil
}

func (r *request) Deny(error) error {
	_, err := io.WriteString(r.c, "no\n")
	return err
}

// rig is a relay in a memory network, with a target behind it.
type rig struct {
	t      *testing.T
	net    *relaytest.Network
	target net.Listener
	store  *auth.Store
	users  *auth.Users
	core   *splice.Core
	srv    *relay.Server
	in     *inbound
	set    relay.Settings
	log    safeBuffer
	ended  int64 // connections that a test has ended in order, beside the one it is about
}

// inRig runs f with fake time and a relay that change has adjusted. All of it
// must end with the relay's Shutdown: the bubble sees to that.
func inRig(t *testing.T, change func(*rig), f func(*rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: new(relaytest.Network), in: &inbound{word: "go", users: make(map[string]auth.User)}}
		log := r.logger()
		store, err := auth.OpenStore(dir)
		if err != nil {
			t.Fatalf("open the store: got %v, want nil", err)
		}
		r.store, r.users, r.core = store, auth.NewUsers(store, log), splice.New(0)
		r.target = r.listen(targetAddr)
		r.srv = relay.New(relay.Options{
			Log: log, Users: r.users, Splice: r.core,
			Listen: func(_ context.Context, addr string, _ int) (net.Listener, error) { return r.net.Listen(addr) },
		})
		r.set = relay.Settings{
			Listeners: []relay.Listener{{Address: listenAddr, Route: []relay.Candidate{r.in}}},
			Dialer:    r.net,
			Limits:    relay.Limits{Handshake: 10 * time.Second, Idle: time.Minute, Fin: 30 * time.Second},
		}
		if change != nil {
			change(r)
		}
		r.apply()
		f(r)
		r.shutdown(0)
		_ = r.target.Close()
		_ = r.users.Close()
		_ = store.Close()
		if got := r.srv.Snapshot(); got.Live != 0 || got.Flows != 0 {
			t.Errorf("after Shutdown: got %d live connections and %d flows, want none", got.Live, got.Flows)
		}
	})
}

// logger logs to r.log, at the default level.
func (r *rig) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&r.log, nil)) }

func (r *rig) apply() {
	r.t.Helper()
	if err := r.srv.Apply(r.set); err != nil {
		r.t.Fatalf("Apply: got %v, want nil", err)
	}
}

// shutdown drains for at most limit.
func (r *rig) shutdown(limit time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return r.srv.Shutdown(ctx)
}

func (r *rig) listen(addr string) net.Listener {
	r.t.Helper()
	ln, err := r.net.Listen(addr)
	if err != nil {
		r.t.Fatalf("Listen: got %v, want nil", err)
	}
	return ln
}

// user makes a user who is known to the inbound by name.
func (r *rig) user(name string, maxConns int) {
	r.t.Helper()
	rec := &auth.Record{Name: name, Key: auth.NewKey(), MaxConns: maxConns}
	if err := r.users.Add(rec); err != nil {
		r.t.Fatalf("add user: got %v, want nil", err)
	}
	u, err := r.users.Verify(r.t.Context(), "test", netip.Addr{}, name, rec.Password(r.users.Realm(), "test"))
	if err != nil {
		r.t.Fatalf("verify user: got %v, want nil", err)
	}
	r.in.users[name] = u
}

func (r *rig) dial() transport.Conn { return r.dialFrom(clientIP) }

func (r *rig) dialFrom(ip string) transport.Conn {
	r.t.Helper()
	c, err := r.net.DialFrom(r.t.Context(), netip.MustParseAddr(ip), listenAddr)
	if err != nil {
		r.t.Fatalf("dial the relay: got %v, want nil", err)
	}
	return c
}

// open makes a joined connection and returns both outer ends.
func (r *rig) open(user string) (client, server transport.Conn) {
	r.t.Helper()
	client = r.dial()
	r.say(client, "go "+user+" "+targetAddr+"\n", "ok\n")
	s, err := r.target.Accept()
	if err != nil {
		r.t.Fatalf("accept at the target: got %v, want nil", err)
	}
	return client, s.(transport.Conn)
}

// say writes and compares what comes back.
func (r *rig) say(c io.ReadWriter, question, want string) {
	r.t.Helper()
	if _, err := io.WriteString(c, question); err != nil {
		r.t.Errorf("say %q: got %v, want nil", question, err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		r.t.Errorf("answer to %q: got %q, %v, want %q", question, got[:n], err, want)
	}
}

// wantEnd checks how a connection ends for whoever reads it.
func (r *rig) wantEnd(c io.Reader, want error) {
	r.t.Helper()
	got, err := io.ReadAll(c)
	if err == nil {
		err = io.EOF
	}
	if len(got) > 0 || !errors.Is(err, want) {
		r.t.Errorf("end: got %q, %v, want no byte and %v", got, err, want)
	}
}

// wantEnds checks the counts of status words; those not named must be 0.
func (r *rig) wantEnds(want map[transport.Status]int64) {
	r.t.Helper()
	synctest.Wait()
	for word, got := range r.srv.Snapshot().Ends {
		if got != want[word] {
			r.t.Errorf("ends by %s: got %d, want %d", word, got, want[word])
		}
	}
}

// safeBuffer is a log's writer.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
