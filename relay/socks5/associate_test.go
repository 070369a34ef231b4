package socks5

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

func TestParseDatagram(t *testing.T) {
	const header = "\x00\x00\x00\x01\x5d\xb8\xd8\x22\x00\x35"
	long := strings.Repeat("a.", 126) + "b" // 253 bytes
	for _, tt := range []struct{ name, datagram, target, payload string }{
		{"IPv4", header + "payload", "93.184.216.34:53", "payload"},
		{"no payload", header, "93.184.216.34:53", ""},
		{"IPv6", "\x00\x00\x00" + toIPv6("2001:db8::1")[3:] + "x", "[2001:db8::1]:443", "x"},
		{"IPv4-mapped IPv6", "\x00\x00\x00" + toIPv6("::ffff:10.0.0.1")[3:], "10.0.0.1:443", ""},
		{"name", "\x00\x00\x00" + toName("WWW.example.org.", 53)[3:] + "x", "www.example.org:53", "x"},
		{"longest name", "\x00\x00\x00" + toName(long, 53)[3:] + "x", long + ":53", "x"},
		{"reserved bytes set", "\x01\x02" + header[2:], "93.184.216.34:53", ""},
		{"first fragment", "\x00\x00\x01" + header[3:] + "x", "", ""},
		{"last fragment", "\x00\x00\x82" + header[3:] + "x", "", ""},
		{"port 0", header[:8] + "\x00\x00", "", ""},
		{"address type 0", "\x00\x00\x00\x00" + header[4:], "", ""},
		{"address type 2", "\x00\x00\x00\x02" + header[4:], "", ""},
		{"empty name", "\x00\x00\x00\x03\x00\x00\x35", "", ""},
		{"name that is longer than the datagram", "\x00\x00\x00\x03\xffabc\x00\x35", "", ""},
		{"name with a NUL", "\x00\x00\x00" + toName("a\x00b", 53)[3:], "", ""},
		{"address in disguise", "\x00\x00\x00" + toName("127.1", 53)[3:], "", ""},
		{"IPv4 cut off", header[:9], "", ""},
		{"IPv6 cut off", "\x00\x00\x00" + toIPv6("2001:db8::1")[3:20], "", ""},
		{"four bytes", "\x00\x00\x00\x01", "", ""},
		{"nothing", "", "", ""},
	} {
		target, payload, ok := parseDatagram([]byte(tt.datagram))
		if ok != (tt.target != "") || ok && (target.String() != tt.target || string(payload) != tt.payload) {
			t.Errorf("%s: got %v, %q, %v, want %q, %q", tt.name, target, payload, ok, tt.target, tt.payload)
		}
	}
}

// FuzzDatagram feeds what comes from the network: no panic, nothing read beyond the
// header, and a header that we write for the same target is read as the same.
func FuzzDatagram(f *testing.F) {
	for _, s := range []string{
		"\x00\x00\x00\x01\x5d\xb8\xd8\x22\x00\x35payload", "\x00\x00\x00" + toIPv6("2001:db8::1")[3:] + "x",
		"\x00\x00\x00" + toName("www.example.org", 53)[3:] + "x", "\x00\x00\x01\x01\x5d\xb8\xd8\x22\x00\x35", "\x00\x00\x00\x03\xff", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		target, payload, ok := parseDatagram(b)
		if !ok {
			return
		}
		if !target.IsValid() || b[2] != 0 || !bytes.HasSuffix(b, payload) || len(b)-len(payload) > 4+1+255+2 {
			t.Fatalf("got %v and %d of %d bytes, want a target and what is behind it", target, len(payload), len(b))
		}
		again, rest, ok := parseDatagram(append(appendHeader(nil, target), payload...))
		if !ok || again != target || !bytes.Equal(rest, payload) {
			t.Errorf("written and read: got %v, %d bytes, %v, want %v, %d bytes", again, len(rest), ok, target, len(payload))
		}
	})
}

