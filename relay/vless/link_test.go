package vless

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

const (
	linkID   = "10111213-1415-4617-8819-1a1b1c1d1e1f"
	linkPin  = "54807151bd83523fee9081f08d708aecb59a3f3e75f154d7e96d35f51149ff8e"
	linkPath = "q3zk7n5w2m4p6r8t"
)

// linkTo is a link with a query.
func linkTo(query string) string { return "vless://" + linkID + "@www.example.org:443?" + query }

// links are what people have: ours, v2rayN's, v2rayNG's, panels', and by hand.
var links = []string{
	linkTo("encryption=none&security=tls&sni=www.example.org&fp=chrome&type=xhttp&host=www.example.org&path=%2F" + linkPath + "%2F&mode=stream-one&alpn=h2&extra=%7B%22xmux%22%3A%7B%22maxConnections%22%3A3%2C%22hMaxRequestTimes%22%3A%22600-900%22%7D%7D&pcs=" + linkPin + "#www.example.org%20xhttp"),
	linkTo("encryption=none&security=tls&type=ws&path=/" + linkPath + "?ed=2048&alpn=http/1.1#by hand ✓"),
	linkTo("encryption=none&type=xhttp&security=tls&sni=sub.example.net&alpn&host=sub.example.net&path=/new&mode=packet-up&pcs=" + strings.ToUpper(linkPin) + "&vcn=test.example.com#TEST"),
	"vless://" + strings.ReplaceAll(linkID, "-", "") + "@[2001:db8::1]:8443/?type=splithttp&security=tls&allowInsecure=0&headerType=none&spx=%2F&packetEncoding=xudp",
	"VLESS://my%20name@203.0.113.5:80?type=ws&security=none&path=x%20y",
	"",
}

func TestParseLink(t *testing.T) {
	id := [16]byte([]byte(aliceID))
	pin := [32]byte{0x54, 0x80, 0x71, 0x51, 0xbd, 0x83, 0x52, 0x3f, 0xee, 0x90, 0x81, 0xf0, 0x8d, 0x70, 0x8a, 0xec, 0xb5, 0x9a, 0x3f, 0x3e, 0x75, 0xf1, 0x54, 0xd7, 0xe9, 0x6d, 0x35, 0xf5, 0x11, 0x49, 0xff, 0x8e}
	for i, want := range []*Link{
		{
			UUID: id, Host: "www.example.org", Port: 443, Type: TypeXHTTP, TLS: true, SNI: "www.example.org", Header: "www.example.org",
			Path: "/" + linkPath + "/", Mode: "stream-one", ALPN: []string{"h2"}, Fingerprint: "chrome", Pins: [][32]byte{pin}, Remark: "www.example.org xhttp",
			Extra: Extra{Raw: `{"xmux":{"maxConnections":3,"hMaxRequestTimes":"600-900"}}`, XMux: XMux{MaxConnections: Range{3, 3}, MaxRequests: Range{600, 900}}},
		},
		{
			UUID: id, Host: "www.example.org", Port: 443, Type: TypeWS, TLS: true,
			Path: "/" + linkPath, Early: 2048, ALPN: []string{"http/1.1"}, Remark: "by hand ✓",
		},
		{
			UUID: id, Host: "www.example.org", Port: 443, Type: TypeXHTTP, TLS: true, SNI: "sub.example.net", Header: "sub.example.net",
			Path: "/new", Mode: "packet-up", Pins: [][32]byte{pin}, VerifyNames: []string{"test.example.com"}, Remark: "TEST",
		},
		{
			UUID: id, Host: "2001:db8::1", Port: 8443, Type: TypeXHTTP, TLS: true, Path: "/", Mode: "auto", Packets: "xudp",
			Unknown: []string{"headerType", "spx"},
		},
		{
			Host: "203.0.113.5", Port: 80, Type: TypeWS, Path: "/x%20y",
		},
	} {
		got, err := ParseLink(" \t" + links[i] + "\r\n")
		if err != nil {
			t.Errorf("%s: got %v, want nil", links[i], err)
			continue
		}
		if i == 4 {
			want.UUID = got.UUID // of a name: see TestParseUUID
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", links[i], *got, *want)
		}
		again, err := ParseLink(got.String())
		if got.Unknown = nil; err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("printed as %s: got %+v, %v, want %+v", got, again, err, *got)
		}
	}
}

