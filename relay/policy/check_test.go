package policy

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// newTest returns an Egress on a machine with one public address.
func newTest(t testing.TB, o Options) *Egress {
	t.Helper()
	if o.Interfaces == nil {
		o.Interfaces = func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("198.41.0.4"), netip.MustParseAddr("2001:503:ba3e::2:30")}, nil
		}
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func target(t testing.TB, s string) transport.Target {
	t.Helper()
	to, err := transport.ParseTarget(s)
	if err != nil {
		t.Fatalf("ParseTarget(%q): %v", s, err)
	}
	return to
}

// reason is why an error denies; "ok" for none.
func reason(err error) string {
	if err == nil {
		return "ok"
	}
	if d, ok := errors.AsType[*DeniedError](err); ok && errors.Is(err, ErrDenied) {
		return d.Reason
	}
	return "not a DeniedError: " + err.Error()
}

var refusedTests = []struct{ addr, want string }{
	{"0.0.0.0", "unspecified address"},
	{"0.1.2.3", "unspecified address"},
	{"10.0.0.1", "private address"},
	{"172.16.0.1", "private address"},
	{"172.31.255.255", "private address"},
	{"172.32.0.1", "ok"},
	{"192.168.1.1", "private address"},
	{"100.64.0.1", "carrier-grade NAT address"},
	{"100.128.0.1", "ok"},
	{"127.0.0.1", "loopback address"},
	{"127.255.255.254", "loopback address"},
	{"169.254.1.1", "link-local address"},
	{"169.254.169.254", "cloud metadata address"},
	{"100.100.100.200", "cloud metadata address"},
	{"168.63.129.16", "cloud metadata address"},
	{"168.63.129.17", "ok"},
	{"192.0.0.8", "reserved address"},
	{"192.0.1.1", "ok"},
	{"192.0.2.1", "documentation address"},
	{"198.51.100.1", "documentation address"},
	{"203.0.113.1", "documentation address"},
	{"192.88.99.1", "reserved address"},
	{"198.18.0.1", "benchmarking address"},
	{"198.19.255.255", "benchmarking address"},
	{"224.0.0.1", "multicast address"},
	{"239.255.255.250", "multicast address"},
	{"240.0.0.1", "reserved address"},
	{"255.255.255.255", "broadcast address"},
	{"198.41.0.4", "address of this machine"},
	{"1.1.1.1", "ok"},

	{"::", "unspecified address"},
	{"::1", "loopback address"},
	{"fc00::1", "private address"},
	{"fd00:ec2::254", "cloud metadata address"},
	{"fe80::1", "link-local address"},
	{"fec0::1", "private address"},
	{"ff02::1", "multicast address"},
	{"100::1", "reserved address"},
	{"2001::1", "reserved address"},
	{"2001:2::1", "reserved address"},
	{"2001:10::1", "reserved address"},
	{"2001:20::1", "reserved address"},
	{"2001:db8::1", "documentation address"},
	{"3fff::1", "documentation address"},
	{"3fff:1000::1", "ok"},
	{"5f00::1", "reserved address"},
	{"64:ff9b:1::1", "reserved address"},
	{"4000::1", "not a global address"},
	{"2001:503:ba3e::2:30", "address of this machine"},
	{"2606:4700:4700::1111", "ok"},
	{"2001:67c:4e8:f002::a", "ok"},

	// One address in the clothes of another.
	{"::ffff:127.0.0.1", "loopback address"},
	{"::ffff:169.254.169.254", "cloud metadata address"},
	{"::ffff:1.1.1.1", "ok"},
	{"::127.0.0.1", "loopback address"},
	{"::10.0.0.1", "private address"},
	{"::ffff:0:10.0.0.1", "private address"},
	{"2002:7f00:1::1", "loopback address"},
	{"2002:a9fe:a9fe::", "cloud metadata address"},
	{"2002:101:101::1", "ok"},
	{"64:ff9b::127.0.0.1", "loopback address"},
	{"64:ff9b::10.0.0.1", "private address"},
	{"64:ff9b::a9fe:a9fe", "cloud metadata address"},
	{"64:ff9b::198.41.0.4", "address of this machine"},
	{"64:ff9b::1.1.1.1", "ok"},
}

