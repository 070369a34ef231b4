package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

var errRefused = errors.New("connection refused")

// fake is a way whose other end is the test.
type fake struct {
	name string
	// ready is what connecting does; nil: it works at once.
	ready func(ctx context.Context) error
	// dial is what opening a stream does first; nil: nothing.
	dial func(ctx context.Context) error
	// ask is what asking the other side says; nil: nobody asks.
	ask   func(ctx context.Context) error
	probe time.Duration

	mu      sync.Mutex
	live    bool
	readies atomic.Int32
	dials   atomic.Int32
	asks    atomic.Int32
	streams []*carried
	packets []*carriedPackets
	closed  bool
}

// carried is a stream of a fake: the end that the set has, and far, the other.
type carried struct {
	transport.Conn
	way *fake
	far *relaytest.Conn
	to  transport.Target

	mu    sync.Mutex
	lost  error
	begun bool
}

var errGone = fmt.Errorf("fake: %w: frozen", transport.ErrCarrier)

func (f *fake) way() Way {
	w := Way{Name: f.name, Key: "key of " + f.name, Dialer: f, Ready: f.connect, Live: f.isLive, Close: f.close, Probe: f.probe}
	if f.ask != nil {
		w.Ask = func(ctx context.Context) error { f.asks.Add(1); return f.ask(ctx) }
	}
	return w
}

func (f *fake) connect(ctx context.Context) error {
	f.readies.Add(1)
	if f.ready != nil {
		if err := f.ready(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = true
	return nil
}

func (f *fake) isLive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live
}

func (f *fake) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.lose()
}

// DialStream implements transport.Dialer.
func (f *fake) DialStream(ctx context.Context, to transport.Target, early []byte) (transport.Conn, error) {
	f.dials.Add(1)
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, errGone
	}
	if f.dial != nil {
		if err := f.dial(ctx); err != nil {
			return nil, err
		}
	}
	near, far := relaytest.PipeSize(2 * mostKept)
	c := &carried{Conn: near, way: f, far: far, to: to}
	if _, err := near.Write(early); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams = append(f.streams, c)
	return c, nil
}

// DialPacket implements transport.PacketDialer.
func (f *fake) DialPacket(ctx context.Context) (transport.PacketConn, error) {
	f.dials.Add(1)
	if f.dial != nil {
		if err := f.dial(ctx); err != nil {
			return nil, err
		}
	}
	near, far := relaytest.PacketPipe()
	c := &carriedPackets{PacketConn: near, far: far}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.packets = append(f.packets, c)
	return c, nil
}

// lose ends the connection of the way, as when it is reset.
func (f *fake) lose() {
	f.mu.Lock()
	f.live = false
	streams, packets := f.streams, f.packets
	f.mu.Unlock()
	for _, c := range streams {
		c.lose()
	}
	for _, p := range packets {
		p.lose()
	}
}

// nth waits for the nth stream of the way.
func (f *fake) nth(t *testing.T, n int) *carried {
	t.Helper()
	for range 2000 {
		f.mu.Lock()
		streams := f.streams
		f.mu.Unlock()
		if len(streams) > n {
			return streams[n]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: got no stream %d in 20 s, want one", f.name, n)
	return nil
}

// count is how many streams the way has got.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

func (c *carried) lose() {
	c.mu.Lock()
	c.lost = errGone
	c.mu.Unlock()
	_ = c.far.SetLinger(0)
	_ = c.far.Close()
}

// why is the carrier's error in place of the connection's.
func (c *carried) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.lost != nil {
		return c.lost
	}
	return err
}

// Read implements net.Conn.
func (c *carried) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.why(err)
}

// Write implements net.Conn.
func (c *carried) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.why(err)
}

// WaitRead implements transport.ReadWaiter.
func (c *carried) WaitRead() error { return c.why(transport.WaitRead(c.Conn)) }

// CloseWrite implements transport.Conn.
func (c *carried) CloseWrite() error { return c.why(c.Conn.CloseWrite()) }

// Begun is what a layer may know.
func (c *carried) Begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

// got reads n bytes at the other end.
func (c *carried) got(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	_ = c.far.SetReadDeadline(time.Now().Add(time.Minute))
	if m, err := io.ReadFull(c.far, b); err != nil {
		t.Errorf("%s: got %q and %v, want %d bytes", c.way.name, b[:m], err, n)
	}
	return string(b)
}

// rest reads what is there at the other end, and no more.
func (c *carried) rest() string {
	_ = c.far.SetReadDeadline(time.Now().Add(time.Millisecond))
	b, _ := io.ReadAll(c.far)
	_ = c.far.SetReadDeadline(time.Time{})
	return string(b)
}

type carriedPackets struct {
	*relaytest.PacketConn
	far *relaytest.PacketConn

	mu   sync.Mutex
	lost bool
}

func (p *carriedPackets) lose() {
	p.mu.Lock()
	p.lost = true
	p.mu.Unlock()
	p.far.Break(errGone)
}

// WritePacket implements transport.PacketConn.
func (p *carriedPackets) WritePacket(b []byte, to transport.Target) error {
	p.mu.Lock()
	lost := p.lost
	p.mu.Unlock()
	if lost {
		return errGone
	}
	return p.PacketConn.WritePacket(b, to)
}

// silent is a Ready of a way that is blocked: nothing answers.
func silent(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func refuse(context.Context) error { return errRefused }

// after is a Ready that takes its time.
func after(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func allowed(transport.Target) error { return nil }

// newSet makes a set of fakes, closed with the test's bubble.
func newSet(t *testing.T, fakes ...*fake) *Set {
	t.Helper()
	return newSetWith(t, Options{}, fakes...)
}

func newSetWith(t *testing.T, o Options, fakes ...*fake) *Set {
	t.Helper()
	for i, f := range fakes {
		if f.name == "" {
			f.name = string(rune('a' + i))
		}
		o.Ways = append(o.Ways, f.way())
	}
	if o.Check == nil {
		o.Check = allowed
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := New(o)
	t.Cleanup(s.Close)
	return s
}

func target(t *testing.T) transport.Target {
	t.Helper()
	to, err := transport.ParseTarget("www.example.org:443")
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func dial(t *testing.T, s *Set, early string) transport.Conn {
	t.Helper()
	c, err := s.DialStream(t.Context(), target(t), []byte(early))
	if err != nil {
		t.Fatalf("DialStream: got %v, want a stream", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c transport.Conn, s string) {
	t.Helper()
	if n, err := io.WriteString(c, s); n != len(s) || err != nil {
		t.Errorf("Write(%q): got %d, %v, want %d, nil", s, n, err, len(s))
	}
}

// read wants exactly s, however it comes.
func read(t *testing.T, c transport.Conn, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Errorf("Read: got %q, %v, want %q", b[:n], err, s)
	}
}

// logged is a log that a test reads.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