func TestClientPort(t *testing.T) {
	source := netip.MustParseAddr("93.184.216.34")
	for _, tt := range []struct {
		name, request string
		want          uint16
	}{
		{"the client's address", "\x05\x03\x00\x01\x5d\xb8\xd8\x22\x01\xbb", 443},
		{"the client's address, mapped", "\x05\x03\x00" + toIPv6("::ffff:93.184.216.34")[3:], 443},
		{"no address", "\x05\x03\x00\x01\x00\x00\x00\x00\x01\xbb", 0},
		{"neither", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", 0},
		{"an address behind a translation", "\x05\x03\x00\x01\x0a\x00\x00\x01\x01\xbb", 0},
		{"IPv6", "\x05\x03\x00" + toIPv6("::")[3:], 0},
		{"a name", "\x05\x03\x00" + toName("x.example", 443)[3:], 0},
	} {
		if got := clientPort([]byte(tt.request), source); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Who may send datagrams: users of a listener that has them, and not inside a
// carrier. All others are told what they were told before there were any.
func TestWhoMayAssociate(t *testing.T) {
	const associate = "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"
	udp := (&Options{UDP: true}).NewUDP(nil)
	carried := auth.User{ID: 1, Name: "alice"}
	for _, tt := range []struct {
		name    string
		in      *Inbound
		carrier auth.User
		said    string
		may     bool
	}{
		{"a user", &Inbound{Verify: verify, UDP: udp}, auth.User{}, password + alice + associate, true},
		{"switched off", &Inbound{Verify: verify, UDP: (&Options{}).NewUDP(nil)}, auth.User{}, password + alice + associate, false},
		{"anonymous", &Inbound{Anonymous: true, UDP: udp}, auth.User{}, anyone + associate, false},
		{"in a carrier", &Inbound{Verify: verify, UDP: udp}, carried, anyone + associate, false},
		{"in a carrier, with a password", &Inbound{Verify: verify, UDP: udp}, carried, password + alice + associate, false},
		{"BIND", &Inbound{Verify: verify, UDP: udp}, auth.User{}, password + alice + "\x05\x02" + associate[2:], false},
	} {
		o := open(t, tt.in, tt.carrier, tt.said)
		_, is := o.req.(transport.PacketRequest)
		last := o.writes[len(o.writes)-1]
		if is != tt.may || is != (o.err == nil) || !is && last != reply(replyBadCommand) {
			t.Errorf("%s: got %T, %v after %q, want datagrams: %v", tt.name, o.req, o.err, last, tt.may)
		}
		if is && (o.req.Target().IsValid() || o.req.User().Name != "alice") {
			t.Errorf("%s: got target %v of %q, want none of alice", tt.name, o.req.Target(), o.req.User().Name)
		}
	}
	if got := replyFor(transport.ErrNoPacket); got != replyBadCommand {
		t.Errorf("reply where datagrams are not carried: got %d, want %d", got, replyBadCommand)
	}
	if got := replyFor(relay.ErrFull); got != replyFailure {
		t.Errorf("reply of a full relay: got %d, want %d", got, replyFailure)
	}
}

// Before the first datagram nothing is sent to anybody.
func TestNoClientYet(t *testing.T) {
	a := &association{client: netip.MustParseAddr("127.0.0.1")}
	to, err := transport.ParseTarget("127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.WritePacket([]byte("answer"), to); !errors.Is(err, errNoClient) {
		t.Errorf("write before the first datagram: got %v, want %v", err, errNoClient)
	}
}

func TestOptions(t *testing.T) {
	for text, want := range map[string]portRange{
		"40000-40999": {40000, 40999}, "1-65535": {1, 65535}, "5000": {5000, 5000}, "5000-5000": {5000, 5000},
		"": {}, "0": {}, "0-5": {}, "6-5": {}, "5-": {}, "-5": {}, "a-b": {}, "1-65536": {}, "1-2-3": {}, " 1-2": {}, "+1-2": {},
	} {
		got, err := parsePorts(text)
		if got != want || (err == nil) != (want != portRange{}) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
		faults := 0
		(&Options{UDPPorts: text}).Check(func(key, problem, hint string) {
			faults++
			if key != "udp_ports" || problem == "" || hint == "" {
				t.Errorf("%q: got %q, %q, %q, want key, problem and hint", text, key, problem, hint)
			}
		})
		if (faults > 0) != (err != nil && text != "") {
			t.Errorf("%q: got %d faults", text, faults)
		}
	}
}

func TestTell(t *testing.T) {
	addr := netip.MustParseAddr
	u := (&Options{UDP: true}).NewUDP([]netip.Addr{addr("2001:db8::5"), addr("203.0.113.5")})
	for _, tt := range []struct{ name, local, client, want string }{
		{"public", "198.51.100.1", "192.0.2.1", "198.51.100.1"},
		{"behind a translation", "10.0.0.5", "192.0.2.1", "203.0.113.5"},
		{"from the same network", "10.0.0.5", "10.0.0.9", "10.0.0.5"},
		{"from this machine", "127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"IPv6 behind a translation", "fd00::1", "2001:db8::9", "2001:db8::5"},
		{"IPv6", "2001:db8::7", "2001:db8::9", "2001:db8::7"},
	} {
		if got := u.tell(addr(tt.local), addr(tt.client)).String(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := (&UDP{}).tell(addr("10.0.0.5"), addr("192.0.2.1")).String(); got != "10.0.0.5" {
		t.Errorf("without a public address: got %s, want 10.0.0.5", got)
	}
}
