package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"relay/relay/relaytest"
	"relay/transport"
)

// udpEcho answers on loopback with what it got, from the socket that got it or,
// if it begins with "elsewhere", from another one.
func udpEcho(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		if err != nil {
			t.Skipf("%s: %v", address, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c, other := listen(), listen()
	go func() {
		b := make([]byte, transport.MaxPacket)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if bytes.HasPrefix(b[:n], []byte("elsewhere")) {
				_, _ = other.WriteToUDPAddrPort(b[:n], from)
			} else {
				_, _ = c.WriteToUDPAddrPort(b[:n], from)
			}
		}
	}()
	return netip.AddrPortFrom(c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// dialPacket opens an association that ends with the test.
func dialPacket(t testing.TB, e *Egress) *packets {
	t.Helper()
	c, err := e.DialPacket(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*packets)
}

// answers writes a datagram and wants it back, from the literal address.
func answers(t *testing.T, p *packets, to, from, said string) {
	t.Helper()
	if err := p.WritePacket([]byte(said), target(t, to)); err != nil {
		t.Errorf("write to %s: got %v, want nil", to, err)
		return
	}
	b := make([]byte, transport.MaxPacket)
	n, peer, err := p.ReadPacket(b)
	if err != nil || string(b[:n]) != said || peer.String() != from {
		t.Errorf("answer: got %.20q from %s, %v, want %.20q from %s", b[:n], peer, err, said, from)
	}
}

func TestPacketEcho(t *testing.T) {
	relaytest.LeakCheck(t)
	four, six := udpEcho(t, "127.0.0.1:0").String(), udpEcho(t, "[::1]:0").String()
	config := loopbackAllowed
	config.Source = []string{"127.0.0.7"}
	for name, e := range map[string]*Egress{
		"plain":  newTest(t, Options{Config: loopbackAllowed}),
		"source": newTest(t, Options{Config: config}),
	} {
		p := dialPacket(t, e)
		if p.sockets != [2]*packetSocket{} {
			t.Errorf("%s: sockets before the first datagram: got some, want none", name)
		}
		for i := range 3 { // by turns: the reader waits for two sockets
			answers(t, p, four, four, fmt.Sprint("four", i))
			answers(t, p, six, six, fmt.Sprint("six", i))
		}
		answers(t, p, four, four, "")
		answers(t, p, four, four, strings.Repeat("x", 60000))
		local := p.sockets[0].LocalAddr().(*net.UDPAddr).IP.String()
		if want := map[string]string{"plain": "0.0.0.0", "source": "127.0.0.7"}[name]; local != want {
			t.Errorf("%s: bound to %s, want %s", name, local, want)
		}
		// A deadline ends writes that are under way, and is no end by itself.
		_ = p.SetDeadline(time.Now().Add(-time.Second))
		if err := p.send(nil, netip.MustParseAddrPort(four)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: write after the deadline: got %v, want %v", name, err, os.ErrDeadlineExceeded)
		}
		_ = p.SetDeadline(time.Now().Add(10 * time.Second))
		answers(t, p, four, four, "again")
		if err := p.Close(); err != nil {
			t.Errorf("%s: Close: got %v, want nil", name, err)
		}
		if err := p.WritePacket(nil, target(t, four)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: write after Close: got %v, want %v", name, err, net.ErrClosed)
		}
		if _, _, err := p.ReadPacket(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: read after Close: got %v, want %v", name, err, net.ErrClosed)
		}
	}
}

// What comes from anybody but a target never arrives: neither from the same
// address with another port, nor from one that knows the port by chance.
func TestPacketSpoofed(t *testing.T) {
	to := udpEcho(t, "127.0.0.1:0").String()
	p := dialPacket(t, newTest(t, Options{Config: loopbackAllowed}))
	answers(t, p, to, to, "first")
	if err := p.WritePacket([]byte("elsewhere"), target(t, to)); err != nil {
		t.Fatal(err)
	}
	port := p.sockets[0].LocalAddr().(*net.UDPAddr).Port
	for _, address := range []string{"127.0.0.1:0", "127.0.0.9:0"} {
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Skip(err)
		}
		_, _ = c.Write([]byte("spoofed"))
		_ = c.Close()
	}
	// Loopback keeps the order: those came before this one.
	answers(t, p, to, to, "last")
	if p.held != nil {
		t.Error("buffer after the last datagram: got one, want none")
	}
}

// A port where nobody listens answers with ICMP: that is the end of nothing.
func TestPacketUnreachablePort(t *testing.T) {
	nobody := fmt.Sprintf("127.0.0.1:%d", closedPort(t))
	to := udpEcho(t, "127.0.0.1:0").String()
	p := dialPacket(t, newTest(t, Options{Config: loopbackAllowed}))
	for range 5 {
		if err := p.WritePacket([]byte("x"), target(t, nobody)); err != nil {
			t.Errorf("write: got %v, want nil", err)
		}
	}
	answers(t, p, to, to, "still there")
}

func TestPacketDenied(t *testing.T) {
	to := udpEcho(t, "127.0.0.1:0")
	ns := newNameServer(t, func(name string, _ dnsmessage.Type) zone {
		if name == "inside.example" {
			return zone{addrs: []string{"10.0.0.1"}, ttl: 60}
		}
		return zone{}
	})
	own := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1080")}
	config := Config{Allow: []string{"127.0.0.1"}, Deny: []string{"127.0.0.1:5353"}}
	e := newTest(t, Options{Config: config, DNS: DNS{Servers: []string{ns.addr}}, Own: func() []netip.AddrPort { return own }})
	p := dialPacket(t, e)
	tests := []struct{ target, want string }{
		{"10.0.0.1:53", "private address"},
		{"169.254.169.254:53", "cloud metadata address"},
		{"198.41.0.4:53", "address of this machine"},
		{"224.0.0.251:5353", "multicast address"},
		{"255.255.255.255:67", "broadcast address"},
		{"[::ffff:10.0.0.1]:53", "private address"},
		{"[2002:a00:1::]:53", "private address"},
		{"metadata.google.internal:53", "local name"},
		{"router:53", "name without a dot"},
		{"127.0.0.1:1080", "own listener"},
		{"127.0.0.1:5353", "denied by rule"},
		{"127.0.0.2:53", "loopback address"},
	}
	// More often than there may be new targets: who is refused is none.
	for range 3 {
		for _, tt := range tests {
			if got := reason(p.WritePacket([]byte("x"), target(t, tt.target))); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.target, got, tt.want)
			}
		}
	}
	// A name is judged again by its address; the first datagram waits for that.
	var err error
	for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		err = p.WritePacket([]byte("x"), target(t, "inside.example:53"))
		if errors.Is(err, errPacketQueue) {
			err = nil
		}
	}
	if reason(err) != "private address" {
		t.Errorf("name: got %v, want a refusal of its address", err)
	}
	answers(t, p, to.String(), to.String(), "others go on")
}