func TestRefusedRanges(t *testing.T) {
	e := newTest(t, Options{})
	for _, tt := range refusedTests {
		to, err := transport.AddrTarget(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 443))
		if err != nil {
			t.Fatal(err)
		}
		if got := reason(e.Check(to)); got != tt.want {
			t.Errorf("Check(%s): got %q, want %q", tt.addr, got, tt.want)
		}
		// A resolver may hand the same address over in its mapped form.
		if _, err := e.admit([]netip.Addr{netip.AddrFrom16(netip.MustParseAddr(tt.addr).As16())}, 443); reason(err) != tt.want {
			t.Errorf("admit(%s): got %q, want %q", tt.addr, reason(err), tt.want)
		}
	}
	if _, err := e.admit([]netip.Addr{netip.MustParseAddr("fe80::1%lo")}, 443); reason(err) != "address with a zone" {
		t.Errorf("admit with a zone: got %q, want a refusal", reason(err))
	}
	if err := e.Check(transport.Target{}); err == nil {
		t.Error("Check of the zero Target: got nil, want an error")
	}
}

// loopback is the rule that opens it.
var loopback = []string{"127.0.0.0/8"}

var checkTests = []struct {
	name   string
	config Config
	target string
	want   string
}{
	{"public name", Config{}, "example.com:443", "ok"},
	{"public address", Config{}, "1.1.1.1:22", "ok"},
	{"allow opens", Config{Allow: loopback}, "127.0.0.1:80", "ok"},
	{"allow opens inner", Config{Allow: loopback}, "[64:ff9b::127.0.0.1]:80", "ok"},
	{"allow opens with its port only", Config{Allow: []string{"127.0.0.1:80"}}, "127.0.0.1:81", "loopback address"},
	{"wider rule holds inside a narrower", Config{Allow: []string{"10.0.0.0/8:443", "10.1.0.0/16:80"}}, "10.1.2.3:443", "ok"},
	{"narrower rule does not leak out", Config{Allow: []string{"10.0.0.0/8:443", "10.1.0.0/16:80"}}, "10.2.2.3:80", "private address"},
	{"any host opens no range", Config{Allow: []string{"*", ":80"}}, "127.0.0.1:80", "loopback address"},
	{"everything by network", Config{Allow: []string{"0.0.0.0/0"}}, "10.0.0.1:80", "ok"},
	{"machine opened", Config{Allow: []string{"198.41.0.4"}}, "198.41.0.4:80", "ok"},

	{"deny wins", Config{Allow: loopback, Deny: []string{"127.0.0.1"}}, "127.0.0.1:80", "denied by rule"},
	{"deny wins on inner", Config{Deny: []string{"1.1.1.0/24"}}, "[64:ff9b::1.1.1.1]:80", "denied by rule"},
	{"deny port", Config{Deny: []string{":22"}}, "example.com:22", "denied by rule"},
	{"deny other port", Config{Deny: []string{":22"}}, "example.com:23", "ok"},
	{"deny exact", Config{Deny: []string{"example.com"}}, "example.com:443", "denied by rule"},
	{"deny exact, below", Config{Deny: []string{"example.com"}}, "www.example.com:443", "ok"},
	{"deny below", Config{Deny: []string{"*.example.com"}}, "a.b.example.com:443", "denied by rule"},
	{"deny below, itself", Config{Deny: []string{"*.example.com"}}, "example.com:443", "ok"},
	{"deny both", Config{Deny: []string{".example.com"}}, "example.com:443", "denied by rule"},
	{"deny both, below", Config{Deny: []string{".example.com"}}, "x.example.com:443", "denied by rule"},
	{"deny, similar name", Config{Deny: []string{".example.com"}}, "notexample.com:443", "ok"},
	{"deny upper case", Config{Deny: []string{"EXAMPLE.com"}}, "Example.Com.:443", "denied by rule"},

	{"localhost", Config{}, "localhost:80", "local name"},
	{"localhost opened", Config{Allow: loopback}, "localhost:80", "ok"},
	{"localhost opened by IPv6", Config{Allow: []string{"::1"}}, "localhost:80", "ok"},
	{"localhost opened, other port", Config{Allow: []string{"127.0.0.1:81"}}, "localhost:80", "local name"},
	{"localhost by name is not enough", Config{Allow: []string{"localhost"}}, "localhost:80", "local name"},
	{"below localhost", Config{}, "x.localhost:80", "local name"},
	{"below localhost opened", Config{Allow: loopback}, "x.localhost:80", "ok"},
	{"localhost denied", Config{Allow: loopback, Deny: []string{"localhost"}}, "localhost:80", "denied by rule"},
	{"metadata", Config{}, "metadata.google.internal:80", "local name"},
	{"metadata short", Config{}, "metadata:80", "local name"},
	{"instance-data", Config{}, "instance-data:80", "local name"},
	{"metadata opened", Config{Allow: []string{"169.254.169.254"}}, "metadata.google.internal:80", "ok"},
	{"metadata by name", Config{Allow: []string{".internal"}}, "metadata.google.internal:80", "local name"},
	{"local", Config{}, "printer.local:80", "local name"},
	{"internal", Config{}, "a.b.internal:80", "local name"},
	{"internal named", Config{Allow: []string{"*.b.internal"}}, "a.b.internal:80", "ok"},
	{"internal, any host", Config{Allow: []string{"*"}}, "a.b.internal:80", "local name"},
	{"internal, address", Config{Allow: []string{"10.0.0.0/8"}}, "a.b.internal:80", "local name"},
	{"home.arpa", Config{}, "nas.home.arpa:80", "local name"},
	{"onion", Config{}, "abc.onion:80", "local name"},
	{"single label", Config{}, "intra:80", "name without a dot"},
	{"single label named", Config{Allow: []string{"intra"}}, "intra:80", "ok"},
	{"localnews", Config{}, "notlocal.example:80", "ok"},

	{"smtp", Config{}, "example.com:25", "smtp port"},
	{"smtps", Config{}, "1.1.1.1:465", "smtp port"},
	{"submission", Config{}, "1.1.1.1:587", "smtp port"},
	{"2525", Config{}, "example.com:2525", "smtp port"},
	{"smtp by rule", Config{Allow: []string{":25"}}, "example.com:25", "ok"},
	{"smtp by named rule", Config{Allow: []string{"example.com:25"}}, "example.com:25", "ok"},
	{"smtp by a rule about another", Config{Allow: []string{"example.com:25"}}, "example.org:25", "smtp port"},
	{"smtp by a rule without a port", Config{Allow: []string{"example.com"}}, "example.com:25", "smtp port"},
	{"smtp by network without a port", Config{Allow: []string{"10.0.0.0/8"}}, "10.0.0.1:25", "smtp port"},
	{"smtp by network and range", Config{Allow: []string{"10.0.0.0/8:1-1024"}}, "10.0.0.1:25", "ok"},
	{"smtp to localhost", Config{Allow: []string{"127.0.0.1:25"}}, "localhost:25", "ok"},
	{"smtp to localhost, no port", Config{Allow: loopback}, "localhost:25", "smtp port"},
}

