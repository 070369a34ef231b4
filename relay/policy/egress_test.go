package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/transport"
)

// sink accepts connections on loopback and says what each one sent.
type sink struct {
	port int
	got  chan string
}

func newSink(t testing.TB) *sink {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{port: l.Addr().(*net.TCPAddr).Port, got: make(chan string, 16)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				b, _ := io.ReadAll(c)
				_ = c.Close()
				select {
				case s.got <- string(b):
				default:
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return s
}

// closedPort is a port on 127.0.0.1 where nobody listens.
func closedPort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

var loopbackAllowed = Config{Allow: []string{"127.0.0.0/8", "::1"}}

func TestDialStream(t *testing.T) {
	s := newSink(t)
	config := loopbackAllowed
	config.Source = []string{"127.0.0.7"}
	for name, e := range map[string]*Egress{
		"plain":  newTest(t, Options{Config: loopbackAllowed}),
		"source": newTest(t, Options{Config: config}),
	} {
		for _, early := range []string{"", "hello", string(bytes.Repeat([]byte("x"), 4*unhurried))} {
			c, err := e.DialStream(t.Context(), target(t, fmt.Sprintf("127.0.0.1:%d", s.port)), []byte(early))
			if err != nil {
				t.Fatalf("%s: got %v, want a connection", name, err)
			}
			tc, ok := c.(*net.TCPConn)
			if !ok {
				t.Fatalf("%s: got a %T, want a *net.TCPConn", name, c)
			}
			want := "127.0.0.1"
			if name == "source" {
				want = "127.0.0.7"
			}
			if got := tc.LocalAddr().(*net.TCPAddr).IP.String(); got != want && runtime.GOOS == "linux" {
				t.Errorf("%s: dialled from %s, want %s", name, got, want)
			}
			_ = c.Close()
			if got := <-s.got; got != early {
				t.Errorf("%s: far side got %d bytes, want %d", name, len(got), len(early))
			}
		}
	}
}

func TestDialErrors(t *testing.T) {
	config := loopbackAllowed
	config.DialTimeout = 50 * time.Millisecond
	e := newTest(t, Options{Config: config})
	port := closedPort(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		target string
		want   error
	}{
		{"refused", t.Context(), fmt.Sprintf("127.0.0.1:%d", port), ErrRefused},
		{"refused name", t.Context(), fmt.Sprintf("localhost:%d", port), ErrRefused},
		{"denied", t.Context(), "10.0.0.1:443", ErrDenied},
		{"cancelled", cancelled, fmt.Sprintf("127.0.0.1:%d", port), context.Canceled},
		{"expired", expired, fmt.Sprintf("127.0.0.1:%d", port), ErrTimeout},
	}
	for _, tt := range tests {
		_, err := e.DialStream(tt.ctx, target(t, tt.target), nil)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			continue
		}
		if host, port, _ := net.SplitHostPort(tt.target); strings.Contains(err.Error(), host) || strings.Contains(err.Error(), port) {
			t.Errorf("%s: error %q contains the target", tt.name, err)
		}
	}
}

func TestClassify(t *testing.T) {
	op := func(errno error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(1, 2, 3, 4)}, Err: os.NewSyscallError("connect", errno)}
	}
	tests := []struct{ in, want error }{
		{op(syscall.ECONNREFUSED), ErrRefused},
		{op(syscall.ENETUNREACH), ErrNetUnreachable},
		{op(syscall.EAFNOSUPPORT), ErrNetUnreachable},
		{op(syscall.EADDRNOTAVAIL), ErrNetUnreachable},
		{op(syscall.EHOSTUNREACH), ErrHostUnreachable},
		{op(syscall.ETIMEDOUT), ErrTimeout},
		{op(syscall.EMFILE), syscall.EMFILE},
		{op(context.DeadlineExceeded), ErrTimeout},
		{os.ErrDeadlineExceeded, ErrTimeout},
		{&net.DNSError{IsTimeout: true, Name: "1.2.3.4"}, ErrTimeout},
		{context.Canceled, context.Canceled},
		{ErrResolve, ErrResolve},
	}
	if runtime.GOOS == "windows" {
		t.Skip("Unix numbers")
	}
	for _, tt := range tests {
		got := failure("dial", tt.in)
		if !errors.Is(got, tt.want) || strings.Contains(got.Error(), "1.2.3.4") {
			t.Errorf("%v: got %v, want %v without the target", tt.in, got, tt.want)
		}
	}
	if got := failure("dial", op(errors.New("to 1.2.3.4"))).Error(); got != "policy: dial: connection failed" {
		t.Errorf("unknown error: got %q, want none of its text", got)
	}
}

func TestOwnListenerDialled(t *testing.T) {
	s := newSink(t)
	own := []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(s.port))}
	e := newTest(t, Options{Config: loopbackAllowed, Own: func() []netip.AddrPort { return own }})
	for _, host := range []string{"127.0.0.1", "localhost"} {
		c, err := e.DialStream(t.Context(), target(t, fmt.Sprintf("%s:%d", host, s.port)), nil)
		if c != nil || reason(err) != "own listener" {
			t.Errorf("%s: got %v, %v, want a refusal", host, c, err)
		}
	}
}

func TestSystemInterfaces(t *testing.T) {
	addrs, err := interfaceAddrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("got %v, %v, want at least loopback", addrs, err)
	}
}

func BenchmarkDialStreamLiteral(b *testing.B) {
	s := newSink(b)
	e := newTest(b, Options{Config: loopbackAllowed})
	to := target(b, fmt.Sprintf("127.0.0.1:%d", s.port))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		c, err := e.DialStream(ctx, to, nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = transport.Abort(c)
	}
}