// A name is looked up once, what waits for it is sent in order, and others do not
// wait for it.
func TestPacketName(t *testing.T) {
	to := udpEcho(t, "127.0.0.1:0")
	hold := make(chan bool)
	ns := newNameServer(t, func(name string, kind dnsmessage.Type) zone {
		if kind == dnsmessage.TypeA {
			<-hold
		}
		return zone{addrs: []string{"127.0.0.1", "::1"}, ttl: 60}
	})
	p := dialPacket(t, newTest(t, Options{Config: loopbackAllowed, DNS: DNS{Servers: []string{ns.addr}}}))
	named := fmt.Sprintf("echo.example:%d", to.Port())
	for i := range maxWaiting {
		if err := p.WritePacket([]byte{byte('0' + i)}, target(t, named)); err != nil {
			t.Fatalf("datagram %d: got %v, want nil", i, err)
		}
	}
	if err := p.WritePacket([]byte("too many"), target(t, named)); !errors.Is(err, errPacketQueue) {
		t.Errorf("datagram %d: got %v, want %v", maxWaiting, err, errPacketQueue)
	}
	answers(t, p, to.String(), to.String(), "meanwhile")
	close(hold)
	b := make([]byte, 100)
	for i := range maxWaiting {
		n, peer, err := p.ReadPacket(b)
		if err != nil || string(b[:n]) != fmt.Sprint(i) || peer.String() != to.String() {
			t.Fatalf("answer %d: got %q from %v, %v, want %d from %s", i, b[:n], peer, err, i, to)
		}
	}
	p.e.names = newCache(func(context.Context, string) ([]netip.Addr, time.Duration, error) {
		t.Error("lookups of a name that has its place: got another one, want none")
		return nil, 0, ErrNotFound
	}, time.Second)
	answers(t, p, named, to.String(), "again")
}

// What waits for names is bounded, and Close ends what is under way.
func TestPacketLookups(t *testing.T) {
	relaytest.LeakCheck(t)
	ns := newNameServer(t, func(string, dnsmessage.Type) zone { return zone{silent: true} })
	p := dialPacket(t, newTest(t, Options{Config: loopbackAllowed, DNS: DNS{Servers: []string{ns.addr}}}))
	name := func(i int) transport.Target { return target(t, fmt.Sprintf("n%d.example:53", i)) }
	for i := range maxPacketLookups {
		if err := p.WritePacket(make([]byte, 2000), name(i)); err != nil {
			t.Errorf("name %d: got %v, want nil", i, err)
		}
	}
	if err := p.WritePacket([]byte("x"), name(maxPacketLookups)); !errors.Is(err, errPacketQueue) {
		t.Errorf("one name more: got %v, want %v", err, errPacketQueue)
	}
	if err := p.WritePacket(make([]byte, maxWaitingBytes-8*2000+1), name(0)); !errors.Is(err, errPacketQueue) {
		t.Errorf("more bytes: got %v, want %v", err, errPacketQueue)
	}
	began := time.Now()
	if err := p.Close(); err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("Close: got %v after %v, want nil at once", err, time.Since(began))
	}
}

