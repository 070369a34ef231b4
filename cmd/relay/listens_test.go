package main

import (
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay/config"
)

// parsed reads a configuration without faults.
func parsed(t *testing.T, src string) (*config.Config, []config.Table) {
	t.Helper()
	tabs := tables()
	cfg, faults := config.Parse("r", []byte(src), inboundNames(), tabs)
	if faults != nil {
		t.Fatalf("got %v, want no fault", faults)
	}
	return cfg, tabs
}

// wantFindings wants as many as there are texts, and each with its text.
func wantFindings(t *testing.T, got []finding, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i, w := range want {
		if !strings.Contains(string(got[i]), w) {
			t.Errorf("got %q, want %q", got[i], w)
		}
	}
}

// A socket at [::] takes IPv4 too, unless the service manager says otherwise.
func TestListenFindings(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("about Linux")
	}
	const meet = "the first one takes IPv4 as well"
	for _, tt := range []struct {
		name, a, b string
		want       []string
	}{
		{"both families", "[::]:1080", "0.0.0.0:1080", []string{"[::]:1080 and 0.0.0.0:1080: " + meet}},
		{"an address", "127.0.0.1:1080", ":1080", []string{":1080 and 127.0.0.1:1080: " + meet}},
		{"another port", "[::]:1080", "0.0.0.0:1081", nil},
		{"one address of each", "[::1]:1080", "127.0.0.1:1080", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := parsed(t, "[[listen]]\naddress = '"+tt.a+"'\ninbounds = ['socks5']\n[[listen]]\naddress = '"+tt.b+"'\ninbounds = ['http']\n")
			wantFindings(t, listenFindings(cfg), tt.want...)
		})
	}
}

// Who may send PROXY protocol headers is believed.
func TestProxyProtocolFindings(t *testing.T) {
	for _, tt := range []struct {
		name, address, proxied, want string
	}{
		{"everybody", "192.0.2.1:443", "0.0.0.0/0", "192.0.2.1:443: proxy_protocol = [\"0.0.0.0/0\"] lets anybody say that he is somebody else"},
		{"everybody with IPv6", ":443", "::/0", ":443: proxy_protocol = [\"::/0\"] lets anybody"},
		{"half of everybody", ":443", "128.0.0.0/1", ":443: proxy_protocol = [\"128.0.0.0/1\"] lets anybody"},
		{"a balancer", ":443", "192.0.2.10", ""},
		{"a private network", ":443", "10.0.0.0/8", ""},
		{"this machine", "127.0.0.1:443", "0.0.0.0/0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := parsed(t, "[[listen]]\naddress = '"+tt.address+"'\ninbounds = ['socks5']\nproxy_protocol = ['"+tt.proxied+"']\n")
			var want []string
			if tt.want != "" {
				want = append(want, tt.want)
			}
			wantFindings(t, listenFindings(cfg), want...)
		})
	}
}

// Names of ee secrets are server names, which addresses are not.
func TestAddressAsName(t *testing.T) {
	const problem = `is an address, and ee secrets carry it as a server name`
	for _, tt := range []struct {
		name, cover, more, want string
	}{
		{"the cover's name", "name = '127.0.0.1'", "", `cover.name: "127.0.0.1" ` + problem},
		{"the first of its names", "names = ['127.0.0.1', 'www.example.org']", "", `cover.names[0]: "127.0.0.1" ` + problem},
		{"another one", "names = ['www.example.org', '127.0.0.1']", "", ""},
		{"names of its own", "name = '127.0.0.1'", "[mtproto]\nnames = ['cdn.example.org']\n", ""},
		{"no ee secrets", "name = '127.0.0.1'", "[mtproto]\nsecrets = ['dd']\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "[[listen]]\naddress = '127.0.0.1:443'\ninbounds = ['mtproto']\n[cover]\nforward = '127.0.0.1:8443'\n" + tt.cover + "\n" + tt.more
			_, faults := config.Parse("r", []byte(src), inboundNames(), tables())
			if len(faults) > 1 || (faults != nil) != (tt.want != "") || !strings.Contains(faults.Error(), tt.want) {
				t.Errorf("got %v, want %q", faults, tt.want)
			}
		})
	}
}

