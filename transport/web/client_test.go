package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/resolve"
)

// clientModes are those of a Client.
var clientModes = []string{ModeStreamOne, ModeStreamUp, ModePacketUp, ModeWebSocket}

// dialled is a stand with a Client to it.
type dialled struct {
	*stand
	*Client
	conns atomic.Int64 // made
	dial  func(ctx context.Context, to netip.AddrPort) (transport.Conn, error)
}

func newDialled(t *testing.T, mode string, sink transport.Sink) *dialled {
	t.Helper()
	d := &dialled{stand: newStand(t, true, sink), dial: DialTCP}
	addr := netip.MustParseAddrPort(d.Listener.Addr().String())
	pin := sha256.Sum256(d.Certificate().Raw)
	way := Way{
		Connect: []Place{{Host: addr.Addr().String(), Port: addr.Port()}}, SNI: "example.com", Authority: "example.com",
		Path: "/" + password + "/", Pins: [][32]byte{pin}, Version: H2, Mode: mode, Early: DefaultEarly,
		PostBytes: Bytes{1000000, 1000000}, PostInterval: Interval{30 * time.Millisecond, 30 * time.Millisecond},
	}
	names := resolve.NewCache(0)
	t.Cleanup(names.Close)
	d.Client = NewClient(ClientOptions{
		Way: way, Profile: browser.Bundled(), Names: names, Log: slog.New(slog.DiscardHandler),
		Connect: func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
			d.conns.Add(1)
			return d.dial(ctx, to)
		},
	})
	t.Cleanup(d.Client.Close)
	return d
}

func eachMode(t *testing.T, f func(t *testing.T, mode string)) {
	for _, m := range clientModes {
		t.Run(m, func(t *testing.T) { f(t, m) })
	}
}

func (d *dialled) open(t *testing.T, first string) transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := d.Open(ctx, []byte(first))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestClientEcho sends some megabytes through each mode and back.
func TestClientEcho(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		d := newDialled(t, mode, joined(echo))
		payload := random(3<<20 + 17)
		c := d.open(t, "hello")
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			if _, err := c.Write(payload); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got := make([]byte, 5+len(payload))
		if n, err := io.ReadFull(c, got); err != nil {
			t.Fatalf("got %d bytes and %v, want %d", n, err, len(got))
		}
		if !bytes.Equal(got, append([]byte("hello"), payload...)) {
			t.Error("got other bytes than were sent")
		}
		if mode == ModePacketUp {
			return // its end cannot be said
		}
		if n, err := c.Read(got); err != io.EOF {
			t.Errorf("after the end: got %d bytes and %v, want EOF", n, err)
		}
	})
}

// TestClientShares opens many streams, which share few connections.
func TestClientShares(t *testing.T) {
	for _, mode := range clientModes[:3] {
		t.Run(mode, func(t *testing.T) {
			d := newDialled(t, mode, joined(echo))
			var wg sync.WaitGroup
			for range 50 {
				c := d.open(t, "ping")
				wg.Go(func() {
					got := make([]byte, 4)
					if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
						t.Errorf("got %q and %v", got, err)
					}
				})
			}
			wg.Wait()
			if n := d.conns.Load(); n > mostCarriers {
				t.Errorf("got %d connections for 50 streams, want at most %d", n, mostCarriers)
			}
		})
	}
}