func TestParseLinkParts(t *testing.T) {
	const tls = "security=tls&type=xhttp&"
	for _, c := range []struct {
		query string
		get   func(l *Link) any
		want  any
	}{
		{tls, func(l *Link) any { return l.ServerName() }, "www.example.org"},
		{tls + "host=a.example:8443", func(l *Link) any { return l.ServerName() + " " + l.Authority() }, "a.example a.example:8443"},
		{tls + "host=a.example&sni=b.example", func(l *Link) any { return l.ServerName() + " " + l.Authority() }, "b.example a.example"},
		{tls + "sni=b.example", func(l *Link) any { return l.Authority() }, "b.example"},
		{tls + "path=", func(l *Link) any { return l.Path }, "/"},
		{tls + "path=a/b%3Fx=1%26ed=5", func(l *Link) any { return l.Path }, "/a/b?x=1&ed=5"},
		{tls + "path=/%F0%9F%87%A8%22", func(l *Link) any { return l.Path }, "/%F0%9F%87%A8%22"},
		{"type=ws&path=/a%3Fx=1%26ed=5%26y=2", func(l *Link) any { return fmt.Sprint(l.Path, l.Early, l.path()) }, "/a?x=1&y=25/a?x=1&y=2&ed=5"},
		{"type=ws&path=/a?ed=", func(l *Link) any { return l }, nil},
		{tls + "alpn=h3,h2,%20http/1.1,", func(l *Link) any { return l.ALPN }, []string{"h3", "h2", "http/1.1"}},
		{tls + "ech=AEX+DQBB/w==", func(l *Link) any { return l.ECH }, "AEX+DQBB/w=="},
		{tls + "ech=name.example%2Bhttps://1.1.1.1/dns-query", func(l *Link) any { return l.ECH }, "name.example+https://1.1.1.1/dns-query"},
		{tls + "pcs=" + linkPin + "," + linkPin, func(l *Link) any { return len(l.Pins) }, 2},
		{tls + "pcs=" + linkPin + "~" + linkPin, func(l *Link) any { return len(l.Pins) }, 2},
		{tls + "pcs=54:80:71:51:BD:83:52:3F:EE:90:81:F0:8D:70:8A:EC:B5:9A:3F:3E:75:F1:54:D7:E9:6D:35:F5:11:49:FF:8E", func(l *Link) any { return l.pins() }, linkPin},
		{tls + "pcs=" + linkPin + "&allowInsecure=1", func(l *Link) any { return len(l.Pins) }, 1},
		{tls + "encryption=&flow=&x=1&y&ab%20c=", func(l *Link) any { return l.Unknown }, []string{"x", "y", "a parameter"}},
		{tls + `extra={"xPaddingBytes":"100-1000","scMaxEachPostBytes":500000,"scMinPostsIntervalMs":"50-10","headers":{"X-A":"b"},"noGRPCHeader":true,"downloadSettings":null,"zz":1,"noSSEHeader":true,"Aa":{}}`,
			func(l *Link) any { x := l.Extra; x.Raw = ""; return fmt.Sprint(x, l.Unknown) },
			"{ {{0 0} {0 0} {0 0} {0 0} {0 0} 0} {100 1000} {500000 500000} {10 50} map[X-A:b] true} [extra.Aa extra.zz]"},
		{tls + `extra={"xmux":{"hKeepAlivePeriod":-1,"maxConcurrency":"16-32","cMaxReuseTimes":"64","hMaxReusableSecs":0}}`,
			func(l *Link) any { return fmt.Sprint(l.Extra.XMux) }, "{{16 32} {0 0} {64 64} {0 0} {0 0} -1}"},
		{"type=ws&extra={", func(l *Link) any { return l.Unknown }, []string{"extra"}},
	} {
		l, err := ParseLink(linkTo(c.query))
		switch {
		case c.want == nil:
			if err == nil {
				t.Errorf("%s: got %+v, want an error", c.query, *l)
			}
		case err != nil:
			t.Errorf("%s: got %v, want nil", c.query, err)
		case !reflect.DeepEqual(c.get(l), c.want):
			t.Errorf("%s: got %v, want %v", c.query, c.get(l), c.want)
		}
	}
}