// Names of ee secrets come from the cover, which strangers have to see anyway.
func TestNoNames(t *testing.T) {
	for _, tt := range []struct{ name, more, want string }{
		{"no cover", "", "mtproto.names: no server name for ee secrets, as there is no [cover] (write a [cover] table: "},
		{"a cover without a name", "[cover]\nforward = '127.0.0.1:8443'\n", "mtproto.names: no server name for ee secrets, as [cover] has none (write the name of the site below [cover]; "},
		{"names without a cover", "[mtproto]\nnames = ['cdn.example.net']\n", ""},
		{"no ee secrets", "[mtproto]\nsecrets = ['dd']\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := config.Parse("r", []byte("[[listen]]\naddress = '127.0.0.1:443'\ninbounds = ['mtproto']\n"+tt.more), inboundNames(), tables())
			if len(faults) > 1 || (faults != nil) != (tt.want != "") || !strings.Contains(faults.Error(), tt.want) {
				t.Errorf("got %v, want %q", faults, tt.want)
			}
		})
	}
}

// An address that nobody reaches a listener by is said by check and beside the links.
func TestUnreachable(t *testing.T) {
	const (
		noSix   = "2620:fe::9 cannot be reached: no mtproto listens on IPv6 at this port; write [::] in place of "
		noFour  = "9.9.9.9 cannot be reached: no mtproto listens on IPv4 at this port; write [::] in place of "
		unowned = " is an address that no machine has"
	)
	listen := func(address, public string) string {
		return "[[listen]]\naddress = '" + address + "'\npublic = [" + public + "]\ninbounds = ['mtproto']\n"
	}
	const both = "'9.9.9.9', '2620:fe::9', 'relay.example.com'"
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"IPv4 alone", listen("0.0.0.0:443", both), []string{"0.0.0.0:443: " + noSix + "0.0.0.0 "}},
		{"a machine behind NAT", listen("10.0.0.5:443", both), []string{"10.0.0.5:443: " + noSix}},
		{"IPv6 alone", listen("[2620:fe::9]:443", both), []string{"[2620:fe::9]:443: " + noFour}},
		{"both families", listen("[::]:443", both), nil},
		{"no address", listen(":443", both), nil},
		{"a listener for each", listen("9.9.9.9:443", both) + listen("[2620:fe::9]:443", both), nil},
		{"at another port", listen("9.9.9.9:443", both) + listen("[2620:fe::9]:8443", "'2620:fe::9'"), []string{"9.9.9.9:443: " + noSix}},
		{"another protocol", listen("9.9.9.9:443", both) + strings.Replace(listen("[2620:fe::9]:443", ""), "mtproto", "socks5", 1), []string{"9.9.9.9:443: " + noSix}},
		{"behind a balancer", listen("10.0.0.5:443", both) + "proxy_protocol = ['10.0.0.1']\n", nil},
		{"behind another program", listen("127.0.0.1:8443", both), nil},
		{"multicast", listen(":443", "'224.0.0.1', 'ff02::1'"), []string{"224.0.0.1" + unowned, "ff02::1" + unowned}},
		{"broadcast", listen(":443", "'255.255.255.255'"), []string{"255.255.255.255" + unowned}},
		{"class E", listen("0.0.0.0:443", "'240.0.0.1'"), []string{"240.0.0.1" + unowned}},
		{"an example of IPv6", listen("0.0.0.0:443", "'2001:db8::1'"), []string{"0.0.0.0:443: 2001:db8::1 cannot be reached: "}},
		{"none at all", listen("0.0.0.0:443", "'0.0.0.0', '::'"), []string{":443: 0.0.0.0" + unowned, ":443: ::" + unowned}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, tabs := parsed(t, tt.src+"[mtproto]\nnames = ['cdn.example.org']\n")
			wantFindings(t, listenFindings(cfg), tt.want...)
			said := make(map[string]bool)
			for _, l := range linksOf(t, cfg, tabs, new(auth.Record)) {
				for _, w := range l.Warnings {
					said[w] = true
				}
			}
			var got []finding
			for _, w := range slices.Sorted(maps.Keys(said)) {
				got = append(got, finding(":443: "+w))
			}
			if len(got) != len(tt.want) {
				t.Errorf("links: got %q, want %q", got, tt.want)
			}
		})
	}
}