// New targets have a rate, all of them a bound, and those that are silent for long
// give way. No datagram is sent here.
func TestPacketTargets(t *testing.T) {
	e := newTest(t, Options{})
	synctest.Test(t, func(t *testing.T) {
		c, _ := e.DialPacket(t.Context())
		p := c.(*packets)
		to := func(i int) transport.Target { return target(t, fmt.Sprintf("1.1.%d.1:53", i)) }
		write := func(i int, want error) {
			t.Helper()
			if _, err := p.address(nil, to(i)); !errors.Is(err, want) {
				t.Errorf("target %d: got %v, want %v", i, err, want)
			}
		}
		for i := range newTargetsPerSecond {
			write(i, nil)
		}
		write(newTargetsPerSecond, ErrTooManyTargets)
		write(0, nil) // a known one
		for i := newTargetsPerSecond; i < maxPacketTargets; i++ {
			time.Sleep(time.Second / newTargetsPerSecond)
			write(i, nil)
		}
		time.Sleep(targetQuiet - 10*time.Second)
		write(maxPacketTargets, ErrTooManyTargets)
		for i := range maxPacketTargets {
			if i != 3 {
				write(i, nil)
			}
		}
		time.Sleep(11 * time.Second)
		write(maxPacketTargets, nil) // in place of 3
		p.mu.Lock()
		if p.knows(netip.MustParseAddrPort("1.1.3.1:53")) || !p.knows(netip.MustParseAddrPort("1.1.4.1:53")) || p.knows(netip.MustParseAddrPort("1.1.4.1:54")) {
			t.Error("who may answer: got others than the targets in place")
		}
		p.mu.Unlock()
		write(3, ErrTooManyTargets)
		if len(p.targets) != maxPacketTargets {
			t.Errorf("targets: got %d, want %d", len(p.targets), maxPacketTargets)
		}
		_ = p.Close()
	})
}

func TestPacketDeadline(t *testing.T) {
	e := newTest(t, Options{})
	synctest.Test(t, func(t *testing.T) {
		p, _ := e.DialPacket(t.Context())
		began := time.Now()
		_ = p.SetDeadline(began.Add(time.Hour))
		_ = p.SetDeadline(began.Add(time.Second))
		_, _, err := p.ReadPacket(nil)
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
			t.Errorf("read: got %v after %v, want %v after 1s", err, took, os.ErrDeadlineExceeded)
		}
		if err := p.WritePacket(nil, target(t, "1.1.1.1:53")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: got %v, want %v", err, os.ErrDeadlineExceeded)
		}
		_ = p.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			_ = p.SetDeadline(began)
		}()
		if _, _, err := p.ReadPacket(nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second+time.Minute {
			t.Errorf("read: got %v after %v, want %v", err, time.Since(began), os.ErrDeadlineExceeded)
		}
		_ = p.Close()
	})
}

// An association that waits holds no buffer for datagrams.
func TestPacketIdleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a read waits with its buffer")
	}
	const count, most = 200, 16 << 10
	e := newTest(t, Options{Config: loopbackAllowed})
	to := udpEcho(t, "127.0.0.1:0").String()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range count {
		p := dialPacket(t, e)
		_ = p.SetDeadline(time.Time{})
		answers(t, p, to, to, "hello")
		go func() { _ = p.WaitRead() }()
	}
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	runtime.GC() // pools keep buffers for one more
	runtime.ReadMemStats(&after)
	got := (int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)) / count
	t.Logf("%d bytes for an idle association", got)
	if got > most {
		t.Errorf("memory of an idle association: got %d bytes, want at most %d", got, most)
	}
}

func BenchmarkPacket(b *testing.B) {
	e := newTest(b, Options{Config: loopbackAllowed})
	p := dialPacket(b, e)
	_ = p.SetDeadline(time.Time{})
	to, said, into := target(b, udpEcho(b, "127.0.0.1:0").String()), make([]byte, 1200), make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.WritePacket(said, to); err != nil {
			b.Fatal(err)
		}
		if _, _, err := p.ReadPacket(into); err != nil {
			b.Fatal(err)
		}
	}
}