// What is refused is said, and neither the id nor the path.
func TestParseLinkRefused(t *testing.T) {
	const path = "&path=/" + linkPath
	ok := "security=tls&type=xhttp" + path
	for _, c := range []struct{ link, want string }{
		{linkTo("security=reality&type=xhttp&pbk=x" + path), "REALITY"},
		{linkTo("security=xtls&type=xhttp" + path), "security"},
		{linkTo("security=tls&type=tcp" + path), "TCP"},
		{linkTo("security=tls" + path), "TCP"},
		{linkTo("security=tls&type=grpc" + path), "type=grpc"},
		{linkTo("security=tls&type=hysteria2" + path), "carrier"},
		{linkTo(ok + "&flow=xtls-rprx-vision"), "Vision"},
		{linkTo(ok + "&encryption=mlkem768x25519plus.native.0rtt.x"), "encryption=none"},
		{linkTo(ok + "&allowInsecure=1"), "pcs"},
		{linkTo(ok + "&insecure=true"), "pcs"},
		{linkTo(ok + "&fm={}"), "mask"},
		{linkTo(ok + "&alpn=h3"), "HTTP/3"},
		{linkTo(ok + "&mode=gun"), "mode"},
		{linkTo(ok + "&mode=auto&mode=auto"), "once"},
		{linkTo(ok + "&pcs=00"), "pcs"},
		{linkTo(ok + "&pcs=" + linkPin + "0"), "pcs"},
		{linkTo(ok + "&sni=a%0d%0ab"), "sni"},
		{linkTo(ok + "&host=a,b"), "host"},
		{linkTo(ok + "&x=%"), "escaped"},
		{linkTo("security=tls&type=xhttp&path=/" + linkPath + "%0d%0a"), "path"},
		{linkTo("security=tls&type=ws&path=/" + linkPath + "?ed=99999"), "ed"},
		{linkTo(ok + `&extra={"downloadSettings":{"address":"x"}}`), "downloadSettings"},
		{linkTo(ok + `&extra={"xPaddingObfsMode":true}`), "xPaddingObfsMode"},
		{linkTo(ok + `&extra={"uplinkHTTPMethod":"PUT"}`), "uplinkHTTPMethod"},
		{linkTo(ok + `&extra={"sessionPlacement":"cookie"}`), "sessionPlacement"},
		{linkTo(ok + `&extra={"sessionIDPlacement":"query"}`), "sessionPlacement"},
		{linkTo(ok + `&extra={"seqPlacement":"header"}`), "seqPlacement"},
		{linkTo(ok + `&extra={"uplinkDataPlacement":"header"}`), "uplinkDataPlacement"},
		{linkTo(ok + `&extra={"sessionIDTable":"abc"}`), "sessionIDTable"},
		{linkTo(ok + `&extra={"headers":{"Host":"x"}}`), "headers"},
		{linkTo(ok + `&extra={"headers":{"X":"a\r\nb"}}`), "headers"},
		{linkTo(ok + `&extra={"xPaddingBytes":0}`), ""},
		{linkTo(ok + `&extra={"xPaddingBytes":"0-5"}`), "xPaddingBytes"},
		{linkTo(ok + `&extra={"xPaddingBytes":"100-100000"}`), "xPaddingBytes"},
		{linkTo(ok + `&extra={"scMaxEachPostBytes":"5-x"}`), "extra"},
		{linkTo(ok + `&extra={"scMaxEachPostBytes":99999999999}`), "extra"},
		{linkTo(ok + `&extra=[]`), "extra"},
		{linkTo(ok + `&extra=null`), "extra"},
		{linkTo(ok + `&extra={`), "extra"},
		{"vless://" + linkID + "@www.example.org?" + ok, "host name and port"},
		{"vless://" + linkID + "@www.example.org:0?" + ok, "host name and port"},
		{"vless://" + linkID + "@127.1:443?" + ok, "host name and port"},
		{"vless://" + linkID + "@:443?" + ok, "host name and port"},
		{"vless://" + linkID[1:] + "@www.example.org:443?" + ok, "UUID"},
		{"vless://" + linkID + "0@www.example.org:443?" + ok, "UUID"},
		{"vless://" + "@www.example.org:443?" + ok, "UUID"},
		{"vless://www.example.org:443?" + ok, "vless://UUID@HOST:PORT"},
		{"vmess://" + linkID + "@www.example.org:443?" + ok, "vless://"},
		{linkID, "vless://"},
		{"", "vless://"},
		{linkTo(ok + "&x=" + strings.Repeat("x", maxLink)), "8192"},
	} {
		l, err := ParseLink(c.link)
		if c.want == "" {
			if err != nil {
				t.Errorf("%.150s: got %v, want nil", c.link, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.150s: got %+v, %v, want an error with %q", c.link, l, err, c.want)
			continue
		}
		for _, secret := range []string{linkID, linkID[1:], linkPath} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%.150s: got %v, want no secret in it", c.link, err)
			}
		}
	}
}

