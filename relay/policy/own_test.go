package policy

import (
	"net/netip"
	"testing"
)

// TestIsOwn keeps what a relay must not dial apart from its neighbours.
func TestIsOwn(t *testing.T) {
	own := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:443"), netip.MustParseAddrPort("203.0.113.5:8443")}
	e, err := New(Options{Own: func() []netip.AddrPort { return own }, Interfaces: func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("198.51.100.7")}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"198.51.100.7:443": true, "[::ffff:198.51.100.7]:443": true, "127.0.0.1:443": true, "203.0.113.5:8443": true,
		"198.51.100.7:444": false, "198.51.100.8:443": false, "127.0.0.1:8443": false,
	} {
		if got := e.IsOwn(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("IsOwn(%s): got %v, want %v", addr, got, want)
		}
	}
}
