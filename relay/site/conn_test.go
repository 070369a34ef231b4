package site

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// tcp returns two ends of a real connection: what is left in the kernel matters.
func tcp(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if far, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

// TestPeeked says plain HTTP to the TLS port: the answer is one and the same
// however many bytes were peeked at, and so is whether it ends in a reset.
func TestPeeked(t *testing.T) {
	relaytest.LeakCheck(t)
	s := newSite(t, Options{})
	const answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
	resets := 0
	for _, size := range []int{20, 100, 517, 518, 576, 577, 1024, 1025, 3000} {
		unpeeked := false
		for _, peek := range []int{0, 1, 5, 20, 100, 518, 2000} {
			near, far := tcp(t)
			if _, err := io.WriteString(near, "GET /"+strings.Repeat("x", size-5)); err != nil {
				t.Fatal(err)
			}
			p := transport.NewPeeked(far)
			_, _ = p.Peek(min(peek, size))
			s.Serve(p, time.Now(), closing(func() {}))
			got, err := io.ReadAll(near)
			reset := errors.Is(err, syscall.ECONNRESET)
			if peek == 0 {
				unpeeked = reset
			}
			if string(got) != answer || reset != unpeeked {
				t.Errorf("%d bytes, %d peeked at: got %q, %v, want the answer, and a reset: %v", size, peek, got, err, unpeeked)
			}
		}
		if unpeeked {
			resets++
		}
	}
	// crypto/tls has room for some 570 bytes when it finds out; the rest stays in
	// the kernel.
	if resets == 0 || resets == 9 {
		t.Errorf("sizes that end in a reset: got %d of 9, want some", resets)
	}
}

// TestPieces says hello and more to the site, in pieces: it ends as it does when
// nobody has peeked.
func TestPieces(t *testing.T) {
	relaytest.LeakCheck(t)
	s := newSite(t, Options{})
	hello := "\x16\x03\x01\x02\x01" + strings.Repeat("x", 513) // answered with an alert
	wire := hello + strings.Repeat("y", 500)
	resets := 0
	for _, first := range []int{1, 4, 5, 6, 300, 516, len(wire)} {
		unpeeked := false
		for _, peek := range []bool{false, true} {
			near, far := tcp(t)
			p := transport.NewPeeked(far)
			if !peek {
				s.Serve(p, time.Now(), closing(func() {}))
			}
			for piece := range strings.SplitSeq(wire[:first]+" "+wire[first:], " ") {
				if piece == "" {
					continue
				}
				if _, err := io.WriteString(near, piece); err != nil {
					t.Fatal(err)
				}
				if peek {
					_, _ = p.Peek(len(p.Unread()) + 1)
				} else {
					time.Sleep(20 * time.Millisecond) // it is read by then
				}
			}
			if peek {
				_, _ = p.Peek(len(hello))
				s.Serve(p, time.Now(), closing(func() {}))
			}
			_, err := io.ReadAll(near)
			reset := errors.Is(err, syscall.ECONNRESET)
			if !peek {
				unpeeked = reset
			} else if reset != unpeeked {
				t.Errorf("%d bytes first: got a reset: %v, want %v", first, reset, unpeeked)
			}
		}
		if unpeeked {
			resets++
		}
	}
	if resets == 0 || resets == 7 {
		t.Errorf("pieces that end in a reset: got %d of 7, want some", resets)
	}
}

func TestTakenRead(t *testing.T) {
	near, far := tcp(t)
	if _, err := io.WriteString(near, "hello"); err != nil {
		t.Fatal(err)
	}
	p := transport.NewPeeked(far)
	if _, err := p.Peek(5); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(near, " world"); err != nil {
		t.Fatal(err)
	}
	inner := transport.NewPeeked(p) // peeked at twice
	if _, err := inner.Peek(5); err != nil {
		t.Fatal(err)
	}
	c := take(inner, time.Time{}, closing(func() {}))
	defer c.Close()
	buf := make([]byte, 2)
	if n, err := c.Read(buf); string(buf[:n]) != "he" || err != nil {
		t.Errorf("first read: got %q, %v, want %q", buf[:n], err, "he")
	}
	buf = make([]byte, 100)
	if n, err := c.Read(buf); string(buf[:n]) != "llo world" || err != nil {
		t.Errorf("second read: got %q, %v, want what was peeked at and what has come since", buf[:n], err)
	}
	_ = near.CloseWrite()
	if n, err := c.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("end: got %d, %v, want EOF", n, err)
	}
}

// TestTakenCloseBetween closes when one of two pieces has been read: the other one
// had not come yet when a server that reads at once would have closed.
func TestTakenCloseBetween(t *testing.T) {
	near, far := tcp(t)
	p := transport.NewPeeked(far)
	for _, piece := range []string{"one", "two"} {
		_, _ = io.WriteString(near, piece)
		_, _ = p.Peek(len(p.Unread()) + 1)
	}
	c := take(p, time.Now(), closing(func() {}))
	if n, err := c.Read(make([]byte, 10)); n != 3 || err != nil {
		t.Errorf("read: got %d bytes, %v, want the first piece", n, err)
	}
	_ = c.Close()
	if _, err := io.ReadAll(near); err != nil {
		t.Errorf("peer: got %v, want an end", err)
	}
}

func TestTakenClose(t *testing.T) {
	for _, test := range []struct {
		name string
		read int
		want error
	}{{"all read", 5, nil}, {"some left", 4, syscall.ECONNRESET}, {"none read", 0, syscall.ECONNRESET}} {
		near, far := tcp(t)
		_, _ = io.WriteString(near, "hello")
		p := transport.NewPeeked(far)
		_, _ = p.Peek(5)
		c := take(p, time.Now(), closing(func() {}))
		_, _ = io.ReadFull(c, make([]byte, test.read))
		if err := c.Close(); err != nil {
			t.Errorf("%s: Close: got %v, want nil", test.name, err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: second Close: got %v, want %v", test.name, err, net.ErrClosed)
		}
		if _, err := io.ReadAll(near); !errors.Is(err, test.want) {
			t.Errorf("%s: peer: got %v, want %v", test.name, err, test.want)
		}
	}
}

// TestTakenInterrupt interrupts a connection that is being closed, through a layer: who
// does that may hold what the guest waits for.
func TestTakenInterrupt(t *testing.T) {
	near, far := tcp(t)
	var held sync.Mutex
	told := make(chan struct{})
	c := take(far, time.Now(), closing(func() {
		held.Lock()
		defer held.Unlock()
		close(told)
	}))
	held.Lock()
	transport.Interrupt(transport.NewPeeked(c))
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peer: got %v, want a reset", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("who serves it: got %v, want net.ErrClosed", err)
	}
	closed := make(chan struct{})
	go func() {
		_ = c.Close()
		close(closed)
	}()
	transport.Interrupt(c)
	select {
	case <-told:
		t.Error("guest: got told within Interrupt, want it by Close")
	default:
	}
	held.Unlock()
	<-closed
	<-told
}

// TestBytewise sends a handshake and a request one byte at a time.
func TestBytewise(t *testing.T) {
	s := newSite(t, Options{})
	c := tls.Client(bytewise{visit(t, s.Serve)}, clientTLS(s, "http/1.1"))
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+siteName+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(got), "\r\n\r\npage\n") {
		t.Errorf("got %q, %v, want the page", got, err)
	}
}

type bytewise struct{ net.Conn }

func (b bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
