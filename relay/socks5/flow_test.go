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
	"relay/transport"
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

func TestAssociate(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			r := startRelay(t, address)
			four, six := echo(t, "127.0.0.1:0"), echo(t, "[::1]:0")
			c := r.associate(nowhere)
			c.asks(four, "question")
			c.asks(six, "question")
			c.asks(four, "")
			c.asks(four, strings.Repeat("x", 60000))
			// A name; the answer comes from an address.
			c.send(c.udp, []byte("\x00\x00\x00\x03\x09localhost"+string([]byte{byte(four.Port() >> 8), byte(four.Port())})+"named"))
			c.hears(datagram(four, "named"))
			// They are counted when they are written, which an answer can overtake.
			wait(t, "count of the payloads, up and down", func() bool {
				up, down := r.users.Totals()
				return up == 8+8+60000+5 && up == down
			})
		})
	}
}

// Strangers' datagrams go nowhere, whatever they hold, and nobody but the client is
// ever sent anything.
func TestAssociateStrangers(t *testing.T) {
	r := startRelay(t, "127.0.0.1:0")
	to := echo(t, "127.0.0.1:0")
	c := r.associate(nowhere)
	far := udpSocket(t, netip.MustParseAddrPort("127.0.0.2:0"))
	near := udpSocket(t, netip.MustParseAddrPort("127.0.0.1:0"))
	c.send(far, datagram(to, "another address, before the client"))
	c.asks(to, "first")
	c.send(near, datagram(to, "another port"))
	c.send(far, datagram(to, "another address"))
	c.asks(to, "second")
	for who, s := range map[string]*net.UDPConn{"client": c.udp, "another port": near, "another address": far} {
		silent(t, who, s)
	}
	want := int64(len("first" + "second"))
	wait(t, "count of the client's bytes", func() bool { up, _ := r.users.Totals(); return up >= want })
	if up, _ := r.users.Totals(); up != want {
		t.Errorf("bytes up: got %d, want %d, those of the client", up, want)
	}
}

// The request names the client's socket: then not even the first datagram of
// another one counts.
func TestAssociatePort(t *testing.T) {
	r := startRelay(t, "127.0.0.1:0")
	to := echo(t, "127.0.0.1:0")
	mine := udpSocket(t, netip.MustParseAddrPort("127.0.0.1:0"))
	c := r.associate(mine.LocalAddr().(*net.UDPAddr).AddrPort())
	c.send(c.udp, datagram(to, "another port"))
	other := c.udp
	c.udp = mine
	c.asks(to, "first")
	silent(t, "another port", other)
}

// What is no datagram for us is dropped, and so is what may not go where it wants.
func TestAssociateDropped(t *testing.T) {
	r := startRelay(t, "127.0.0.1:0")
	to := echo(t, "127.0.0.1:0")
	c := r.associate(nowhere)
	good := datagram(to, "fragment")
	for _, frag := range []byte{1, 2, 0x7f, 0x80, 0x81, 0xff} {
		b := bytes.Clone(good)
		b[2] = frag
		c.send(c.udp, b)
	}
	for _, bad := range []string{"", "\x00", "\x00\x00\x00\x01", "\x00\x00\x00\x09abcdef", "\x00\x00\x00\x03\xffabc", "\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x00x"} {
		c.send(c.udp, []byte(bad))
	}
	own := r.addr()
	for _, refused := range []string{"10.0.0.1:53", "169.254.169.254:80", "224.0.0.251:5353", "255.255.255.255:67", "0.0.0.0:53", own.String()} {
		c.send(c.udp, datagram(netip.MustParseAddrPort(refused), "x"))
	}
	c.send(c.udp, datagram(to, "elsewhere: the answer comes from another port"))
	c.asks(to, "the last one")
	silent(t, "client", c.udp)
	if got := r.srv.Snapshot().Dropped; got != 6 {
		t.Errorf("dropped by policy: got %d, want 6", got)
	}
}

// A scan gets no further than its first targets.
func TestAssociateTargets(t *testing.T) {
	r := startRelay(t, "127.0.0.1:0")
	c := r.associate(nowhere)
	first := echo(t, "127.0.0.1:0")
	c.asks(first, "first")
	var others []netip.AddrPort
	for range 60 {
		others = append(others, echo(t, "127.0.0.1:0"))
	}
	for _, to := range others {
		c.send(c.udp, datagram(to, "scan"))
	}
	answered := 0
	_ = c.udp.SetReadDeadline(time.Now().Add(silence))
	for b := make([]byte, 100); ; answered++ {
		if _, err := c.udp.Read(b); err != nil {
			break
		}
	}
	// 20 at once, the first one included, and 20 a second while it lasts.
	if answered < 19 || answered > 40 {
		t.Errorf("new targets that answered: got %d of 60, want about 19", answered)
	}
	if got := r.srv.Snapshot().Dropped; got != int64(60-answered) {
		t.Errorf("dropped: got %d, want %d", got, 60-answered)
	}
	c.asks(first, "known targets go on")
}

