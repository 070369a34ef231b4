package forward_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/forward"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// limit is how long anything here may take.
const limit = 10 * time.Second

// rig is a relay with one listener, which forwards.
type rig struct {
	t     *testing.T
	srv   *relay.Server
	ready chan struct{} // dialling waits for it
}

// startRelay runs the flow on a loopback port, with the real policy opened for
// loopback.
func startRelay(t *testing.T, target string) *rig {
	t.Helper()
	relaytest.LeakCheck(t)
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	users := auth.NewUsers(store, log)
	r := &rig{t: t, ready: make(chan struct{})}
	r.srv = relay.New(relay.Options{Log: log, Users: users, Splice: splice.New(0)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		r.srv.Shutdown(ctx)
		_ = users.Close()
		_ = store.Close()
	})
	r.apply(target)
	return r
}

// apply sets the target.
func (r *rig) apply(target string) {
	r.t.Helper()
	egress, err := policy.New(policy.Options{Config: policy.Config{Allow: []string{"127.0.0.0/8"}}, Own: r.srv.Own})
	if err != nil {
		r.t.Fatal(err)
	}
	to, err := transport.ParseTarget(target)
	if err != nil {
		r.t.Fatal(err)
	}
	err = r.srv.Apply(relay.Settings{
		Listeners: []relay.Listener{{Address: "127.0.0.1:0", Route: []relay.Candidate{&forward.Inbound{Target: to}}}},
		Dialer:    &waiting{Dialer: egress, ready: r.ready},
		Limits:    relay.Limits{Handshake: limit, Idle: time.Minute, Fin: limit, Backlog: 128},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) addr() string { return r.srv.Addrs()[0].String() }

// dial connects as a client.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		r.t.Fatalf("dial the relay: got %v, want nil", err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c.(*net.TCPConn)
}

// waiting is a dialer that does not begin before ready is closed.
type waiting struct {
	transport.Dialer
	ready chan struct{}
}

// DialStream implements transport.Dialer.
func (w *waiting) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	select {
	case <-w.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return w.Dialer.DialStream(ctx, to, early)
}

// listen is a target.
func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(limit))
	return ln.(*net.TCPListener)
}

func accept(t *testing.T, ln *net.TCPListener) *net.TCPConn {
	t.Helper()
	c, err := ln.AcceptTCP()
	if err != nil {
		t.Fatalf("accept at the target: got %v, want nil", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c
}

// passes writes at one end and reads at the other.
func passes(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Errorf("write %q: got %v, want nil", text, err)
	}
	got := make([]byte, len(text))
	if n, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Errorf("read: got %q, %v, want %q", got[:n], err, text)
	}
}

// wantEOF reads the end of one direction.
func wantEOF(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("end: got %q, %v, want no byte and an orderly end", got, err)
	}
}

// The target speaks first, to a client that says nothing.
func TestTargetSpeaksFirst(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, ln.Addr().String())
	close(r.ready)
	client := r.dial()
	server := accept(t, ln)
	passes(t, server, client, "220 mail.example.org\r\n")
	passes(t, client, server, "EHLO client.example.org\r\n")
	passes(t, server, client, "250 mail.example.org\r\n")
}

// What the client says while the target is being dialled gets there first.
func TestEarlyBytes(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, ln.Addr().String())
	client := r.dial()
	const early = "\x05\x01\x00 said before the target is reached; "
	if _, err := io.WriteString(client, early); err != nil {
		t.Fatal(err)
	}
	close(r.ready)
	server := accept(t, ln)
	if _, err := io.WriteString(client, "said later"); err != nil {
		t.Fatal(err)
	}
	_ = client.CloseWrite()
	if got, err := io.ReadAll(server); err != nil || string(got) != early+"said later" {
		t.Errorf("at the target: got %q, %v, want %q", got, err, early+"said later")
	}
}

// Either side may end its direction and go on reading.
func TestHalfClose(t *testing.T) {
	for _, first := range []string{"client", "target"} {
		t.Run(first, func(t *testing.T) {
			ln := listen(t)
			r := startRelay(t, ln.Addr().String())
			close(r.ready)
			client := r.dial()
			ends, stays := client, accept(t, ln)
			if first == "target" {
				ends, stays = stays, ends
			}
			passes(t, ends, stays, "all there is to say")
			_ = ends.CloseWrite()
			wantEOF(t, stays)
			passes(t, stays, ends, "an answer to it")
			_ = stays.CloseWrite()
			wantEOF(t, ends)
		})
	}
}

// A target that cannot be reached is a reset, never an empty answer; so is one
// that leads back to the relay, whatever the rules open.
func TestUnreachable(t *testing.T) {
	closed := listen(t)
	_ = closed.Close()
	for _, tt := range []struct {
		name   string
		target func(r *rig) string
		say    string
		want   transport.Status
	}{
		{"refused", func(*rig) string { return closed.Addr().String() }, "", transport.DialFailed},
		{"refused, early bytes", func(*rig) string { return closed.Addr().String() }, "hello", transport.DialFailed},
		{"policy", func(*rig) string { return "169.254.169.254:80" }, "", transport.Denied},
		{"itself", (*rig).addr, "", transport.Denied},
		{"itself by another address", func(r *rig) string {
			return netip.AddrPortFrom(netip.IPv4Unspecified(), netip.MustParseAddrPort(r.addr()).Port()).String()
		}, "", transport.Denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startRelay(t, "192.0.2.1:1")
			r.apply(tt.target(r))
			client := r.dial()
			if _, err := io.WriteString(client, tt.say); err != nil {
				t.Fatal(err)
			}
			close(r.ready)
			n, err := client.Read(make([]byte, 1))
			if n != 0 || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("at the client: got %d bytes, %v, want ECONNRESET", n, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			r.srv.Shutdown(ctx) // every connection is counted after it
			for word, got := range r.srv.Snapshot().Ends {
				if want := map[transport.Status]int64{tt.want: 1}[word]; got != want {
					t.Errorf("ends by %s: got %d, want %d", word, got, want)
				}
			}
		})
	}
}

// net/http talks to net/http as if there were nothing in between.
func TestNetHTTP(t *testing.T) {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	defer site.Close()
	r := startRelay(t, site.Listener.Addr().String())
	close(r.ready)
	c := site.Client()
	c.Timeout = limit
	defer c.CloseIdleConnections()
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.addr())
	}
	body := strings.Repeat("what the client uploads\n", 50000)
	for range 3 {
		resp, err := c.Post(site.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(got) != body {
			t.Errorf("answer: got %d bytes, %v, want the %d sent", len(got), err, len(body))
		}
	}
}
