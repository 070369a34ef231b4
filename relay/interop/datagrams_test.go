package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const (
	manyAssociations = 500
	perAssociation   = 40_000 // bytes of resident memory an idle one may cost
	floodTime        = 3 * time.Second
	floodMemory      = 24 << 20 // bytes of resident memory a flood may cost
)

// withDatagrams is a relay for alice, who may send datagrams.
func withDatagrams(t *testing.T) (*relay, *url.URL) {
	t.Helper()
	state := t.TempDir()
	userCommand(t, "add", "alice", state)
	r := serve(t, state, false, startDNS(t), "[socks5]\nudp = true\n")
	return r, r.as("socks5", userCommand(t, "show", "alice", state).credential(t, "socks5"))
}

// echoDatagrams answers datagrams with themselves.
func echoDatagrams(t *testing.T) netip.AddrPort {
	t.Helper()
	c := udpSocket(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func udpSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestPythonDatagrams has PySocks send datagrams: to an echo, to a name server and
// by name.
func TestPythonDatagrams(t *testing.T) {
	integration(t)
	t.Parallel()
	dns := startDNS(t)
	_, dnsPort, err := net.SplitHostPort(dns.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, via := withDatagrams(t)
	password, _ := via.User.Password()
	res := runProgram(t, time.Minute, nil, "/usr/bin/python3", filepath.Join("testdata", "datagrams.py"),
		via.Hostname(), via.Port(), via.User.Username(), password, fmt.Sprint(echoDatagrams(t).Port()), dnsPort, knownName)
	if res.code != 0 || res.stdout != "ok\n" {
		t.Errorf("got exit %d, %q, want exit 0, ok\n%s", res.code, res.stdout, res.stderr)
	}
}

// association is an opened UDP ASSOCIATE.
type association struct {
	control *net.TCPConn
	udp     *net.UDPConn
}

func (a *association) Close() {
	a.control.Close()
	a.udp.Close()
}

// tryAssociate asks for an association. The caller closes it.
func tryAssociate(via *url.URL) (*association, error) {
	conn, err := net.DialTimeout("tcp", via.Host, dialLimit)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(dialLimit))
	relay, err := associateHandshake(c, via.User)
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	var u *net.UDPConn
	if err == nil {
		u, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(relay))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &association{c, u}, nil
}

// associateHandshake is RFC 1928 and 1929 up to the reply; without a user there is
// no password.
func associateHandshake(c net.Conn, user *url.Userinfo) (relay netip.AddrPort, err error) {
	if user == nil {
		if err := expect(c, []byte{5, 1, 0}, []byte{5, 0}); err != nil {
			return relay, fmt.Errorf("method: %w", err)
		}
	} else {
		password, _ := user.Password()
		b := append([]byte{1, byte(len(user.Username()))}, user.Username()...)
		b = append(append(b, byte(len(password))), password...)
		if err := expect(c, []byte{5, 1, 2}, []byte{5, 2}); err != nil {
			return relay, fmt.Errorf("method: %w", err)
		}
		if err := expect(c, b, []byte{1, 0}); err != nil {
			return relay, fmt.Errorf("password: %w", err)
		}
	}
	if err := expect(c, []byte{5, 3, 0, 1, 0, 0, 0, 0, 0, 0}, []byte{5, 0, 0, 1}); err != nil {
		return relay, fmt.Errorf("request: %w", err)
	}
	var bound [6]byte
	if _, err := io.ReadFull(c, bound[:]); err != nil {
		return relay, fmt.Errorf("reply: %w", err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(bound[:4])), uint16(bound[4])<<8|uint16(bound[5])), nil
}

// datagram is one with its header, to an IPv4 address.
func datagram(to netip.AddrPort, payload string) []byte {
	b := append([]byte{0, 0, 0, 1}, to.Addr().AsSlice()...)
	return append(append(b, byte(to.Port()>>8), byte(to.Port())), payload...)
}

// asks sends a datagram to an echo and wants it back.
func (a *association) asks(to netip.AddrPort, payload string) error {
	want := datagram(to, payload)
	_ = a.udp.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := a.udp.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want)+1)
	n, err := a.udp.Read(got)
	if err == nil && !bytes.Equal(got[:n], want) {
		err = fmt.Errorf("got % x, want % x", got[:n], want)
	}
	return err
}