func TestCheck(t *testing.T) {
	for _, tt := range checkTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := reason(newTest(t, Options{Config: tt.config}).Check(target(t, tt.target))); got != tt.want {
				t.Errorf("Check(%s): got %q, want %q", tt.target, got, tt.want)
			}
		})
	}
}

var presetTests = []struct {
	presets, allow []string
	target         string
	want           string
}{
	{[]string{"telegram"}, nil, "149.154.167.51:443", "ok"},
	{[]string{"telegram"}, nil, "149.154.167.51:80", "ok"},
	{[]string{"telegram"}, nil, "149.154.167.51:5222", "ok"},
	{[]string{"telegram"}, nil, "149.154.167.51:22", "not in presets"},
	{[]string{"telegram"}, nil, "149.154.167.51:25", "smtp port"},
	{[]string{"telegram"}, nil, "95.161.76.100:443", "ok"},
	{[]string{"telegram"}, nil, "91.105.192.100:443", "ok"},
	{[]string{"telegram"}, nil, "[2001:67c:4e8:f002::a]:443", "ok"},
	{[]string{"telegram"}, nil, "[2a0a:f280:203:a:5000::100]:443", "ok"},
	{[]string{"telegram"}, nil, "[64:ff9b::149.154.167.51]:443", "ok"},
	{[]string{"telegram"}, nil, "1.1.1.1:443", "not in presets"},
	{[]string{"telegram"}, nil, "kws2.web.telegram.org:443", "ok"},
	{[]string{"telegram"}, nil, "example.com:443", "not in presets"},
	{[]string{"telegram"}, nil, "telegram.org.example.com:443", "not in presets"},
	{[]string{"telegram"}, nil, "localhost:443", "local name"},
	{[]string{"telegram"}, []string{"127.0.0.0/8"}, "localhost:443", "ok"},
	{[]string{"telegram"}, []string{"127.0.0.0/8"}, "127.0.0.1:443", "ok"},
	{[]string{"telegram"}, []string{"example.com:443"}, "example.com:443", "ok"},
	{[]string{"telegram"}, []string{"example.com:443"}, "example.com:80", "not in presets"},
	{[]string{"telegram"}, []string{"1.1.1.0/24"}, "1.1.1.1:443", "ok"},
	{[]string{"telegram"}, []string{":443"}, "1.0.0.1:443", "ok"},
	{[]string{"telegram"}, []string{"*"}, "example.com:80", "ok"},
	{[]string{"signal"}, nil, "grpc.chat.signal.org:443", "ok"},
	{[]string{"signal"}, nil, "sfu.voip.signal.org:443", "ok"},
	{[]string{"signal"}, nil, "chat.staging.signal.org:443", "ok"},
	{[]string{"signal"}, nil, "chat.signal.org:80", "not in presets"},
	{[]string{"signal"}, nil, "www.signal.org:443", "not in presets"},
	{[]string{"signal"}, nil, "x.chat.signal.org:443", "not in presets"},
	{[]string{"whatsapp"}, nil, "g.whatsapp.net:5222", "ok"},
	{[]string{"whatsapp"}, nil, "g.whatsapp.net:80", "ok"},
	{[]string{"whatsapp"}, nil, "whatsapp.net:443", "ok"},
	{[]string{"whatsapp"}, nil, "web.whatsapp.com:443", "ok"},
	{[]string{"whatsapp"}, nil, "whatsapp.net:587", "ok"},
	{[]string{"whatsapp"}, nil, "whatsapp.net:25", "smtp port"},
	{[]string{"whatsapp"}, nil, "example.com:587", "smtp port"},
	{[]string{"whatsapp"}, nil, "149.154.167.51:443", "not in presets"},
	{[]string{"signal", "telegram"}, nil, "149.154.167.51:443", "ok"},
}

