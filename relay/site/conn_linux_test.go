package site

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/relaytest"
	"relay/transport"
)

// TestTakenUrgent sends an urgent byte: the read of a bare socket ends before it,
// whatever has come since, and so whoever judges what he read leaves the rest.
func TestTakenUrgent(t *testing.T) {
	near, far := tcp(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(near, "before")
	if werr := raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), []byte{'!'}, nil, nil, unix.MSG_OOB)
		return err != unix.EAGAIN
	}); werr != nil || err != nil {
		t.Fatalf("urgent byte: got %v, %v, want it sent", werr, err)
	}
	_, _ = io.WriteString(near, "behind")
	_ = near.CloseWrite()
	p := transport.NewPeeked(far)
	if got, err := p.Peek(1); string(got) != "before" || err != nil {
		t.Fatalf("peek: got %q, %v, want %q", got, err, "before")
	}
	c := take(p, time.Time{}, closing(func() {}))
	defer c.Close()
	buf := make([]byte, 100)
	for _, want := range []string{"before", "behind"} {
		if n, err := c.Read(buf); string(buf[:n]) != want || err != nil {
			t.Errorf("read: got %q, %v, want %q", buf[:n], err, want)
		}
	}
	if n, err := c.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("end: got %d, %v, want EOF", n, err)
	}
}

// TestKeepAlive serves a connection whose probes are the relay's, which are rare:
// they become Caddy's.
func TestKeepAlive(t *testing.T) {
	relaytest.LeakCheck(t)
	s := newSite(t, Options{})
	near, far := tcp(t)
	raw, err := far.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(name int) (value int) {
		_ = raw.Control(func(fd uintptr) { value, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name) })
		return value
	}
	if err := far.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 4 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	s.Serve(transport.NewPeeked(far), time.Now(), closing(func() { close(served) }))
	for until := time.Now().Add(5 * time.Second); option(unix.TCP_KEEPIDLE) != 15; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("first probe: got after %d s, want 15", option(unix.TCP_KEEPIDLE))
		}
	}
	if every, count := option(unix.TCP_KEEPINTVL), option(unix.TCP_KEEPCNT); every != 15 || count != 9 {
		t.Errorf("probes: got %d, every %d s, want 9, every 15 s", count, every)
	}
	_ = near.Close()
	<-served
}
