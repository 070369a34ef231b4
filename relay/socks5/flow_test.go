package socks5_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/socks5"
	"relay/transport"
)

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

// An association is a session like any other.
func TestAssociateSessions(t *testing.T) {
	r := startRelay(t, "127.0.0.1:0")
	r.associate(nowhere)
	if _, err := r.users.Update("alice", func(rec *auth.Record) error { rec.MaxConns = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	r.refused(2)
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
