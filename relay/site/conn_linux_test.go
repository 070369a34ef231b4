package site

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/relaytest"
	"relay/transport"
)

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
	go func() {
		s.Serve(transport.NewPeeked(far), time.Now())
		close(served)
	}()
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
