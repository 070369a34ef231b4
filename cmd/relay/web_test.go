package main

import (
	"encoding/hex"
	"reflect"
	"testing"

	"relay/auth"
	"relay/relay/vless"
)

// Links are byte for byte what they were before one piece of code wrote and read them,
// and what is printed is what is read.
func TestWebLinks(t *testing.T) {
	const (
		password = "abcdefghijklmnopqrstuvwx"
		pin      = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
		extra    = "%7B%22xmux%22%3A%7B%22maxConnections%22%3A3%2C%22hMaxRequestTimes%22%3A%22600-900%22%2C%22hMaxReusableSecs%22%3A%221800-3000%22%7D%7D"
	)
	const id = "10111213-1415-4617-8819-1a1b1c1d1e1f"
	const uuid = "vless://" + id + "@"
	for _, c := range []struct {
		name      string
		a         access
		xhttp, ws string
	}{
		{
			"met directly", access{host: "203.0.113.5", port: 8443, name: "www.example.org"},
			uuid + "203.0.113.5:8443?encryption=none&security=tls&sni=www.example.org&fp=chrome&type=xhttp&host=www.example.org&path=%2F" + password + "%2F&mode=stream-one&alpn=h2&extra=" + extra + "#www.example.org%20xhttp",
			uuid + "203.0.113.5:8443?encryption=none&security=tls&sni=www.example.org&fp=chrome&type=ws&host=www.example.org&path=%2F" + password + "%2F%3Fed%3D2048&alpn=http%2F1.1#www.example.org%20ws",
		},
		{
			"pinned, IPv6", access{host: "2001:db8::1", port: 443, name: "www.example.org", pin: pin},
			uuid + "[2001:db8::1]:443?encryption=none&security=tls&sni=www.example.org&fp=chrome&type=xhttp&host=www.example.org&path=%2F" + password + "%2F&mode=stream-one&alpn=h2&extra=" + extra + "&pcs=" + pin + "#www.example.org%20xhttp",
			uuid + "[2001:db8::1]:443?encryption=none&security=tls&sni=www.example.org&fp=chrome&type=ws&host=www.example.org&path=%2F" + password + "%2F%3Fed%3D2048&alpn=http%2F1.1&pcs=" + pin + "#www.example.org%20ws",
		},
		{
			"behind a CDN", access{host: "cdn.example.net", port: 8080, name: "www.example.org", pin: pin, origin: true},
			uuid + "cdn.example.net:443?encryption=none&security=tls&sni=cdn.example.net&fp=chrome&type=xhttp&host=cdn.example.net&path=%2F" + password + "%2F&mode=packet-up&alpn=h2&extra=" + extra + "#cdn.example.net%20xhttp",
			uuid + "cdn.example.net:443?encryption=none&security=tls&sni=cdn.example.net&fp=chrome&type=ws&host=cdn.example.net&path=%2F" + password + "%2F%3Fed%3D2048&alpn=http%2F1.1#cdn.example.net%20ws",
		},
	} {
		c.a.password = password
		c.a.record = &auth.Record{Explicit: map[string]string{"web/uuid": id}}
		links := webLinks(c.a, nil)
		if len(links) != 2 {
			t.Fatalf("%s: got %d links, want 2", c.name, len(links))
		}
		for i, want := range []string{c.xhttp, c.ws} {
			got := links[i].URL
			if got != want {
				t.Errorf("%s: got %s, want %s", c.name, got, want)
			}
			l, err := vless.ParseLink(got)
			if err != nil {
				t.Errorf("%s: ParseLink: got %v, want nil", c.name, err)
				continue
			}
			if l.String() != got || len(l.Unknown) > 0 {
				t.Errorf("%s: printed again: got %s and %q unknown, want %s", c.name, l, l.Unknown, got)
			}
			if hasPin := c.a.pin != "" && !c.a.origin; hasPin != (len(l.Pins) == 1 && hex.EncodeToString(l.Pins[0][:]) == pin) {
				t.Errorf("%s: pins: got %x, want %q", c.name, l.Pins, pin)
			}
			again, err := vless.ParseLink(l.String())
			if err != nil || !reflect.DeepEqual(again, l) {
				t.Errorf("%s: read again: got %+v, %v, want the same", c.name, again, err)
			}
		}
	}
}