// An address that leads nowhere, or not from everywhere, is said by check in the words
// that links have, once.
func TestStrayFindings(t *testing.T) {
	const (
		sample  = " is an address of examples and leads nowhere; write yours into public"
		here    = " is this computer itself: for others, write the address as seen from outside into public"
		network = " is known in its own network only: for others, write the address as seen from outside into public"
		unknown = " is not a public name: phones elsewhere cannot look it up"
	)
	for _, tt := range []struct {
		name, address, public string
		want                  []string
	}{
		{"of examples", "0.0.0.0:443", "'203.0.113.6'", []string{"203.0.113.6" + sample}},
		{"of examples, of another family behind a program", "127.0.0.4:443", "'2001:db8::1'", []string{"2001:db8::1" + sample}},
		{"loopback", "0.0.0.0:443", "'127.0.0.2'", []string{"127.0.0.2" + here}},
		{"private", "0.0.0.0:443", "'192.168.1.4', '10.0.0.1'", []string{"192.168.1.4" + network, "10.0.0.1" + network}},
		{"a name of a network", "0.0.0.0:443", "'relay.lan'", []string{"relay.lan" + unknown}},
		{"public ones", "0.0.0.0:443", "'9.9.9.9', 'relay.example.com'", nil},
		{"none", "10.0.0.5:443", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listen := "[[listen]]\naddress = '" + tt.address + "'\npublic = [" + tt.public + "]\ninbounds = ['mtproto', 'socks5']\n"
			cfg, tabs := parsed(t, listen+strings.Replace(listen, ":443", ":8443", 1)+"[mtproto]\nnames = ['cdn.example.net']\n")
			got := listenFindings(cfg)
			wantFindings(t, got, tt.want...)
			for _, l := range linksOf(t, cfg, tabs, new(auth.Record)) {
				if len(got) > 0 && (len(l.Warnings) != 1 || !slices.Contains(got, finding(l.Warnings[0]))) {
					t.Errorf("a link: got %q, want one of %q", l.Warnings, got)
				}
			}
		})
	}
}

// linksOf are the links of a new user of a relay that does not run.
func linksOf(t *testing.T, cfg *config.Config, tabs []config.Table, r *auth.Record) []link {
	t.Helper()
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	users := auth.NewStopped(store, slog.New(slog.DiscardHandler))
	defer users.Close()
	if _, err := prepare(cfg, tabs, users); err != nil {
		t.Fatal(err)
	}
	r.Name = "alice"
	if err := users.Add(r); err != nil {
		t.Fatal(err)
	}
	return linkerOf(cfg, tabs, users).links(r)
}

// Links that name no host have an address that the listener has.
func TestNearest(t *testing.T) {
	six, four, none := netip.MustParseAddr("2620:fe::9"), netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("127.0.0.1")
	for _, tt := range []struct {
		name     string
		own      []netip.Addr
		wildcard string
		want     netip.Addr
	}{
		{"IPv4 alone", []netip.Addr{six, four}, "0.0.0.0", four},
		{"both", []netip.Addr{six, four}, "::", six},
		{"both, of IPv4", []netip.Addr{four}, "::", four},
		{"IPv4 alone, of IPv6", []netip.Addr{six}, "0.0.0.0", none},
		{"no address", nil, "::", none},
	} {
		if got := nearest(tt.own, netip.MustParseAddr(tt.wildcard)); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
