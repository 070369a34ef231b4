package main

import (
	"strings"
	"testing"

	"relay/auth"
	"relay/relay/admin"
)

// What is to last shares no address and no name with what gets blocked, and there is a
// way to write that without a warning. Links at an address that gets blocked say so.
func TestSharingFindings(t *testing.T) {
	const (
		cover    = "[cover]\nname = 'www.example.org'\nnames = ['cdn.example.org']\nsite = '/var/lib/site'\ncertificate = 'self-signed'\n"
		apart    = "[[listen]]\naddress = '203.0.113.5:443'\npublic = ['www.example.org']\ninbounds = ['web']\n[[listen]]\naddress = '203.0.113.6:443'\ninbounds = ['mtproto']\n" + cover
		burnt    = "the server name in ee secrets is that of durable links, "
		unserved = "the site does not answer to "
		rare     = "another port than 443 is rare"
	)
	listens := func(a, aPublic, aInbounds, b, bPublic, bInbounds string) string {
		return "[[listen]]\naddress = '" + a + "'\npublic = [" + aPublic + "]\ninbounds = [" + aInbounds + "]\n[[listen]]\naddress = '" + b + "'\npublic = [" + bPublic + "]\ninbounds = [" + bInbounds + "]\n" +
			cover + "[mtproto]\nnames = ['cdn.example.org']\n"
	}
	one := func(inbounds string) string {
		return "[[listen]]\naddress = '127.0.0.1:443'\npublic = ['www.example.org']\ninbounds = [" + inbounds + "]\n" + cover + "[mtproto]\nnames = ['cdn.example.org']\n"
	}
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"another name of the cover", apart + "[mtproto]\nnames = ['cdn.example.org']\n", nil},
		{"the name of the links", apart + "[mtproto]\nnames = ['www.example.org']\n", []string{burnt + "www.example.org: "}},
		{"nobody's name", apart + "[mtproto]\nnames = ['other.example.org']\n", []string{unserved + "other.example.org"}},
		{"no names", apart, []string{burnt + "www.example.org: "}},
		{
			"links under the second name", listens("203.0.113.5:443", "'CDN.example.org'", "'web'", "203.0.113.6:443", "", "'mtproto'"),
			[]string{burnt + "cdn.example.org: "},
		},
		{
			"one public address", listens("10.0.0.5:443", "'www.example.org'", "'web'", "10.0.0.6:443", "'WWW.example.org'", "'mtproto'"),
			[]string{"10.0.0.6:443 and 10.0.0.5:443: mtproto and web share an address, www.example.org: "},
		},
		{
			"one public host", listens("10.0.0.5:443", "'203.0.113.5'", "'web'", "10.0.0.6:8443", "'203.0.113.5'", "'mtproto'"),
			[]string{"another port than 443 is rare", "10.0.0.6:8443 and 10.0.0.5:443: mtproto and web are on ports of one host, 203.0.113.5: censors recognise Telegram's own hello, and one phone that uses it burns the host for both"},
		},
		{
			"the address of the other's links", listens("203.0.113.5:443", "'www.example.org'", "'web'", "10.0.0.6:443", "'203.0.113.5'", "'mtproto'"),
			[]string{"mtproto and web share an address, 203.0.113.5: "},
		},
		{
			"a wildcard for both", listens("0.0.0.0:443", "'www.example.org'", "'web'", "0.0.0.0:8443", "'tg.example.org'", "'mtproto'"),
			[]string{rare, "0.0.0.0:8443 and 0.0.0.0:443: mtproto and web are on ports of one host, as 0.0.0.0 is every address of this machine: censors recognise"},
		},
		{
			"a wildcard of both families", listens("[::]:443", "'www.example.org'", "'web'", ":8443", "'tg.example.org'", "'mtproto'"),
			[]string{rare, ":8443 and [::]:443: mtproto and web are on ports of one host, as :: is every address of this machine: "},
		},
		{
			"a wildcard and an address", listens("9.9.9.9:443", "'www.example.org'", "'web'", ":443", "'tg.example.org'", "'mtproto'"),
			[]string{":443 and 9.9.9.9:443: mtproto and web share an address, as :: is every address of this machine: "},
		},
		{
			"an address of a wildcard", listens("0.0.0.0:443", "'www.example.org'", "'web'", "9.9.9.9:8443", "'tg.example.org'", "'mtproto'"),
			[]string{rare, "9.9.9.9:8443 and 0.0.0.0:443: mtproto and web are on ports of one host, as 0.0.0.0 is every address of this machine: "},
		},
		{
			"one address behind NAT", listens("10.0.0.5:443", "'www.example.org'", "'web'", "10.0.0.5:8443", "'tg.example.org'", "'mtproto'"),
			[]string{rare, "10.0.0.5:8443 and 10.0.0.5:443: mtproto and web are on ports of one host, 10.0.0.5: "},
		},
		{"two addresses behind NAT", listens("10.0.0.5:443", "'www.example.org'", "'web'", "10.0.0.6:443", "'tg.example.org'", "'mtproto'"), nil},
		{"two families", listens("0.0.0.0:443", "'www.example.org'", "'web'", "[2620:fe::9]:443", "'tg.example.org'", "'mtproto'"), nil},
		{"behind nginx", listens("127.0.0.1:8080", "'www.example.org'", "'web'", "0.0.0.0:443", "'tg.example.org'", "'mtproto'"), nil},
		{"behind a CDN", strings.Replace(listens("0.0.0.0:8080", "'www.example.org'", "'web'", "0.0.0.0:443", "'tg.example.org'", "'mtproto'"), "['web']\n", "['web']\norigin = true\n", 1) + "[web]\nsecret_header = 'X-S'\nsecret = 'a long enough secret'\n", nil},
		{"the cover's name, where links have another", strings.Replace(apart, "www", "cdn", 1), []string{"the server name in ee secrets is the cover's own, www.example.org: "}},
		{"the cover's name, and no other links", "[[listen]]\naddress = '9.9.9.9:443'\ninbounds = ['mtproto']\n" + cover, nil},
		{"this machine alone", listens("127.0.0.1:443", "", "'web'", "127.0.0.1:8443", "", "'mtproto'"), nil},
		{"one listener", one("'web', 'mtproto'"), []string{"127.0.0.1:443: mtproto and web share an address: censors recognise Telegram's own hello"}},
		{"socks5", one("'web', 'socks5'"), []string{"127.0.0.1:443: socks5 and web share an address: socks5 is burnable and easy to recognise, and whoever blocks it burns the address for both; give socks5 one of its own"}},
		{"http", one("'http', 'web'"), []string{"127.0.0.1:443: http and web share an address: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, tabs := parsed(t, tt.src)
			wantFindings(t, partFindings(cfg, tabs), tt.want...)
			want := admin.Durable
			if shared := strings.Join(tt.want, "\n"); strings.Contains(shared, " share an address") || strings.Contains(shared, " are on ports of one host") {
				want = admin.Burnable
			}
			found := 0
			for _, l := range linksOf(t, cfg, tabs, new(auth.Record)) {
				if strings.HasPrefix(l.Protocol, "vless-") && l.Lives != "" {
					found++
					if l.Lives != want {
						t.Errorf("a link of web: got %q, want %q", l.Lives, want)
					}
				}
			}
			if want == admin.Burnable && found == 0 {
				t.Error("links: got none of web, want what is burnt")
			}
		})
	}
}