func TestPresets(t *testing.T) {
	for _, tt := range presetTests {
		e := newTest(t, Options{Config: Config{Presets: tt.presets, Allow: tt.allow}})
		if got := reason(e.Check(target(t, tt.target))); got != tt.want {
			t.Errorf("presets %v, allow %v: Check(%s): got %q, want %q", tt.presets, tt.allow, tt.target, got, tt.want)
		}
	}
}

func TestOwnListener(t *testing.T) {
	own := func(s ...string) func() []netip.AddrPort {
		var list []netip.AddrPort
		for _, a := range s {
			list = append(list, netip.MustParseAddrPort(a))
		}
		return func() []netip.AddrPort { return list }
	}
	everything := Config{Allow: []string{"0.0.0.0/0", "::/0"}}
	tests := []struct {
		own    func() []netip.AddrPort
		target string
		want   string
	}{
		{own("127.0.0.1:1080"), "127.0.0.1:1080", "own listener"},
		{own("127.0.0.1:1080"), "127.0.0.1:1081", "ok"},
		{own("127.0.0.1:1080"), "127.0.0.2:1080", "ok"},
		{own("127.0.0.1:1080"), "0.0.0.0:1080", "own listener"},
		{own("127.0.0.1:1080"), "[::]:1080", "own listener"},
		{own("127.0.0.1:1080"), "[64:ff9b::127.0.0.1]:1080", "own listener"},
		{own("0.0.0.0:443"), "127.0.0.9:443", "own listener"},
		{own("[::]:443"), "127.0.0.1:443", "own listener"},
		{own("[::]:443"), "[::1]:443", "own listener"},
		{own("[::]:443"), "198.41.0.4:443", "own listener"},
		{own("[::]:443"), "[2001:503:ba3e::2:30]:443", "own listener"},
		{own("[::]:443"), "[2002:c629:4::]:443", "own listener"},
		{own("[::]:443"), "1.1.1.1:443", "ok"},
		{own("[::]:443"), "198.41.0.4:444", "ok"},
		{own("203.0.113.5:443", "[::ffff:127.0.0.1]:1080"), "127.0.0.1:1080", "own listener"},
		{nil, "127.0.0.1:1080", "ok"},
	}
	for _, tt := range tests {
		e := newTest(t, Options{Config: everything, Own: tt.own})
		if got := reason(e.Check(target(t, tt.target))); got != tt.want {
			t.Errorf("Check(%s): got %q, want %q", tt.target, got, tt.want)
		}
	}
}

func TestMachineRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []netip.Addr{netip.MustParseAddr("198.41.0.4")}
		var fail error
		reads := 0
		e := newTest(t, Options{Interfaces: func() ([]netip.Addr, error) { reads++; return list, fail }})
		check := func(addr, want string) {
			t.Helper()
			if got := reason(e.Check(target(t, addr+":443"))); got != want {
				t.Errorf("after %d reads: Check(%s): got %q, want %q", reads, addr, got, want)
			}
		}
		list = []netip.Addr{netip.MustParseAddr("198.41.0.5")}
		time.Sleep(machineRefresh - time.Second)
		check("198.41.0.4", "address of this machine")
		check("198.41.0.5", "ok")
		time.Sleep(time.Second)
		check("198.41.0.4", "ok")
		check("198.41.0.5", "address of this machine")
		fail = errors.New("no netlink")
		time.Sleep(machineRefresh)
		check("198.41.0.5", "address of this machine")
		if reads != 3 {
			t.Errorf("reads: got %d, want 3", reads)
		}
	})
	if _, err := New(Options{Interfaces: func() ([]netip.Addr, error) { return nil, errors.New("no netlink") }}); err == nil {
		t.Error("New without interface addresses: got nil, want an error")
	}
}

func BenchmarkCheckLiteral(b *testing.B) {
	listeners := []netip.AddrPort{netip.MustParseAddrPort("[::]:443"), netip.MustParseAddrPort("127.0.0.1:1080")}
	e := newTest(b, Options{Config: Config{Presets: presetNames(), Deny: []string{"1.2.3.0/24", ":22"}}, Own: func() []netip.AddrPort { return listeners }})
	for _, s := range []string{"149.154.167.51:443", "[2001:67c:4e8:f002::a]:443", "1.1.1.1:443", "g.whatsapp.net:5222"} {
		b.Run(s, func(b *testing.B) {
			to := target(b, s)
			b.ReportAllocs()
			for b.Loop() {
				_ = e.Check(to)
			}
		})
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	listeners := []netip.AddrPort{netip.MustParseAddrPort("[::]:443")}
	e := newTest(t, Options{Config: Config{Presets: presetNames()}, Own: func() []netip.AddrPort { return listeners }})
	for _, s := range []string{"149.154.167.51:443", "10.0.0.1:443", "chat.signal.org:443", "example.com:443"} {
		to := target(t, s)
		if got := testing.AllocsPerRun(100, func() { _ = e.Check(to) }); got != 0 {
			t.Errorf("Check(%s): got %v allocations, want 0", s, got)
		}
	}
}