// Names are mapped as in Xray's own test (common/uuid/uuid_test.go) and in its
// documentation.
func TestParseUUID(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{linkID, linkID},
		{strings.ToUpper(linkID), linkID},
		{strings.ReplaceAll(linkID, "-", ""), linkID},
		{"example", "feb54431-301b-52bb-a6dd-e1e93e81bb9e"},
		{"我爱🍉老师1314", "5783a3e7-e373-51cd-8642-c83782b807c5"},
		{linkID[:30], "?"}, {linkID[:31], ""}, {linkID + "0", ""}, {"", ""}, {strings.Repeat("x", 32), ""},
	} {
		id, err := parseUUID(c.text)
		got := formatUUID(id)
		if c.want == "?" && err == nil {
			continue
		}
		if (err == nil) != (c.want != "") || c.want != "" && got != c.want {
			t.Errorf("%q: got %s, %v, want %s", c.text, got, err, c.want)
		}
	}
}

// A link in a log line says nothing.
func TestLinkIsSecret(t *testing.T) {
	l, err := ParseLink(links[0])
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("upstream", "link", l)
	if said := b.String(); strings.Contains(said, linkID) || strings.Contains(said, linkPath) || !strings.Contains(said, "[secret]") {
		t.Errorf("log: got %q, want [secret]", said)
	}
}

// FuzzParseLink: what is read is printed so that it is read again, and errors keep the
// secrets.
func FuzzParseLink(f *testing.F) {
	for _, l := range links {
		f.Add(l)
	}
	for _, q := range []string{
		"type=ws&path=%2f%3fed%3d2048%26x", "security=tls&type=xhttp&extra=%7B%22headers%22%3A%7B%22a%22%3A%22b%22%7D%7D&ech=a%2bb&vcn=a,b&pcs=" + linkPin + "~" + linkPin,
		"type=xhttp&extra=%7B%22xPaddingBytes%22%3A%221-2%22%2C%22zz%22%3A1%7D#%zz", "security=reality", "type=xhttp&mode=auto&&&=&x",
	} {
		f.Add(linkTo(q))
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLink(text)
		if err != nil {
			if l != nil || strings.Contains(err.Error(), linkID) || strings.Contains(err.Error(), linkPath) {
				t.Errorf("%q: got %+v, %v, want an error alone, without secrets", text, l, err)
			}
			return
		}
		if _, err := l.Server(); err != nil || l.ServerName() == "" || l.Authority() == "" || l.Path[0] != '/' {
			t.Errorf("%q: got %+v, want a server and a path", text, *l)
		}
		for _, name := range l.Unknown {
			if printable(strings.TrimPrefix(name, "extra.")) == "a parameter" && !strings.HasSuffix(name, "a parameter") {
				t.Errorf("%q: got the unknown parameter %q, want one that can be printed", text, name)
			}
		}
		said := l.String()
		if len(said) > maxLink {
			return
		}
		again, err := ParseLink(said)
		if err != nil {
			t.Fatalf("%q printed as %q: got %v, want nil", text, said, err)
		}
		l.Unknown, again.Unknown = nil, nil // parameters are not printed again
		if !reflect.DeepEqual(again, l) {
			t.Errorf("%q printed as %q: got %+v, want %+v", text, said, *again, *l)
		}
	})
}

// TestOtherLink has links of other programs: the error says where they belong.
func TestOtherLink(t *testing.T) {
	for _, tt := range []struct {
		text string
		want error
	}{
		{"tg://proxy?server=192.0.2.1&port=443&secret=ee00", errTelegram},
		{"https://t.me/proxy?server=192.0.2.1&port=443&secret=ee00", errTelegram},
		{"HTTPS://T.ME/socks?server=192.0.2.1&port=443", errTelegram},
		{"https://signal.tube/#relay.example", errSignal},
		{"socks5://alice:hunter2@192.0.2.1:1080", errProgram},
		{"vmess://eyJ2IjoiMiJ9", errProtocol},
		{"https://relay.example/links.html", errPage},
		{"http://[", errLinkForm},
		{"proxy.example", errLinkForm},
		{"vles://x@relay.example:443", errLinkForm},
	} {
		if _, err := ParseLink(tt.text); err != tt.want {
			t.Errorf("%s: got %v, want %v", tt.text, err, tt.want)
		}
	}
}
