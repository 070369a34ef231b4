package relay_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"

	"relay/relay"
)

// The client that a balancer names is the one that the cover is told of.
func TestStreetProxyProtocol(t *testing.T) {
	client := netip.MustParseAddrPort("198.51.100.7:4000")
	header := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(client), &net.TCPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 443})
	v2, _ := header.Format()
	header.Version = 1
	v1, _ := header.Format()
	local, _ := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	for _, tt := range []struct {
		name   string
		listed bool
		say    string
		want   string // the source in the header; "": the stranger's bytes are all of say
	}{
		{"version 1", true, string(v1), client.String()},
		{"version 2", true, string(v2), client.String()},
		{"the balancer itself", true, string(local), "127.0.0.1"},
		{"of nobody known", true, string(proxyproto.SIGV2) + "\x21\x00\x00\x00", "127.0.0.1"},
		{"of nobody known, with more", true, string(proxyproto.SIGV2) + "\x21\x00\x00\x03abc", "127.0.0.1"},
		{"from anybody", false, string(v2), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStreet(t, func(l *relay.Listener) {
				l.Proxied = func(a netip.Addr) bool { return tt.listed }
				l.Cover.Header = relay.ProxyHeader
			})
			c := s.dial()
			_, _ = io.WriteString(c, tt.say+"junk")
			far := s.accept()
			got := make([]byte, 28)
			if _, err := io.ReadFull(far, got); err != nil {
				t.Fatal(err)
			}
			if src := netip.AddrPortFrom(netip.AddrFrom4([4]byte(got[16:20])), uint16(got[24])<<8|uint16(got[25])); tt.want == client.String() && src != client || tt.want == "127.0.0.1" && src.Addr().String() != tt.want {
				t.Errorf("source in the header: got %v, want %s", src, tt.want)
			}
			if tt.want == "" {
				s.has(far, tt.say)
			}
			s.has(far, "junk")
		})
	}
}

func TestStreetBadProxyHeader(t *testing.T) {
	s := newStreet(t, func(l *relay.Listener) { l.Proxied = func(netip.Addr) bool { return true } })
	for _, say := range []string{"GET / HTTP/1.1\r\n", "PROXY TCP4 x\r\n", "PROXY " + string(make([]byte, 200)), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"} {
		c := s.dial()
		_, _ = io.WriteString(c, say)
		if got, err := io.ReadAll(c); len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%.20q: got %q, %v, want no byte and an end", say, got, err)
		}
	}
}
