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
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// direct dials the loopback targets of a test, from a reactor where there is one.
type direct struct{ net.Dialer }

func (d *direct) DialStream(ctx context.Context, to transport.Target, _ []byte) (transport.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (*direct) Direct(to transport.Target) (transport.Hop, bool, error) {
	ap, err := netip.ParseAddrPort(to.String())
	return transport.Hop{Addr: ap, Timeout: time.Second}, err == nil, nil
}

func (*direct) Failed(err error) error { return err }

// street is a relay with a public port and a cover, on sockets.
type street struct {
	t     *testing.T
	srv   *relay.Server
	cover net.Listener
	addr  string
}

func newStreet(t *testing.T, change func(l *relay.Listener)) *street {
	return newLimitedStreet(t, func(l *relay.Listener, _ *relay.Limits) {
		if change != nil {
			change(l)
		}
	})
}

// newUnixStreet has its cover at a unix socket.
func newUnixStreet(t *testing.T) *street {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cover")
	cover, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cover.Close() })
	_ = cover.SetDeadline(time.Now().Add(time.Minute))
	s := newStreet(t, func(l *relay.Listener) {
		if l.Cover.Dialer, err = relay.NewCoverDialer("unix:"+path, nil); err != nil {
			t.Fatal(err)
		}
	})
	s.cover = cover
	return s
}

func newLimitedStreet(t *testing.T, change func(*relay.Listener, *relay.Limits)) *street {
	t.Helper()
	relaytest.LeakCheck(t)
	cover, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = cover.SetDeadline(time.Now().Add(time.Minute))
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	users := auth.NewUsers(store, log)
	limits := relay.Limits{Handshake: 10 * time.Second, Idle: time.Minute, Fin: time.Minute, Backlog: 128}
	l := relay.Listener{
		Address: "127.0.0.1:0",
		Route:   []relay.Candidate{&relay.Carrier{Server: &hellos{}, Inside: []relay.Inbound{&inbound{word: "go"}}}},
		Cover:   &relay.Cover{Target: mustTarget(cover.Addr().String()), Dialer: &direct{}, Early: 100},
	}
	change(&l, &limits)
	srv := relay.New(relay.Options{Log: log, Users: users, Splice: splice.New(0)})
	err = srv.Apply(relay.Settings{
		Listeners: []relay.Listener{l}, Dialer: &direct{},
		Limits: limits,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		_ = cover.Close()
		_ = users.Close()
		_ = store.Close()
	})
	return &street{t: t, srv: srv, cover: cover, addr: srv.Addrs()[0].String()}
}

func (s *street) dial() *net.TCPConn {
	s.t.Helper()
	c := mustDial(s.t, "127.0.0.1", s.addr)
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func (s *street) accept() transport.Conn {
	s.t.Helper()
	c, err := s.cover.Accept()
	if err != nil {
		s.t.Fatalf("accept at the cover: got %v, want nil", err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(transport.Conn)
}

func (s *street) passes(from io.Writer, to io.Reader, say string) {
	s.t.Helper()
	if _, err := io.WriteString(from, say); err != nil {
		s.t.Errorf("write %.40q: got %v, want nil", say, err)
	}
	s.has(to, say)
}

func (s *street) has(c io.Reader, want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		s.t.Errorf("read: got %.40q, %v, want %.40q", got[:n], err, want)
	}
}

func (s *street) ends(c io.Reader) {
	s.t.Helper()
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		s.t.Errorf("end: got %q, %v, want no byte and an orderly end", got, err)
	}
}

// A stranger who makes room is gone, though the cover has been dialled for him, and so
// is that connection.
func TestStreetMakesRoom(t *testing.T) {
	s := newLimitedStreet(t, func(_ *relay.Listener, limits *relay.Limits) { limits.Connections = 2 })
	var silent, far []transport.Conn
	for range 2 {
		silent = append(silent, s.dial())
		far = append(far, s.accept())
	}
	for i := range silent {
		s.dial()
		if _, err := silent[i].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("stranger %d: got %v, want ECONNRESET", i, err)
		}
		if n, err := far[i].Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("at the cover, stranger %d: got %d bytes and %v, want an end", i, n, err)
		}
		s.accept()
	}
	until(t, "the others to be forgotten", func() bool {
		now := s.srv.Snapshot()
		return now.Live == 2 && now.Strangers == 0 && now.Flows == 0
	})
}

// A stranger and the cover see each other, on sockets too.
func TestStreetStranger(t *testing.T) {
	for _, say := range []string{"x", "\x16", "\x16\x03\x01\x00", record("who")[:60], record("who"), string(bytes.Repeat([]byte("junk"), 3000))} {
		t.Run(fmt.Sprint(len(say)), func(t *testing.T) {
			s := newStreet(t, nil)
			began := time.Now()
			c := s.dial()
			_, _ = io.WriteString(c, say)
			far := s.accept()
			s.has(far, say)
			waits := len(say) <= 60 && say[0] == 0x16
			if took := time.Since(began); waits && took < strangersClock {
				t.Errorf("the cover's connection: got it after %v, want %v", took, strangersClock)
			}
			s.passes(c, far, "more of it")
			s.passes(far, c, "an answer")
			_ = far.CloseWrite()
			s.ends(c)
			s.passes(c, far, "the rest")
			_ = c.CloseWrite()
			s.ends(far)
		})
	}
}

