package relay_test

import (
	"encoding/hex"
	"net"
	"testing"

	"relay/relay"
)

// TestProxyHeader is what a cover is told, byte by byte (PROXY protocol, version 2).
func TestProxyHeader(t *testing.T) {
	const signature = "0d0a0d0a000d0a515549540a"
	tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	unix := &net.UnixAddr{Name: "/run/cover.sock", Net: "unix"}
	for name, tt := range map[string]struct {
		client, local net.Addr
		want          string
	}{
		"IPv4":                     {tcp("192.0.2.1", 1), tcp("192.0.2.2", 443), "2111000cc0000201c0000202000101bb"},
		"IPv6":                     {tcp("2001:db8::1", 1), tcp("2001:db8::2", 443), "2121002420010db800000000000000000000000120010db8000000000000000000000002000101bb"},
		"nobody, by a unix socket": {unix, unix, "20000000"},
	} {
		if got := hex.EncodeToString(relay.ProxyHeader(tt.client, tt.local)); got != signature+tt.want {
			t.Errorf("%s: got %s, want %s", name, got, signature+tt.want)
		}
	}
}
