package interop

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	rt "relay/transport"
	"relay/transport/hello"
)

// censor is what stands between clients and one server: the measures of 2025 and
// 2026, on loopback. It is a relay of TCP, so what it refuses has been accepted by its
// kernel before; an address that answers nothing at all is blackhole's.
type censor struct {
	t        *testing.T
	addr     string // where clients connect
	server   string
	listener net.Listener
	handlers sync.WaitGroup

	mu    sync.Mutex
	rules censorRules
	over  bool
	open  int // connections that clients have not left
	most  int // of them, so far
	flows []*crossing
	held  map[*net.TCPConn]struct{} // to be closed with the censor
}

// censorRules are what it does. The zero value lets everything pass.
type censorRules struct {
	// Connections is how many a client may have at a time, those that were silenced
	// among them; 0: as many as it likes.
	Connections int
	// Names are the server names that may pass; none: all.
	Names []string
	// Freeze is after how many bytes down nothing of a connection passes any more, and
	// nobody is told; 0: never. With FreezeMost it is drawn between the two.
	Freeze, FreezeMost int
	// FreezeDown has what goes up pass behind that.
	FreezeDown bool
	// Resets has the censor reset what is refused; otherwise it is silent.
	Resets bool
	// ResetHello refuses every connection at its hello, with a reset.
	ResetHello bool
}

// helloTime bounds a hello.
const helloTime = 20 * time.Second

// newCensor starts a censor in front of a server.
func newCensor(t *testing.T, server string, rules censorRules) *censor {
	t.Helper()
	return newCensorAt(t, "127.0.0.1:0", server, rules)
}