// TestDatagramsIdle holds 500 associations and looks at what they cost.
func TestDatagramsIdle(t *testing.T) {
	integration(t)
	r, via := withDatagrams(t)
	to := echoDatagrams(t)
	open := func(n int) []*association {
		all := make([]*association, n)
		t.Cleanup(func() {
			for _, a := range all {
				if a != nil {
					a.Close()
				}
			}
		})
		each(t, all, func(i int) (err error) {
			if all[i], err = tryAssociate(via); err == nil {
				err = all[i].asks(to, fmt.Sprintf("datagram of %03d", i))
			}
			return err
		})
		return all
	}
	for _, a := range open(20) { // what is taken once
		a.Close()
	}
	pause(t, 2*time.Second)
	startFDs, startRSS := r.fds(t), r.rss(t)
	all := open(manyAssociations)
	rss := settle(t, startRSS+manyAssociations*perAssociation-1, 10*time.Second, func() int { return r.rss(t) })
	fds := r.fds(t)
	t.Logf("VmRSS: %d kB before, %d kB with %d idle associations: %d bytes and %.1f descriptors each", startRSS/1000, rss/1000,
		manyAssociations, (rss-startRSS)/manyAssociations, float64(fds-startFDs)/manyAssociations)
	if got := (rss - startRSS) / manyAssociations; got >= perAssociation {
		t.Errorf("resident memory for an association: got %d bytes, want less than %d", got, perAssociation)
	}
	if got := fds - startFDs; got < 3*manyAssociations || got > 3*manyAssociations+50 {
		t.Errorf("descriptors: got %d more, want three for each of %d", got, manyAssociations)
	}
	for i, a := range all {
		if err := a.asks(to, "still there"); err != nil {
			t.Fatalf("association %d: %v", i, err)
		}
		a.Close()
	}
	if got := settle(t, startFDs, 20*time.Second, func() int { return r.fds(t) }); got > startFDs {
		t.Errorf("descriptors after closing: got %d, want %d as before", got, startFDs)
	}
}

// TestDatagramsFlood sends all that it can, most of it worth nothing, from users and
// strangers: the relay's memory stays, and it goes on serving.
func TestDatagramsFlood(t *testing.T) {
	integration(t)
	r, via := withDatagrams(t)
	to := echoDatagrams(t)
	var all []*association
	for range 8 {
		a, err := tryAssociate(via)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Close)
		if err := a.asks(to, "before"); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	stranger := udpSocket(t)
	before, most, sent := r.rss(t), 0, 0
	large := string(make([]byte, 60_000))
	for end := time.Now().Add(floodTime); time.Now().Before(end); sent++ {
		a := all[sent%len(all)]
		for _, b := range [][]byte{
			datagram(to, large),
			datagram(netip.MustParseAddrPort("10.0.0.1:53"), large),
			datagram(netip.AddrPortFrom(to.Addr(), uint16(1024+sent%60000)), "scan"),
			append([]byte("\x00\x00\x00\x03\x14"), fmt.Sprintf("n%06d.example.test\x00\x35lookup", sent%1_000_000)...),
			[]byte("\x00\x00\x01\x01\x7f\x00\x00\x01\x00\x35fragment"), {0},
		} {
			_, _ = a.udp.Write(b)
			_, _ = stranger.WriteTo(b, a.udp.RemoteAddr())
		}
		if sent%200 == 0 {
			most = max(most, r.rss(t))
		}
	}
	t.Logf("%d rounds of 12 datagrams; VmRSS: %d kB before, at most %d kB", sent, before/1000, most/1000)
	if most-before > floodMemory {
		t.Errorf("resident memory in a flood: got %d bytes more, want less than %d", most-before, floodMemory)
	}
	a, err := tryAssociate(via)
	if err != nil {
		t.Fatalf("afterwards: got %v, want an association", err)
	}
	defer a.Close()
	if err := a.asks(to, "after"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestDatagramsCut disables the user: her association ends within a second.
func TestDatagramsCut(t *testing.T) {
	integration(t)
	t.Parallel()
	state := t.TempDir()
	userCommand(t, "add", "alice", state)
	r := serve(t, state, false, nil, "[socks5]\nudp = true\n")
	via := r.as("socks5", userCommand(t, "show", "alice", state).credential(t, "socks5"))
	a, err := tryAssociate(via)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	to := echoDatagrams(t)
	if err := a.asks(to, "before"); err != nil {
		t.Fatal(err)
	}
	userCommand(t, "disable", "alice", state)
	_ = a.control.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := a.control.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("her connection: got %d bytes, %v, want a reset", n, err)
	}
	if err := a.asks(to, "after"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("her datagrams: got %v, want a port where nobody listens", err)
	}
}
