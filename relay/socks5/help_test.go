package socks5_test

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
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/relay/socks5"
	"relay/relay/splice"
)

// limit is how long anything here may take; silence is how long nothing has to come.
const (
	limit   = 10 * time.Second
	silence = 200 * time.Millisecond
)

// rig is a relay on a loopback port, for alice, with the real policy opened for
// loopback.
type rig struct {
	t     testing.TB
	srv   *relay.Server
	users *auth.Users
	alice *auth.Record
}

func startRelay(t testing.TB, address string) *rig {
	t.Helper()
	return startRelayWith(t, address, &socks5.Options{UDP: true})
}

func startRelayWith(t testing.TB, address string, o *socks5.Options) *rig {
	t.Helper()
	relaytest.LeakCheck(t)
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r := &rig{t: t, users: auth.NewUsers(store, log), alice: &auth.Record{Name: "alice", Key: auth.NewKey(), MaxConns: 40}}
	if err := r.users.Add(r.alice); err != nil {
		t.Fatal(err)
	}
	r.srv = relay.New(relay.Options{Log: log, Users: r.users, Splice: splice.New(0)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		r.srv.Shutdown(ctx)
		_ = r.users.Close()
		_ = store.Close()
	})
	egress, err := policy.New(policy.Options{Config: policy.Config{Allow: []string{"127.0.0.0/8", "::1"}}, Own: r.srv.Own})
	if err != nil {
		t.Fatal(err)
	}
	in := &socks5.Inbound{
		Verify: func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error) {
			return r.users.Verify(ctx, socks5.Label, source, name, password)
		},
		UDP: o.NewUDP(nil),
	}
	err = r.srv.Apply(relay.Settings{
		Listeners: []relay.Listener{{Address: address, Route: []relay.Candidate{in}}},
		Dialer:    egress,
		Limits:    relay.Limits{Handshake: limit, Idle: time.Minute, Fin: limit, Backlog: 128},
	})
	skipWithout(t, err)
	return r
}

func (r *rig) addr() netip.AddrPort { return netip.MustParseAddrPort(r.srv.Addrs()[0].String()) }

// client is alice with an association.
type client struct {
	t     testing.TB
	tcp   *net.TCPConn
	udp   *net.UDPConn
	relay netip.AddrPort // where her datagrams go
}

// associate opens an association; dst is what the request says of the client's own
// address, and is filled in with the port of the client's socket if it has none.
func (r *rig) associate(dst netip.AddrPort) *client {
	r.t.Helper()
	tcp, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(r.addr()))
	if err != nil {
		r.t.Fatal(err)
	}
	c := &client{t: r.t, tcp: tcp, udp: udpSocket(r.t, netip.AddrPortFrom(r.addr().Addr(), 0))}
	r.t.Cleanup(func() { _ = tcp.Close() })
	_ = tcp.SetDeadline(time.Now().Add(limit))
	password := r.alice.Password(r.users.Realm(), socks5.Label)
	opening := "\x05\x01\x02\x01\x05alice" + string([]byte{byte(len(password))}) + password + "\x05\x03\x00"
	opening += string(appendAddr(nil, dst))
	if _, err := io.WriteString(tcp, opening); err != nil {
		r.t.Fatal(err)
	}
	answer := make([]byte, len("\x05\x02\x01\x00\x05\x00\x00\x01")+2+r.addr().Addr().BitLen()/8)
	n, err := io.ReadFull(tcp, answer)
	if err != nil || !strings.HasPrefix(string(answer), "\x05\x02\x01\x00\x05\x00\x00") {
		r.t.Fatalf("answer: got % x, %v, want an association", answer[:n], err)
	}
	at, _ := netip.AddrFromSlice(answer[8 : len(answer)-2])
	c.relay = netip.AddrPortFrom(at, uint16(answer[len(answer)-2])<<8|uint16(answer[len(answer)-1]))
	if c.relay.Addr() != r.addr().Addr() || c.relay.Port() == 0 {
		r.t.Fatalf("relay's address: got %v, want a port at %v", c.relay, r.addr().Addr())
	}
	return c
}

// skipWithout fails for err, unless this system lacks the address: many have no IPv6.
func skipWithout(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

func udpSocket(t testing.TB, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	skipWithout(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	kind := byte(1)
	if a.Addr().Is6() {
		kind = 4
	}
	b = append(append(b, kind), a.Addr().AsSlice()...)
	return append(b, byte(a.Port()>>8), byte(a.Port()))
}

func datagram(to netip.AddrPort, payload string) []byte {
	return append(appendAddr([]byte{0, 0, 0}, to), payload...)
}

// send sends a datagram as it is.
func (c *client) send(from *net.UDPConn, b []byte) {
	c.t.Helper()
	if _, err := from.WriteToUDPAddrPort(b, c.relay); err != nil {
		c.t.Errorf("send: got %v, want nil", err)
	}
}

// hears wants a datagram from the relay: exactly this one.
func (c *client) hears(want []byte) {
	c.t.Helper()
	_ = c.udp.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 64<<10)
	n, from, err := c.udp.ReadFromUDPAddrPort(b)
	if err != nil || !bytes.Equal(b[:n], want) || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != c.relay {
		c.t.Errorf("datagram: got %.60q from %v, %v, want %.60q from %v", b[:n], from, err, want, c.relay)
	}
}

// asks sends to an echo and wants the answer.
func (c *client) asks(to netip.AddrPort, payload string) {
	c.t.Helper()
	c.send(c.udp, datagram(to, payload))
	c.hears(datagram(to, payload))
}

// silent wants nothing more on a socket.
func silent(t testing.TB, who string, s *net.UDPConn) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(silence))
	b := make([]byte, 64<<10)
	if n, from, err := s.ReadFromUDPAddrPort(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: got %.60q from %v, %v, want nothing", who, b[:n], from, err)
	}
}

// echo answers datagrams with themselves, those that begin with "elsewhere" from
// another socket.
func echo(t testing.TB, at string) netip.AddrPort {
	t.Helper()
	c, other := udpSocket(t, netip.MustParseAddrPort(at)), udpSocket(t, netip.MustParseAddrPort(at))
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			by := c
			if bytes.HasPrefix(b[:n], []byte("elsewhere")) {
				by = other
			}
			_, _ = by.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

var nowhere = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)

// wait gives what happens elsewhere time to happen.
func wait(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: got none in %v, want one", what, limit)
		}
	}
}

// refused asks for an association and wants a reply and the end.
func (r *rig) refused(code byte) {
	r.t.Helper()
	tcp, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(r.addr()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer tcp.Close()
	password := r.alice.Password(r.users.Realm(), socks5.Label)
	_, _ = fmt.Fprintf(tcp, "\x05\x01\x02\x01\x05alice%c%s\x05\x03\x00%s", len(password), password, appendAddr(nil, nowhere))
	_ = tcp.SetReadDeadline(time.Now().Add(limit))
	want := "\x05\x02\x01\x00\x05" + string([]byte{code}) + "\x00\x01\x00\x00\x00\x00\x00\x00"
	if got, err := io.ReadAll(tcp); err != nil || string(got) != want {
		r.t.Errorf("association: got % x, %v, want % x", got, err, want)
	}
}