// newCensorAt is newCensor at an address.
func newCensorAt(t *testing.T, at, server string, rules censorRules) *censor {
	t.Helper()
	l, err := net.Listen("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	c := &censor{t: t, addr: l.Addr().String(), server: server, listener: l, rules: rules, held: map[*net.TCPConn]struct{}{}}
	c.handlers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.handlers.Go(func() { c.handle(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(c.close)
	return c
}

func (c *censor) close() {
	c.mu.Lock()
	c.over = true
	for conn := range c.held {
		abort(conn)
	}
	c.mu.Unlock()
	c.listener.Close()
	c.handlers.Wait()
	if c.t.Failed() {
		for i, f := range c.seen() {
			c.t.Logf("connection %d at the censor: %v", i+1, f)
		}
	}
}

// seen is a copy of what it has seen so far, the oldest connection first.
func (c *censor) seen() []crossing {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]crossing, len(c.flows))
	for i, f := range c.flows {
		out[i] = *f
		out[i].Records = slices.Clone(f.Records)
	}
	return out
}

// peak is how many connections were open at a time.
func (c *censor) peak() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// keep has the censor close a connection in the end. False: this is the end.
func (c *censor) keep(conn *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		abort(conn)
		return false
	}
	c.held[conn] = struct{}{}
	return true
}

// enter counts a connection and says what is to be done with it.
func (c *censor) enter() (f *crossing, rules censorRules, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rules = c.rules
	refused = rules.Connections > 0 && c.open >= rules.Connections
	c.open++
	c.most = max(c.most, c.open)
	f = &crossing{Began: time.Now()}
	c.flows = append(c.flows, f)
	return f, rules, refused
}

// handle serves one connection until the client has left it.
func (c *censor) handle(client *net.TCPConn) {
	if !c.keep(client) {
		return
	}
	f, rules, refused := c.enter()
	defer func() {
		client.Close()
		c.mu.Lock()
		c.open--
		f.Ended = time.Now()
		c.mu.Unlock()
	}()
	first, name, err := c.hello(client, f)
	switch {
	case err != nil:
		return
	case refused:
		c.refuse(client, f, "too many connections", rules.Resets)
		return
	case rules.ResetHello:
		c.refuse(client, f, "reset at the hello", true)
		return
	case len(rules.Names) > 0 && !slices.Contains(rules.Names, name):
		c.refuse(client, f, "name not allowed", rules.Resets)
		return
	}
	conn, err := net.Dial("tcp4", c.server)
	if err != nil {
		c.refuse(client, f, "no server", true)
		return
	}
	server := conn.(*net.TCPConn)
	if !c.keep(server) {
		return
	}
	if _, err := server.Write(first); err != nil {
		abort(client)
		return
	}
	c.pass(client, server, f, rules)
}

// hello reads a client's hello, in however many pieces, and whose it is. Something
// else than TLS has no name.
func (c *censor) hello(client *net.TCPConn, f *crossing) (read []byte, name string, err error) {
	_ = client.SetReadDeadline(time.Now().Add(helloTime))
	defer func() { _ = client.SetReadDeadline(time.Time{}) }()
	b := make([]byte, 4096)
	for hello.Match(read) == rt.More {
		n, err := client.Read(b)
		if err != nil {
			return nil, "", err
		}
		read = append(read, b[:n]...)
		c.note(f, true, b[:n])
	}
	record, _, ok := hello.Record(nil, read)
	if !ok {
		return read, "", nil
	}
	message := slices.Clone(hello.Message(record))
	h, err := hello.Parse(message)
	if err != nil {
		return read, "", nil
	}
	c.mu.Lock()
	f.Name, f.Hello = string(h.ServerName), message
	c.mu.Unlock()
	return read, string(h.ServerName), nil
}

// refuse ends a connection, or lets it wait for nothing.
func (c *censor) refuse(client *net.TCPConn, f *crossing, why string, resets bool) {
	c.mu.Lock()
	f.Refused = why
	c.mu.Unlock()
	if resets {
		abort(client)
		return
	}
	c.silence(client)
}

// silence holds a connection without a word until the client has left it. Nothing is
// read: what the client sends is not taken note of either.
func (c *censor) silence(client *net.TCPConn) {
	raw, err := client.SyscallConn()
	if err != nil {
		return
	}
	for {
		established := false
		err := raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			established = err == nil && info.State == unix.BPF_TCP_ESTABLISHED
		})
		if err != nil || !established {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// pass carries a connection until both directions have ended, or it is frozen.
func (c *censor) pass(client, server *net.TCPConn, f *crossing, rules censorRules) {
	limit := rules.Freeze
	if rules.FreezeMost > limit {
		limit += rand.IntN(rules.FreezeMost - limit + 1)
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		c.carry(server, client, f, true, 0)
	}()
	frozen := c.carry(client, server, f, false, limit)
	if frozen && rules.FreezeDown {
		_, _ = io.Copy(io.Discard, server) // what is dropped has arrived at its sender's
	} else if frozen {
		_ = client.SetReadDeadline(time.Unix(1, 0)) // ends the other direction
		_ = server.SetWriteDeadline(time.Unix(1, 0))
	}
	<-up
	if frozen {
		c.silence(client) // and the server is never told
		return
	}
	server.Close()
}

// carry copies one direction to its end, a half-close or a reset among them. With a
// limit it stops there, and says so.
func (c *censor) carry(dst, src *net.TCPConn, f *crossing, up bool, limit int) (frozen bool) {
	b, total := make([]byte, 64<<10), 0
	for {
		n, err := src.Read(b)
		if limit > 0 && total+n >= limit {
			n, frozen = limit-total, true
		}
		c.note(f, up, b[:n])
		total += n
		if _, werr := dst.Write(b[:n]); werr != nil && err == nil {
			err = werr
		}
		switch {
		case frozen:
			c.mu.Lock()
			f.Frozen = time.Now()
			c.mu.Unlock()
			return true
		case errors.Is(err, io.EOF):
			_ = dst.CloseWrite()
			return false
		case err != nil:
			if !isTimeout(err) { // that is the end of a frozen connection's
				abort(dst)
				abort(src)
			}
			return false
		}
	}
}

// abort closes with a reset.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

// blackhole is an address that answers no SYN: connecting to it hangs. It belongs to
// a listener whose queue is full.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 8 {
		c, err := net.DialTimeout("tcp4", at.String(), 500*time.Millisecond)
		if isTimeout(err) {
			return at.String()
		}
		if err != nil {
			t.Fatalf("filling the queue of %v: %v", &at, err)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("got 8 connections to a listener with a queue of none, want silence")
	return ""
}