// TestClientTired has streams that last longer than their connections take new ones:
// others get connections as well, and then share what there is.
func TestClientTired(t *testing.T) {
	d := newDialled(t, ModeStreamOne, joined(echo))
	ping := func() transport.Conn {
		t.Helper()
		c := d.open(t, "ping")
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for range 2 * mostAlive {
		ping()
		d.mu.Lock()
		for _, k := range d.carriers {
			k.until = time.Now()
		}
		d.mu.Unlock()
	}
	if n := d.conns.Load(); n != mostAlive {
		t.Errorf("got %d connections, want %d", n, mostAlive)
	}
}

// TestClientRefused is a path that the server does not know. The stream can begin on
// another way, as where a CDN answers for an exit that is down.
func TestClientRefused(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		d := newDialled(t, mode, joined(echo))
		d.way.Path = "/nobodynobodynobody/"
		c, err := d.Open(t.Context(), []byte("x"))
		if err == nil {
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
		}
		if !errors.Is(err, transport.ErrCarrier) || strings.Contains(err.Error(), "nobody") {
			t.Errorf("got %v, want an error of the carrier without the path", err)
		}
		if mode == ModeWebSocket && !strings.Contains(err.Error(), "no WebSocket") {
			t.Errorf("got %v, want it to say that fronts may not pass WebSockets", err)
		}
		if c != nil && begun(c) {
			t.Error("begun: got true, want a stream that can move")
		}
	})
}

func begun(c transport.Conn) bool {
	b, ok := c.(interface{ Begun() bool })
	return ok && b.Begun()
}

// frozen is a connection that lets so many bytes through, and then none.
type frozen struct {
	transport.Conn
	left   atomic.Int64
	closed chan struct{}
	once   sync.Once
}

func (f *frozen) Read(b []byte) (int, error) {
	left := f.left.Load()
	if left <= 0 {
		<-f.closed
		return 0, net.ErrClosed
	}
	n, err := f.Conn.Read(b[:min(len(b), int(left))])
	f.left.Add(-int64(n))
	return n, err
}

func (f *frozen) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// TestClientFrozen has connections that freeze after 16 kB: a download fails within
// five seconds, and small answers come from then on.
func TestClientFrozen(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, sink transport.Sink) *dialled
	}{
		{ModeStreamOne, func(t *testing.T, sink transport.Sink) *dialled { return newDialled(t, ModeStreamOne, sink) }},
		{ModeWebSocket, func(t *testing.T, sink transport.Sink) *dialled { return newDialled(t, ModeWebSocket, sink) }},
		{"HTTP/1.1", newPlain},
	} {
		t.Run(c.name, func(t *testing.T) { t.Parallel(); clientFrozen(t, c.make) })
	}
}

func clientFrozen(t *testing.T, dialled func(*testing.T, transport.Sink) *dialled) {
	const limit = 16 << 10
	d := dialled(t, joined(func(c transport.Conn) {
		defer c.Close()
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		_, _ = c.Write(make([]byte, int(b[0])<<10))
		_, _ = io.Copy(io.Discard, c)
	}))
	var free atomic.Bool
	d.dial = func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
		c, err := DialTCP(ctx, to)
		if err != nil || free.Load() {
			return c, err
		}
		f := &frozen{Conn: c, closed: make(chan struct{})}
		f.left.Store(limit)
		return f, nil
	}
	c := d.open(t, "\xff")
	transport.AskBy(c, func() bool { _, err := c.Write([]byte("?")); return err == nil })
	began := time.Now()
	n, err := io.Copy(io.Discard, c)
	if took := time.Since(began); !errors.Is(err, transport.ErrCarrier) || took > 6*time.Second {
		t.Errorf("got %d bytes and %v after %v, want an error of the carrier within 5 s", n, err, took)
	}
	_ = c.Close()
	if !d.Limited() {
		t.Error("Limited: got false after a freeze, want true")
	}
	// Some last.
	for range mostLimited - 1 {
		c := d.open(t, "\x01")
		if n, err := io.ReadFull(c, make([]byte, 1<<10)); err != nil {
			t.Fatalf("got %d bytes and %v, want 1 KiB", n, err)
		}
		defer c.Close()
	}
	for i := range 20 {
		c := d.open(t, "\x08")
		if n, err := io.ReadFull(c, make([]byte, 8<<10)); err != nil {
			t.Fatalf("answer %d: got %d bytes and %v, want 8 KiB", i, n, err)
		}
		_ = c.Close()
	}
	free.Store(true)
	d.Client.mu.Lock()
	for len(d.plains.idle) > 0 {
		d.dropPlain(d.plains.idle[0]) // it was made under the limit
	}
	d.Client.mu.Unlock()
	c = d.open(t, "\xff")
	if n, err := io.ReadFull(c, make([]byte, 255<<10)); err != nil {
		t.Fatalf("without a limit: got %d bytes and %v, want 255 KiB", n, err)
	}
	for until := time.Now().Add(5 * time.Second); d.Limited(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("Limited: got true after 255 KiB, want false")
		}
	}
}

