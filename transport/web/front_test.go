package web

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/transport/resolve"
)

// echList is an ECHConfigList with one config of one byte.
var echList = []byte{0, 5, 0xfe, 0x0d, 0, 1, 'x'}

// doh is what resolver = "https://1.1.1.1/dns-query" gives.
var doh = resolve.Config{Ways: []resolve.Way{{Server: &resolve.Server{Host: "1.1.1.1"}}}}

func TestFrontCheck(t *testing.T) {
	name, none, bad, addr := "front.example", "", "a b", "192.0.2.1"
	for _, tt := range []struct {
		name  string
		front Front
		want  string // "key: problem", one for each fault
	}{
		{"nothing", Front{}, ""},
		{"everything", Front{
			Connect: []string{"203.0.113.5", "Front.example:443", "[2001:db8::1]:8443", "2001:db8::1", "[2001:db8::2]"}, Resolver: doh,
			SNI: &name, CertificateName: "www.example.org", Host: new("hidden.example:8443"), Path: "/a-secret-path/", Version: H2, Mode: ModePacketUp, ECH: "dns",
			PostBytes: Bytes{1000, 2000}, PostInterval: DefaultPostInterval,
		}, ""},
		{"no name, pins", Front{SNI: &none, Pins: []Pin{{}}}, ""},
		{"no name, certificate of an address", Front{SNI: &none, CertificateName: "192.0.2.1"}, ""},
		{"ECH from the file", Front{ECH: base64.StdEncoding.EncodeToString(echList)}, ""},
		{"no name and nothing else", Front{SNI: &none}, "sni: without a name, nothing says whose certificate to take"},
		{"no name", Front{SNI: &bad}, `sni: "a b" is not a host name`},
		{"an address as a name", Front{SNI: &addr}, `sni: "192.0.2.1" is not a host name`},
		{"places", Front{Connect: []string{"", "a:0", "a:99999", "a:b:c", "0.0.0.0", "[::1", "[192.0.2.1]", "fe80::1%eth0", "https://a/", "224.0.0.1:1"}},
			`connect[0]: "" is neither; connect[1]: "a:0" has no port; connect[2]: "a:99999" has no port; connect[3]: "a:b:c" has no port; connect[4]: "0.0.0.0" is not an address; ` +
				`connect[5]: "[::1" has no port; connect[6]: "[192.0.2.1]" is neither; connect[7]: "fe80::1%eth0" is not an address; connect[8]: "https://a/" has no port; connect[9]: "224.0.0.1:1" is not an address`},
		{"a place twice", Front{Connect: []string{"A.example.", "a.example"}}, `connect[1]: "a.example" is connect[0] already`},
		{"too many places", Front{Connect: numbered(33)}, "connect: 33 of them"},
		{"too many pins", Front{Pins: make([]Pin, 17)}, "pins: 17 of them"},
		{"pins and a name", Front{Pins: make([]Pin, 1), CertificateName: "a.example"}, "certificate_name: pins are there too"},
		{"certificate", Front{CertificateName: "*.example"}, `certificate_name: "*.example" is neither`},
		{"host", Front{Host: new("a/b")}, `host: "a/b" is not a host`},
		{"no host", Front{Host: &none}, `host: "" is not a host`},
		{"no places", Front{Connect: []string{}}, "connect: names no place to connect to"},
		{"path", Front{Path: "hunter2"}, "path: does not begin with a slash"},
		{"path with a query", Front{Path: "/hunter2?ed=2048"}, "path: is not the path of a URL"},
		{"path with a line", Front{Path: "/hunter2\r\nX: y"}, "path: is not the path of a URL"},
		{"long path", Front{Path: Secret("/" + strings.Repeat("x", mostPath))}, "path: is not the path of a URL"},
		{"version", Front{Version: "h3"}, `version: unknown version "h3"`},
		{"mode", Front{Mode: "grpc"}, `mode: unknown mode "grpc"`},
		{"stream-up over HTTP/1.1", Front{Version: HTTP1, Mode: ModeStreamUp}, `version: mode "stream-up" goes over HTTP/2 only`},
		{"stream-one over HTTP/1.1", Front{Version: HTTP1, Mode: ModeStreamOne}, `version: mode "stream-one" goes over HTTP/2 only`},
		{"packet-up over HTTP/1.1", Front{Version: HTTP1, Mode: ModePacketUp, PostInterval: DefaultPostInterval}, ""},
		{"auto over HTTP/1.1", Front{Version: HTTP1, Mode: ModeAuto}, ""},
		{"WebSocket over HTTP/2", Front{Version: H2, Mode: ModeWebSocket}, "version: WebSocket goes over HTTP/1.1 only"},
		{"ECH word", Front{ECH: "on!"}, "ech: neither a word nor base64"},
		{"ECH cut off", Front{ECH: base64.StdEncoding.EncodeToString(echList[:6])}, "ech: not an ECHConfigList: its length is wrong"},
		{"ECH of another version", Front{ECH: base64.StdEncoding.EncodeToString([]byte{0, 5, 0xfe, 0x0a, 0, 1, 'x'})}, "ech: an ECHConfigList without a config of version 0xfe0d"},
		{"ECH without a name", Front{ECH: "dns", Resolver: doh, SNI: &none, Pins: []Pin{{}}}, "ech: there is no name to hide"},
		{"ECH from the system", Front{ECH: "dns"}, "ech: none of the resolvers can be asked for ECH"},
		{"no posts", Front{Mode: ModeStreamOne, PostInterval: DefaultPostInterval}, `post_interval: mode "stream-one" has no posts to pace`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			tt.front.Check(func(key, problem, hint string) {
				if hint == "" || strings.Contains(problem+hint, "hunter2") {
					t.Errorf("%s: %s (%s): want a hint, and no secret", key, problem, hint)
				}
				got = append(got, key+": "+problem)
			})
			var want []string
			if tt.want != "" {
				want = strings.Split(tt.want, "; ")
			}
			ok := len(got) == len(want)
			for i := range want {
				ok = ok && strings.HasPrefix(got[i], want[i])
			}
			if !ok {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("a%d.example", i)
	}
	return out
}

func TestFrontWay(t *testing.T) {
	front, none := "front.example", ""
	pin, other := [32]byte{1}, Pin{2}
	link := Link{Host: "relay.example", Port: 443, Path: "/a-secret-path/", Mode: ModeStreamOne, Version: H2}
	with := func(change func(l *Link)) Link {
		l := link
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name  string
		front Front
		link  Link
		want  string // connect, sni, certificate, pins, authority, version, mode, ech
	}{
		{"the link alone", Front{}, link, "[relay.example:443] relay.example relay.example [] relay.example h2 stream-one 0"},
		{"an address and a pin", Front{}, with(func(l *Link) { l.Host, l.Port, l.Pins = "2001:db8::1", 8443, [][32]byte{pin} }),
			"[2001:db8::1:8443]   [1] [2001:db8::1]:8443 h2 stream-one 0"},
		{"an address", Front{}, with(func(l *Link) { l.Host = "192.0.2.1" }), "[192.0.2.1:443]  192.0.2.1 [] 192.0.2.1 h2 stream-one 0"},
		{"an address of IPv6", Front{}, with(func(l *Link) { l.Host = "2001:db8::1" }), "[2001:db8::1:443]  2001:db8::1 [] [2001:db8::1] h2 stream-one 0"},
		{"an address as SNI", Front{}, with(func(l *Link) { l.SNI = "192.0.2.1" }), "[relay.example:443]  192.0.2.1 [] 192.0.2.1 h2 stream-one 0"},
		{"another name and port", Front{}, with(func(l *Link) { l.SNI, l.Port = "www.example", 8443 }), "[relay.example:8443] www.example www.example [] www.example h2 stream-one 0"},
		{"names of the link", Front{}, with(func(l *Link) { l.SNI, l.CertificateName, l.Authority = "www.example", "cert.example", "host.example" }),
			"[relay.example:443] www.example cert.example [] host.example h2 stream-one 0"},
		{"fronting", Front{Connect: []string{"203.0.113.5", "CDN.example.:8443"}, SNI: &front, Mode: ModePacketUp}, link,
			"[203.0.113.5:443 cdn.example:8443] front.example front.example [] relay.example h2 packet-up 0"},
		{"no name", Front{SNI: &none, CertificateName: "cdn.example"}, link, "[relay.example:443]  cdn.example [] relay.example h2 stream-one 0"},
		{"a certificate instead of pins", Front{CertificateName: "cdn.example"}, with(func(l *Link) { l.Pins = [][32]byte{pin} }),
			"[relay.example:443] relay.example cdn.example [] relay.example h2 stream-one 0"},
		{"a name and the link's pins", Front{SNI: &front}, with(func(l *Link) { l.Pins = [][32]byte{pin} }),
			"[relay.example:443] front.example  [1] relay.example h2 stream-one 0"},
		{"pins of the front", Front{Pins: []Pin{other}}, with(func(l *Link) { l.Pins = [][32]byte{pin} }),
			"[relay.example:443] relay.example  [2] relay.example h2 stream-one 0"},
		{"the host", Front{Host: new("hidden.example")}, link, "[relay.example:443] relay.example relay.example [] hidden.example h2 stream-one 0"},
		{"auto", Front{Mode: ModeAuto}, link, "[relay.example:443] relay.example relay.example [] relay.example h2 packet-up 0"},
		{"no mode", Front{}, with(func(l *Link) { l.Mode, l.Version = "", "" }), "[relay.example:443] relay.example relay.example [] relay.example h2 packet-up 0"},
		{"WebSocket instead", Front{Mode: ModeWebSocket}, link, "[relay.example:443] relay.example relay.example [] relay.example http/1.1 websocket 0"},
		{"WebSocket by the link", Front{}, with(func(l *Link) { l.Mode, l.Version = ModeWebSocket, "" }), "[relay.example:443] relay.example relay.example [] relay.example http/1.1 websocket 0"},
		{"XHTTP instead", Front{Mode: ModePacketUp}, with(func(l *Link) { l.Mode, l.Version = ModeWebSocket, HTTP1 }), "[relay.example:443] relay.example relay.example [] relay.example h2 packet-up 0"},
		{"ECH", Front{ECH: "dns", Resolver: doh}, link, "[relay.example:443] relay.example relay.example [] relay.example h2 stream-one 2"},
		{"ECH of the link", Front{}, with(func(l *Link) { l.ECH = base64.StdEncoding.EncodeToString(echList) }), "[relay.example:443] relay.example relay.example [] relay.example h2 stream-one 3"},
		{"ECH of the link without a name", Front{SNI: &none, CertificateName: "c.example"}, with(func(l *Link) { l.ECH = "dns" }), "[relay.example:443]  c.example [] relay.example h2 stream-one 0"},
		{"no ECH", Front{ECH: "off"}, with(func(l *Link) { l.ECH = "dns" }), "[relay.example:443] relay.example relay.example [] relay.example h2 stream-one 1"},
		{"HTTP/1.1 with the link's stream", Front{Version: HTTP1}, link, "[relay.example:443] relay.example relay.example [] relay.example http/1.1 packet-up 0"},
		{"HTTP/1.1 and no mode", Front{Version: HTTP1}, with(func(l *Link) { l.Mode, l.Version = "", "" }), "[relay.example:443] relay.example relay.example [] relay.example http/1.1 packet-up 0"},
		{"HTTP/1.1 with the link's WebSocket", Front{Version: HTTP1}, with(func(l *Link) { l.Mode, l.Version = ModeWebSocket, "" }), "[relay.example:443] relay.example relay.example [] relay.example http/1.1 websocket 0"},
		{"XHTTP over HTTP/1.1 instead", Front{Version: HTTP1, Mode: ModeAuto}, with(func(l *Link) { l.Mode, l.Version = ModeWebSocket, HTTP1 }), "[relay.example:443] relay.example relay.example [] relay.example http/1.1 packet-up 0"},
		{"a stream of the link over its HTTP/1.1", Front{}, with(func(l *Link) { l.Version = HTTP1 }), `! mode "stream-one" goes over HTTP/2 only`},
		{"HTTP/2 with the link's WebSocket", Front{Version: H2}, with(func(l *Link) { l.Mode, l.Version = ModeWebSocket, HTTP1 }), "! WebSocket goes over HTTP/1.1 only"},
		{"a link's mode", Front{}, with(func(l *Link) { l.Mode = "stream-two" }), `! unknown mode "stream-two"`},
		{"a link's version", Front{}, with(func(l *Link) { l.Version = "h3" }), "! unknown version"},
		{"a link's ECH", Front{}, with(func(l *Link) { l.ECH = "cloudflare-ech.com+https://1.1.1.1/" }), "! neither a word nor base64"},
		{"a link's ECH and no resolver", Front{}, with(func(l *Link) { l.ECH = "dns" }), "! none of the resolvers"},
		{"no path", Front{}, with(func(l *Link) { l.Path = "" }), "! no path"},
		{"a path with a line", Front{}, with(func(l *Link) { l.Path = "/x\r\nY: z" }), "! no path"},
		{"no host", Front{}, with(func(l *Link) { l.Host, l.SNI = "", "a.example" }), "! leads nowhere"},
		{"no port", Front{}, with(func(l *Link) { l.Port = 0 }), "! leads nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := tt.front.Way(tt.link)
			if want, failing := strings.CutPrefix(tt.want, "! "); failing {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %+v, %v, want %s", w, err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var connect, pins []string
			for _, p := range w.Connect {
				connect = append(connect, fmt.Sprintf("%s:%d", p.Host, p.Port))
				if _, err := netip.ParseAddr(p.Host); (err == nil) != func() bool { _, ok := p.Addr(); return ok }() {
					t.Errorf("%v: got another idea of what is an address", p)
				}
			}
			for _, p := range w.Pins {
				pins = append(pins, fmt.Sprint(p[0]))
			}
			got := fmt.Sprint(connect, " ", w.SNI, " ", w.CertificateName, " ", pins, " ", w.Authority, " ", w.Version, " ", w.Mode, " ", int(w.ECH.Mode))
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if w.PostBytes != DefaultPostBytes || w.PostInterval != DefaultPostInterval || string(w.Path) != "/a-secret-path/" {
				t.Errorf("got %v, %v and a path of %d, want the defaults and the link's path", w.PostBytes, w.PostInterval, len(w.Path))
			}
			for _, text := range []string{fmt.Sprintf("%+v", w), fmt.Sprintf("%#v", w), slog.AnyValue(w.Path).Resolve().String()} {
				if strings.Contains(text, "secret-path") {
					t.Errorf("got %s, want no path in it", text)
				}
			}
		})
	}
}

// The front's pace wins, then the link's if it is sane, whatever a link says.
func TestWayPace(t *testing.T) {
	link := Link{Host: "a.example", Port: 443, Path: "/p/"}
	mine := Front{PostBytes: Bytes{1000, 2000}, PostInterval: Interval{time.Second, 2 * time.Second}}
	for _, tt := range []struct {
		name     string
		front    Front
		bytes    Bytes
		interval Interval
		want     string
	}{
		{"none", Front{}, Bytes{}, Interval{}, "{1000000 1000000} {30ms 30ms}"},
		{"link", Front{}, Bytes{600, 700}, Interval{time.Millisecond, time.Second}, "{600 700} {1ms 1s}"},
		{"front", mine, Bytes{600, 700}, Interval{time.Millisecond, time.Second}, "{1000 2000} {1s 2s}"},
		{"backwards", Front{}, Bytes{700, 600}, Interval{time.Second, time.Millisecond}, "{1000000 1000000} {30ms 30ms}"},
		{"flood", Front{}, Bytes{1, 1}, Interval{0, 0}, "{1000000 1000000} {30ms 30ms}"},
		{"too much", Front{}, Bytes{600, 1 << 30}, Interval{time.Second, time.Hour}, "{1000000 1000000} {30ms 30ms}"},
	} {
		l := link
		l.PostBytes, l.PostInterval = tt.bytes, tt.interval
		w, err := tt.front.Way(l)
		if got := fmt.Sprint(w.PostBytes, w.PostInterval); err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, got, err, tt.want)
		}
		for range 100 {
			if b, i := w.PostBytes.Draw(), w.PostInterval.Draw(); b < w.PostBytes.Least || b > w.PostBytes.Most || i < w.PostInterval.Least || i > w.PostInterval.Most {
				t.Fatalf("%s: drew %d, %s, want them within %v, %v", tt.name, b, i, w.PostBytes, w.PostInterval)
			}
		}
	}
}