// Whatever ends an association ends its socket, its connection and its session.
func TestAssociateEnds(t *testing.T) {
	update := func(r *rig, f func(*auth.Record)) {
		if _, err := r.users.Update("alice", func(rec *auth.Record) error { f(rec); return nil }); err != nil {
			r.t.Error(err)
		}
	}
	for _, tt := range []struct {
		name string
		end  func(r *rig, c *client, to netip.AddrPort)
		want transport.Status
		wire error // at the client's connection; nil: it has closed that
	}{
		{"the client closes", func(_ *rig, c *client, _ netip.AddrPort) { _ = c.tcp.Close() }, transport.OK, nil},
		{"the client ends its half", func(_ *rig, c *client, _ netip.AddrPort) { _ = c.tcp.CloseWrite() }, transport.OK, io.EOF},
		{"the client resets", func(_ *rig, c *client, _ netip.AddrPort) { _ = transport.Abort(c.tcp) }, transport.ClientGone, nil},
		{"bytes on the connection", func(_ *rig, c *client, to netip.AddrPort) {
			_, _ = c.tcp.Write(make([]byte, 4<<10))
			c.asks(to, "4 KiB do no harm")
			_, _ = c.tcp.Write([]byte("x"))
		}, transport.ClientGone, io.EOF},
		{"the user is disabled", func(r *rig, _ *client, _ netip.AddrPort) { update(r, func(rec *auth.Record) { rec.Disabled = true }) }, transport.Cut, syscall.ECONNRESET},
		{"the quota is used up", func(r *rig, c *client, to netip.AddrPort) {
			update(r, func(rec *auth.Record) { rec.Quota.Bytes = 100 })
			c.send(c.udp, datagram(to, strings.Repeat("x", 200)))
		}, transport.Cut, syscall.ECONNRESET},
		{"the relay stops", func(r *rig, _ *client, _ netip.AddrPort) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			r.srv.Shutdown(ctx)
		}, transport.Drained, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startRelay(t, "127.0.0.1:0")
			to := echo(t, "127.0.0.1:0")
			c := r.associate(nowhere)
			c.asks(to, "hello")
			tt.end(r, c, to)
			if tt.wire != nil {
				_, err := c.tcp.Read(make([]byte, 1))
				if !errors.Is(err, tt.wire) {
					t.Errorf("the client's connection: got %v, want %v", err, tt.wire)
				}
			}
			wait(t, "the end", func() bool { return r.srv.Snapshot().Ends[tt.want] == 1 && r.srv.Snapshot().Packets == 0 })
			if got := r.srv.Snapshot().Ends; got[tt.want] != 1 {
				t.Errorf("ends: got %v, want one %s", got, tt.want)
			}
			// The port is free again: the system can have it.
			again, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(c.relay))
			if err != nil {
				t.Fatalf("the relay's socket: got %v, want it closed", err)
			}
			_ = again.Close()
			for _, a := range r.users.Active() {
				if a.Sessions != 0 {
					t.Errorf("sessions: got %d, want none", a.Sessions)
				}
			}
		})
	}
}

// wait gives what happens elsewhere time to happen.
func wait(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: got none in %v, want one", what, limit)
		}
	}
}

// An association is a session like any other.
func TestAssociateSessions(t *testing.T) {
	r := startRelay(t, "127.0.0.1:0")
	r.associate(nowhere)
	if _, err := r.users.Update("alice", func(rec *auth.Record) error { rec.MaxConns = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	r.refused(2)
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

// A range of ports is kept to. When all are taken the client is told, and the next
// one gets the port that is free again.
func TestAssociatePorts(t *testing.T) {
	free := udpSocket(t, netip.MustParseAddrPort("127.0.0.1:0"))
	port := free.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	r := startRelayWith(t, "127.0.0.1:0", &socks5.Options{UDP: true, UDPPorts: fmt.Sprint(port)})
	r.refused(1)
	_ = free.Close()
	to := echo(t, "127.0.0.1:0")
	for range 2 {
		c := r.associate(nowhere)
		if c.relay.Port() != port {
			t.Errorf("port: got %d, want %d", c.relay.Port(), port)
		}
		c.asks(to, "hello")
		r.refused(1)
		_ = c.tcp.Close()
		wait(t, "end", func() bool { return r.srv.Snapshot().Packets == 0 })
	}
	if got := r.srv.Snapshot().Ends[transport.OverLimit]; got != 3 {
		t.Errorf("over the limit: got %d, want 3", got)
	}
}