// TestClientBlackhole has a first address that never answers.
func TestClientBlackhole(t *testing.T) {
	d := newDialled(t, ModeStreamOne, joined(echo))
	live := d.way.Connect[0]
	d.way.Connect = []Place{{Host: "192.0.2.1", Port: 443}, live}
	d.dial = func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
		if to.Addr().String() == "192.0.2.1" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return DialTCP(ctx, to)
	}
	began := time.Now()
	c := d.open(t, "ping")
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("got the first byte after %v, want it within 3 s", took)
	}
}

// TestClientNoServer has nobody at the address, and a server that is another's.
func TestClientNoServer(t *testing.T) {
	d := newDialled(t, ModeStreamOne, joined(echo))
	d.Server.Close()
	if _, err := d.Open(t.Context(), nil); !errors.Is(err, transport.ErrCarrier) || !strings.Contains(err.Error(), "connect") {
		t.Errorf("got %v, want that it cannot be connected", err)
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	d = newDialled(t, ModeStreamOne, joined(echo))
	d.way.Pins = [][32]byte{{1}}
	if _, err := d.Open(t.Context(), nil); !errors.Is(err, transport.ErrCarrier) || !strings.Contains(err.Error(), "hello") {
		t.Errorf("got %v, want that the certificate is another's", err)
	}
}

// TestClientPieceLate has a piece that is sent when its stream has been closed. A server
// would wait for the stream, and keep the window of the connection meanwhile.
func TestClientPieceLate(t *testing.T) {
	d := newDialled(t, ModePacketUp, joined(echo))
	p := d.open(t, "ping").(*pieces)
	if _, err := io.ReadFull(p, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	done := make(chan error, 1)
	path := string(d.way.Path) + newSession() // the server has forgotten the stream's by then
	go func() { done <- p.send(path+"/7", &pieceBuffer{make([]byte, 2*mostUnread)}) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("got an answer, want an error")
		}
	case <-time.After(10 * time.Second):
		t.Error("got no end in 10s, want an error at once")
	}
}

// TestClientCollected has something on the way that collects requests before it passes
// them on, as CDNs do: a stream ends within seconds, and the next is in pieces.
func TestClientCollected(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeStreamOne, ModeStreamUp} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d := newDialled(t, mode, joined(echo))
			claim := d.Config.Handler
			d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && r.ContentLength < 0 {
					_, _ = io.Copy(io.Discard, r.Body)
					return
				}
				claim.ServeHTTP(w, r)
			})
			c := d.open(t, "ping")
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, transport.ErrCarrier) || !strings.Contains(err.Error(), "packet-up") {
				t.Errorf("got %v, want that the request is collected", err)
			}
			c = d.open(t, "ping")
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Errorf("the next stream: got %v", err)
			}
		})
	}
}

// TestClientUnread has downloads that nobody here reads: others get through.
func TestClientUnread(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		t.Parallel()
		d := newDialled(t, mode, joined(func(c transport.Conn) {
			defer c.Close()
			b := make([]byte, 1)
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			for b[0] == 'x' {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
			echo(c)
		}))
		for range 6 {
			c := d.open(t, "x")
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond) // what comes until its window is full
		}
		time.Sleep(6 * time.Second) // longer than a silent connection lives
		c := d.open(t, "eping")
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Errorf("beside six: got %v, want an answer", err)
		}
	})
}