// What came in two pieces reaches the cover in two, so that it reads as it would
// have without us.
func TestStreetPieces(t *testing.T) {
	s := newStreet(t, nil)
	who := record("who")
	var n int
	for range 50 { // a cover that is late reads both at once
		c := s.dial()
		_, _ = io.WriteString(c, who[:60])
		read := make(chan int)
		go func() {
			far := s.accept()
			n, _ := far.Read(make([]byte, 1000))
			s.has(far, (who + "behind it")[n:])
			read <- n
		}()
		time.Sleep(20 * time.Millisecond) // it is in the relay by then
		_, _ = io.WriteString(c, who[60:]+"behind it")
		if n = <-read; n == 60 {
			return
		}
	}
	t.Errorf("the cover's first read: got %d bytes, want the 60 that came first", n)
}

func TestStreetReset(t *testing.T) {
	for _, early := range []string{"\x16", "junk"} {
		s := newStreet(t, nil)
		c := s.dial()
		_, _ = io.WriteString(c, early)
		far := s.accept()
		s.has(far, early)
		_ = transport.Abort(far)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the cover resets after %q: got %v, want ECONNRESET", early, err)
		}
		c = s.dial()
		_, _ = io.WriteString(c, early)
		far = s.accept()
		s.has(far, early)
		_ = transport.Abort(c)
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the visitor resets after %q: got %v, want ECONNRESET", early, err)
		}
	}
}

// onEveryStreet runs f with covers that are dialled from a reactor, and in a goroutine.
func onEveryStreet(t *testing.T, f func(t *testing.T, s *street)) {
	t.Run("tcp", func(t *testing.T) { f(t, newStreet(t, nil)) })
	t.Run("unix", func(t *testing.T) { f(t, newUnixStreet(t)) })
}

// Silence reaches the cover in time, and a hello is ours however late.
func TestStreetLateHello(t *testing.T) { onEveryStreet(t, lateHello) }

func lateHello(t *testing.T, s *street) {
	target, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	began := time.Now()
	c := s.dial()
	far := s.accept()
	if took := time.Since(began); took < strangersClock || took > 2*time.Second {
		t.Errorf("the cover's connection: got it after %v, want %v", took, strangersClock)
	}
	hello := record(helloSecret)
	for i := range 20 {
		s.passes(c, far, hello[i:i+1])
	}
	if _, err := io.WriteString(c, hello[20:]+"go - "+target.Addr().String()+"\n"); err != nil {
		t.Fatal(err)
	}
	s.ends(far)
	s.has(c, "ok\n")
	end, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	s.passes(c, end, "payload")
	s.passes(end, c, "answer")
}

// A user's round trip may be longer than the cover's clock.
func TestStreetSlowUser(t *testing.T) {
	target, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	_ = target.SetDeadline(time.Now().Add(20 * time.Second))
	for name, hello := range map[string]struct {
		split int
		after time.Duration
	}{"at once": {0, strangersClock / 2}, "in pieces": {50, strangersClock / 2}, "beside the cover": {50, 3 * strangersClock}} {
		t.Run(name, func(t *testing.T) {
			onEveryStreet(t, func(t *testing.T, s *street) {
				c := s.dial()
				text := record(helloSecret)
				_, _ = io.WriteString(c, text[:hello.split])
				time.Sleep(hello.after)
				_, _ = io.WriteString(c, text[hello.split:])
				time.Sleep(10 * strangersClock)
				_, _ = io.WriteString(c, "go - "+target.Addr().String()+"\n")
				s.has(c, "ok\n")
				far, err := target.Accept()
				if err != nil {
					t.Fatal(err)
				}
				_ = far.Close()
				s.ends(c)
				_ = c.Close()
			})
		})
	}
}

func TestStreetCoverAnswersFirst(t *testing.T) { onEveryStreet(t, coverAnswersFirst) }

func coverAnswersFirst(t *testing.T, s *street) {
	c := s.dial()
	hello := record(helloSecret)
	_, _ = io.WriteString(c, hello[:50])
	far := s.accept()
	s.has(far, hello[:50])
	s.passes(far, c, "what is this?")
	s.passes(c, far, hello[50:])
	_ = far.Close()
	s.ends(c)
}

// A cover that closes with something unread resets: it is to have at once what a
// stranger said at once.
func TestStreetMuchAtOnce(t *testing.T) {
	s := newStreet(t, nil)
	for _, n := range []int{14000, 17000, 20000, 30000} {
		c := s.dial()
		say := strings.Repeat("j", n)
		_, _ = io.WriteString(c, say)
		far := s.accept()
		s.has(far, say)
		raw, err := far.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
			if err != nil || info.Data_segs_in != 1 {
				t.Errorf("segments for %d bytes: got %d, %v, want 1", n, info.Data_segs_in, err)
			}
		})
		s.passes(c, far, "more")
		s.passes(far, c, "an answer")
		_, _ = c.Close(), far.Close()
	}
}

// Who goes on while the cover reads his first piece is not cut off.
func TestStreetMorePieces(t *testing.T) {
	s := newStreet(t, nil)
	for range 100 {
		c := s.dial()
		hello, rest := record("junk"), bytes.Repeat([]byte("more"), 200)
		_, _ = io.WriteString(c, hello[:50])
		time.Sleep(time.Millisecond)
		_, _ = io.WriteString(c, hello[50:])
		go func() {
			for i := range rest {
				_, _ = c.Write(rest[i : i+1])
				time.Sleep(10 * time.Microsecond)
			}
		}()
		far := s.accept()
		s.has(far, hello+string(rest))
		s.passes(far, c, "an answer")
		_, _ = c.Close(), far.Close()
	}
}