func TestPaceAndPins(t *testing.T) {
	const sum = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	for _, tt := range []struct {
		into any
		v    any
		want string // "" for an error
	}{
		{new(Bytes), int64(1000000), "{1000000 1000000}"},
		{new(Bytes), "500-1000", ""},
		{new(Bytes), "512 - 1000", "{512 1000}"},
		{new(Bytes), int64(1000001), ""},
		{new(Bytes), "1000-600", ""},
		{new(Bytes), "many", ""},
		{new(Bytes), 1e6, ""},
		{new(Interval), "30ms", "{30ms 30ms}"},
		{new(Interval), "20ms-1s", "{20ms 1s}"},
		{new(Interval), "1s-20ms", ""},
		{new(Interval), "0s", ""},
		{new(Interval), "-1s", ""},
		{new(Interval), "11s", ""},
		{new(Interval), int64(30), ""},
		{new(Pin), sum, sum},
		{new(Pin), strings.ToUpper("00:01:02" + sum[6:]), sum},
		{new(Pin), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", sum},
		{new(Pin), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", sum},
		{new(Pin), sum[2:], ""},
		{new(Pin), sum + "00", ""},
		{new(Pin), "", ""},
		{new(Pin), "sha256//" + sum, ""},
	} {
		var got string
		var err error
		switch p := tt.into.(type) {
		case *Bytes:
			err = p.UnmarshalTOML(tt.v)
			got = fmt.Sprint(*p)
		case *Interval:
			err = p.UnmarshalTOML(tt.v)
			got = fmt.Sprint(*p)
		case *Pin:
			err = p.UnmarshalText([]byte(tt.v.(string)))
			text, _ := p.MarshalText()
			got = string(text)
		}
		if (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("%T from %v: got %s, %v, want %q", tt.into, tt.v, got, err, tt.want)
		}
	}
}

func TestWayPath(t *testing.T) {
	for _, c := range []struct{ mode, path, want string }{
		{ModeStreamOne, "/in", "/in/"},
		{ModePacketUp, "/in/", "/in/"},
		{ModeWebSocket, "/in", "/in"},
		{ModeWebSocket, "/in/", "/in/"},
	} {
		w, err := new(Front).Way(Link{Host: "relay.example", Port: 443, Path: c.path, Mode: c.mode})
		if err != nil || string(w.Path) != c.want {
			t.Errorf("%s with %s: got %s, %v, want %s", c.mode, c.path, string(w.Path), err, c.want)
		}
	}
}

func TestWayEarly(t *testing.T) {
	for _, c := range []struct{ link, want int }{{0, 0}, {1024, 1024}, {DefaultEarly, earlySocket}, {8 << 10, earlySocket}} {
		w, err := new(Front).Way(Link{Host: "relay.example", Port: 443, Path: "/in", Mode: ModeWebSocket, Early: c.link})
		if err != nil || w.Early != c.want {
			t.Errorf("%d: got %d, %v, want %d", c.link, w.Early, err, c.want)
		}
	}
}
