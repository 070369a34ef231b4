package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
)

// udpPair is a UDP on loopback and who sends to it.
func udpPair(t testing.TB, network, address string) (u *UDP, peer *net.UDPConn) {
	t.Helper()
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		if err != nil {
			t.Skipf("%s: %v", network, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	u, err := NewUDP(listen())
	if err != nil {
		t.Fatal(err)
	}
	return u, listen()
}

func portOf(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func TestUDP(t *testing.T) {
	for _, tt := range []struct{ network, address string }{
		{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}, {"udp", "[::ffff:127.0.0.1]:0"},
	} {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			u, peer := udpPair(t, tt.network, tt.address)
			_ = u.SetDeadline(time.Now().Add(10 * time.Second))
			want := netip.AddrPortFrom(portOf(peer).Addr().Unmap(), portOf(peer).Port())
			b := make([]byte, packetSize)
			for _, size := range []int{5, 0, 1400, 65000} {
				said := bytes.Repeat([]byte{byte(size)}, size)
				if _, err := peer.WriteToUDPAddrPort(said, portOf(u)); err != nil {
					t.Fatal(err)
				}
				if err := u.WaitRead(); err != nil {
					t.Fatalf("wait: got %v, want nil", err)
				}
				n, from, ok, err := u.TryRead(b)
				if err != nil || !ok || !bytes.Equal(b[:n], said) || from != want {
					t.Errorf("%d bytes: got %d bytes from %v, %v, %v, want them from %v", size, n, from, ok, err, want)
				}
			}
		})
	}
}

func TestUDPWithout(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a read waits")
	}
	u, peer := udpPair(t, "udp4", "127.0.0.1:0")
	b := make([]byte, 100)
	try := func(what string, want bool) {
		t.Helper()
		if n, _, ok, err := u.TryRead(b); err != nil || ok != want {
			t.Errorf("%s: got %d bytes, %v, %v, want %v", what, n, ok, err, want)
		}
	}
	try("nothing there", false)
	for _, size := range []int{101, 100} {
		if _, err := peer.WriteToUDPAddrPort(make([]byte, size), portOf(u)); err != nil {
			t.Fatal(err)
		}
		try(fmt.Sprintf("%d bytes into 100", size), size <= len(b))
	}
	_ = u.SetDeadline(time.Now().Add(-time.Second))
	if err := u.WaitRead(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wait after the deadline: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	_ = u.Close()
	if err := u.WaitRead(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("wait after Close: got %v, want %v", err, net.ErrClosed)
	}
	if _, _, ok, err := u.TryRead(b); ok || !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: got %v, %v, want %v", ok, err, net.ErrClosed)
	}
}

func BenchmarkUDPRead(b *testing.B) {
	u, peer := udpPair(b, "udp4", "127.0.0.1:0")
	to, said, into := portOf(u), make([]byte, 1200), make([]byte, packetSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := peer.WriteToUDPAddrPort(said, to); err != nil {
			b.Fatal(err)
		}
		if err := u.WaitRead(); err != nil {
			b.Fatal(err)
		}
		if _, _, ok, err := u.TryRead(into); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
