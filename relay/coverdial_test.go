package relay_test

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"relay/relay"
	"relay/transport"
)

// The cover is dialled wherever it is, but never here.
func TestCoverDialer(t *testing.T) {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	at := tcp.Addr().(*net.TCPAddr).AddrPort()
	everywhere := netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), at.Port())
	for _, tt := range []struct {
		to  string
		own []netip.AddrPort
		err error
	}{
		{at.String(), nil, nil},
		{at.String(), []netip.AddrPort{other}, nil},
		{at.String(), []netip.AddrPort{at}, relay.ErrCoverLoop},
		{at.String(), []netip.AddrPort{everywhere}, relay.ErrCoverLoop},
		{netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()).String(), []netip.AddrPort{everywhere}, relay.ErrCoverLoop},
		{net.JoinHostPort("localhost", portText(at)), []netip.AddrPort{everywhere}, relay.ErrCoverLoop},
		{"unix:" + path, []netip.AddrPort{everywhere}, nil},
	} {
		d, err := relay.NewCoverDialer(tt.to, func() []netip.AddrPort { return tt.own })
		if err != nil {
			t.Errorf("%s: got %v, want a dialer", tt.to, err)
			continue
		}
		c, err := d.DialStream(t.Context(), transport.Target{}, nil)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s with own %v: got %v, want %v", tt.to, tt.own, err, tt.err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func portText(a netip.AddrPort) string { _, p, _ := net.SplitHostPort(a.String()); return p }
