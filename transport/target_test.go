package transport_test

import (
	"net/netip"
	"strings"
	"testing"

	"relay/transport"
)

func TestNameTarget(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	for _, tt := range []struct {
		host, want string // want "": refused
	}{
		{"example.org", "example.org"},
		{"EXAMPLE.Org.", "example.org"},
		{"xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"},
		{"_sip._tcp.example.org", "_sip._tcp.example.org"},
		{"localhost", "localhost"},
		{"a1", "a1"},
		{"1a.de", "1a.de"},
		{"0x7f.com", "0x7f.com"},
		{label63 + ".org", label63 + ".org"},
		{name253, name253},
		{name253 + ".", name253},
		// Addresses written out are addresses.
		{"192.0.2.1", "192.0.2.1"},
		{"2001:DB8::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"::ffff:127.0.0.1", "127.0.0.1"},
		{"[::ffff:7f00:1]", "127.0.0.1"},
		{"::127.0.0.1", "::7f00:1"},
		// Addresses that only a lenient resolver reads.
		{"127.1", ""}, {"0x7f.1", ""}, {"0X7F.1", ""}, {"2130706433", ""}, {"0x7f000001", ""},
		{"017700000001", ""}, {"0177.0.0.1", ""}, {"127.0.0.01", ""}, {"1.2.3.4.", ""}, {"0x", ""},
		{"1.2.3.4.5", ""}, {"256.1.1.1", ""}, {"example.0x7f", ""}, {"example.127", ""}, {"127.0.0.1.", ""},
		// Brackets are for IPv6 and come in pairs.
		{"[::1", ""}, {"::1]", ""}, {"[192.0.2.1]", ""}, {"[example.org]", ""}, {"[]", ""}, {"[[::1]]", ""},
		// Zones name an interface of ours.
		{"fe80::1%eth0", ""}, {"[fe80::1%25eth0]", ""}, {"::ffff:127.0.0.1%1", ""}, {"fe80::1%", ""},
		// Bytes and shapes that no host name has.
		{"", ""}, {".", ""}, {"..", ""}, {"example..org", ""}, {".example.org", ""}, {"example.org..", ""},
		{"-a.org", ""}, {"a-.org", ""}, {"a.org:80", ""}, {"a org", ""}, {"a\x00.org", ""}, {"a\n.org", ""},
		{"user@example.org", ""}, {"a/b", ""}, {"*.example.org", ""}, {"ex%61mple.org", ""},
		{"пример.рф", ""}, {"１２７.0.0.1", ""}, {"example。org", ""}, {"127。0。0。1", ""}, {"\u212a.org", ""},
		{label63 + "a.org", ""}, {name253 + "b", ""}, {strings.Repeat("a.", 200), ""},
	} {
		got, err := transport.NameTarget(tt.host, 443)
		if (err == nil) != (tt.want != "") || err == nil && got.Host() != tt.want {
			t.Errorf("NameTarget(%q): got %q, %v, want %q", tt.host, got.Host(), err, tt.want)
		}
		if err != nil && got.IsValid() {
			t.Errorf("NameTarget(%q): got a valid Target with the error %v, want none", tt.host, err)
		}
	}
	if got, err := transport.NameTarget("example.org", 0); err == nil {
		t.Errorf("NameTarget with port 0: got %v, want an error", got)
	}
}

func TestAddrTarget(t *testing.T) {
	for _, tt := range []struct{ ap, want string }{
		{"192.0.2.1:80", "192.0.2.1:80"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[fe80::1%eth0]:80", ""},
		{"192.0.2.1:0", ""},
	} {
		got, err := transport.AddrTarget(netip.MustParseAddrPort(tt.ap))
		if (err == nil) != (tt.want != "") || err == nil && got.String() != tt.want {
			t.Errorf("AddrTarget(%s): got %v, %v, want %q", tt.ap, got, err, tt.want)
		}
	}
	if got, err := transport.AddrTarget(netip.AddrPort{}); err == nil {
		t.Errorf("AddrTarget of nothing: got %v, want an error", got)
	}
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"example.org:443", "example.org:443"},
		{"example.org.:443", "example.org:443"},
		{"[::1]:65535", "[::1]:65535"},
		{"[::ffff:1.2.3.4]:1", "1.2.3.4:1"},
		{"example.org", ""}, {"example.org:", ""}, {":443", ""}, {"example.org:0", ""},
		{"example.org:65536", ""}, {"example.org:+80", ""}, {"example.org:-1", ""}, {"example.org:0x50", ""},
		{"example.org:http", ""}, {"example.org:80:80", ""}, {"::1:80", ""}, {"[::1]", ""}, {"[::1]x:80", ""},
		{"[::1%lo]:80", ""}, {"127.1:80", ""}, {"http://example.org:80", ""}, {" example.org:80", ""}, {"", ""},
	} {
		got, err := transport.ParseTarget(tt.in)
		if (err == nil) != (tt.want != "") || err == nil && got.String() != tt.want {
			t.Errorf("ParseTarget(%q): got %v, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestTargetIsComparable(t *testing.T) {
	a, _ := transport.ParseTarget("EXAMPLE.org.:1")
	b, _ := transport.NameTarget("example.org", 1)
	if a != b {
		t.Errorf("two spellings of one target: got %v != %v, want equal", a, b)
	}
	c, _ := transport.ParseTarget("[::ffff:192.0.2.1]:1")
	d, _ := transport.AddrTarget(netip.MustParseAddrPort("192.0.2.1:1"))
	if c != d {
		t.Errorf("two spellings of one address: got %v != %v, want equal", c, d)
	}
	if (transport.Target{}).IsValid() {
		t.Error("the zero Target: got valid, want invalid")
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		"example.org:443", "[::1]:80", "127.1:80", "0x7f.1:1", "1.2.3.4.:5", "[fe80::1%lo]:1",
		"xn--p1ai:9", "пример.рф:80", "a.:1", "[::ffff:1.2.3.4]:443", "a\x00b:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := transport.ParseTarget(s)
		if err != nil {
			if a != (transport.Target{}) {
				t.Fatalf("ParseTarget(%q): got %v with the error %v, want the zero Target", s, a, err)
			}
			return
		}
		if a.IsName() == a.Addr().IsValid() || a.Port() == 0 || !a.IsValid() {
			t.Fatalf("ParseTarget(%q): got %#v, want a name or an address, and a port", s, a)
		}
		if b, err := transport.ParseTarget(a.String()); err != nil || a != b {
			t.Fatalf("ParseTarget(%q) printed and parsed again: got %v, %v, want %v", s, b, err, a)
		}
		if !a.IsName() {
			if a.Addr().Is4In6() || a.Addr().Zone() != "" {
				t.Fatalf("ParseTarget(%q): got address %v, want it unmapped and without zone", s, a.Addr())
			}
			return
		}
		checkName(t, a.Name())
	})
}

// checkName states in other words than the code what a name may look like.
func checkName(t *testing.T, name string) {
	t.Helper()
	const letters = "abcdefghijklmnopqrstuvwxyz"
	if len(name) > 253 || strings.Trim(name, letters+"0123456789-_.") != "" {
		t.Fatalf("name %q: got a byte or length that DNS does not have, want none", name)
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if len(l) == 0 || len(l) > 63 {
			t.Fatalf("name %q: got a label of %d bytes, want 1 to 63", name, len(l))
		}
	}
	// What inet_aton(3) takes has a last part that is a number in some base.
	last := labels[len(labels)-1]
	if !strings.ContainsAny(last, letters+"-_") ||
		strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		t.Fatalf("name %q: got a last label that is a number, want none", name)
	}
}
