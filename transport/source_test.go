package transport_test

import (
	"net"
	"net/netip"
	"testing"

	"relay/transport"
)

// addressed is a conn of which only the remote address matters.
type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.addr }

func TestSource(t *testing.T) {
	for _, tt := range []struct {
		addr           net.Addr
		source, prefix string
	}{
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, "192.0.2.7", "192.0.2.7/32"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7")}, "192.0.2.7", "192.0.2.7/32"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8:1:2ff::7")}, "2001:db8:1:2ff::7", "2001:db8:1:200::/56"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::1", "fe80::/56"},
		{&net.UnixAddr{Name: "x"}, "invalid IP", "invalid Prefix"},
	} {
		got := transport.Source(addressed{addr: tt.addr})
		if got.String() != tt.source {
			t.Errorf("Source of %v: got %v, want %s", tt.addr, got, tt.source)
		}
		if p := transport.SourcePrefix(got); p.String() != tt.prefix {
			t.Errorf("SourcePrefix of %v: got %v, want %s", got, p, tt.prefix)
		}
	}
	if p := transport.SourcePrefix(netip.Addr{}); p.IsValid() {
		t.Errorf("SourcePrefix of no address: got %v, want an invalid prefix", p)
	}
}
