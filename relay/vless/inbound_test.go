package vless

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/transport"
)

func TestConformance(t *testing.T) {
	relaytest.Inbound(t, func() relaytest.Opener {
		in := &Inbound{UUID: ids}
		return relaytest.Opener{Match: func(b []byte) int { return int(in.Match(b)) }, Open: in.Open}
	}, relaytest.Samples{
		Carrier: alice, Claims: []string{"zeros"}, Secret: aliceID,
		Denials: []relaytest.Denial{
			{Reason: policy.ErrDenied}, {Reason: policy.ErrRefused}, {Reason: policy.ErrTimeout}, {Reason: policy.ErrNotFound},
			{Reason: auth.ErrQuota}, {Reason: auth.ErrRemoved}, {Reason: context.Canceled},
		},
		Openings: []relaytest.Opening{
			{Name: "IPv4", Bytes: opening(commandTCP, toIPv4), Target: "93.184.216.34:443", User: "alice", Ahead: answer},
			{Name: "name", Bytes: opening(commandTCP, toName("www.example.org", 443)), Target: "www.example.org:443", User: "alice", Ahead: answer},
			{Name: "IPv6, with a seed", Bytes: "\x00" + aliceID + "\x04\x12\x02ab\x01" + toIPv6(t, "[2001:db8::1]:80"),
				Target: "[2001:db8::1]:80", User: "alice", Ahead: answer},
		},
	})
}

// openOnce opens what a client says before it ends its direction, and returns what
// was not read of it.
func openOnce(t *testing.T, in *Inbound, user auth.User, said string) (req transport.Request, unread, told string, err error) {
	t.Helper()
	client, server := relaytest.Pipe()
	defer client.Close()
	defer server.Close()
	if _, err := client.Write([]byte(said)); err != nil {
		t.Fatal(err)
	}
	_ = client.CloseWrite()
	p := transport.NewPeeked(server)
	req, err = in.Open(t.Context(), user, p)
	_ = server.CloseWrite()
	var b [16]byte
	n, _ := client.Read(b[:])
	return req, string(p.Unread()), string(b[:n]), err
}

func TestTargets(t *testing.T) {
	long := repeat("a.", 126) + "b" // 253 bytes
	for _, tt := range []struct{ name, address, want string }{
		{"IPv4", toIPv4, "93.184.216.34:443"},
		{"IPv6", toIPv6(t, "[2001:db8::1]:443"), "[2001:db8::1]:443"},
		{"IPv4-mapped IPv6 becomes IPv4", "\x01\xbb\x03" + repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01", "127.0.0.1:443"},
		{"name", toName("www.example.org", 80), "www.example.org:80"},
		{"longest name", toName(long, 65535), long + ":65535"},
		{"name in capitals", toName("WWW.Example.ORG.", 80), "www.example.org:80"},
		{"address written out", toName("127.0.0.1", 443), "127.0.0.1:443"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, unread, told, err := openOnce(t, &Inbound{UUID: ids}, alice, opening(commandTCP, tt.address)+"payload")
			if err != nil {
				t.Fatalf("Open: got %v, want nil", err)
			}
			if got := req.Target().String(); got != tt.want || unread != "payload" || told != "" {
				t.Errorf("got target %s, unread %q, told %q, want %s, payload and nothing", got, unread, told, tt.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	bob := auth.User{ID: 2, Name: "bob"}
	with := func(addons string) string {
		return "\x00" + aliceID + string([]byte{byte(len(addons))}) + addons + "\x01" + toIPv4
	}
	for _, tt := range []struct {
		name string
		user auth.User
		said string
		err  error
	}{
		{"no carrier", auth.User{}, opening(commandTCP, toIPv4), relay.ErrAuth},
		{"a user without a UUID", bob, "\x00" + repeat("\x00", 16) + "\x00\x01" + toIPv4, relay.ErrAuth},
		{"another user's UUID", bob, opening(commandTCP, toIPv4), relay.ErrAuth},
		{"first byte of the UUID", alice, "\x00\x11" + aliceID[1:] + "\x00\x01" + toIPv4, relay.ErrAuth},
		{"last byte of the UUID", alice, "\x00" + aliceID[:15] + "\x1e\x00\x01" + toIPv4, relay.ErrAuth},
		{"version 1", alice, "\x01" + aliceID + "\x00\x01" + toIPv4, relay.ErrBadRequest},
		{"command 0", alice, opening(0, toIPv4), relay.ErrBadRequest},
		{"datagrams, not served", alice, opening(commandUDP, toIPv4), relay.ErrBadRequest},
		{"reverse", alice, opening(4, ""), relay.ErrBadRequest},
		{"command 255", alice, opening(255, toIPv4), relay.ErrBadRequest},
		{"Vision", alice, with("\x0a\x10xtls-rprx-vision"), relay.ErrBadRequest},
		{"Vision for a mux", alice, "\x00" + aliceID + "\x12\x0a\x10xtls-rprx-vision\x03", relay.ErrBadRequest},
		{"addons that end early", alice, with("\x0a\x10xtls"), relay.ErrBadRequest},
		{"address type 0", alice, opening(commandTCP, "\x01\xbb\x00\x01\x02\x03\x04"), relay.ErrBadRequest},
		{"address type 4", alice, opening(commandTCP, "\x01\xbb\x04\x01\x02\x03\x04"), relay.ErrBadRequest},
		{"port 0", alice, opening(commandTCP, "\x00\x00\x01\x01\x02\x03\x04"), relay.ErrBadRequest},
		{"empty name", alice, opening(commandTCP, toName("", 443)), relay.ErrBadRequest},
		{"name of 255 bytes", alice, opening(commandTCP, toName(repeat("a", 255), 443)), relay.ErrBadRequest},
		{"name with a line break", alice, opening(commandTCP, toName("a\r\nb", 443)), relay.ErrBadRequest},
		{"address in disguise", alice, opening(commandTCP, toName("127.1", 443)), relay.ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, _, told, err := openOnce(t, &Inbound{UUID: ids}, tt.user, tt.said)
			if !errors.Is(err, tt.err) || req != nil || told != "" {
				t.Errorf("Open: got %v, %v and told %q, want %v and nothing", req, err, told, tt.err)
			}
			for _, leak := range []string{"127.1", "aaaa", aliceID, hex.EncodeToString([]byte(aliceID))} {
				if err != nil && strings.Contains(err.Error(), leak) {
					t.Errorf("error: got %q, want neither target nor UUID in it", err)
				}
			}
		})
	}
}

// Bytes 6 and 7 of the UUID are the client's.
func TestRouteInUUID(t *testing.T) {
	said := "\x00" + aliceID[:6] + "\xab\xcd" + aliceID[8:] + "\x00\x01" + toIPv4
	if _, _, _, err := openOnce(t, &Inbound{UUID: ids}, alice, said); err != nil {
		t.Errorf("Open: got %v, want nil", err)
	}
}

func TestKinds(t *testing.T) {
	in := &Inbound{UUID: ids, Packets: true}
	for _, tt := range []struct {
		said string
		want string
	}{
		{opening(commandTCP, toIPv4), "stream"},
		{opening(commandUDP, toIPv4), "packets"},
		{opening(commandMux, ""), "mux"},
	} {
		req, _, _, err := openOnce(t, in, alice, tt.said)
		if err != nil {
			t.Errorf("%s: got %v, want nil", tt.want, err)
			continue
		}
		got := "stream"
		if _, ok := req.(transport.PacketRequest); ok {
			got = "packets"
		}
		if _, ok := req.(transport.Multiplexed); ok {
			got = "mux"
		}
		if got != tt.want || req.User() != alice || req.Target().IsValid() == (got == "mux") {
			t.Errorf("request: got %s of %v to %v, want %s of alice", got, req.User(), req.Target(), tt.want)
		}
		if got != "stream" {
			if _, _, err := req.Accept(t.Context(), nil); err == nil {
				t.Errorf("Accept of %s: got nil, want an error", got)
			}
		}
	}
}

func TestAddons(t *testing.T) {
	for _, tt := range []struct {
		name, addons, flow string
		ok                 bool
	}{
		{"none", "", "", true},
		{"flow", "\x0a\x10xtls-rprx-vision", "xtls-rprx-vision", true},
		{"empty flow", "\x0a\x00", "", true},
		{"last flow counts", "\x0a\x01a\x0a\x01b", "b", true},
		{"seed", "\x12\x03abc", "", true},
		{"flow behind seed", "\x12\x03abc\x0a\x01f", "f", true},
		{"unknown varint", "\x18\xff\x01\x0a\x01f", "f", true},
		{"unknown fixed64", "\x21\x01\x02\x03\x04\x05\x06\x07\x08\x0a\x01f", "f", true},
		{"unknown fixed32", "\x2d\x01\x02\x03\x04\x0a\x01f", "f", true},
		{"unknown bytes", "\x32\x02xx\x0a\x01f", "f", true},
		{"flow of another type", "\x08\x05", "", true},
		{"group", "\x0b\x0c", "", false},
		{"field 0", "\x02\x00", "", false},
		{"tag without end", "\x80\x80", "", false},
		{"varint without end", "\x18\x80", "", false},
		{"fixed64 too short", "\x21\x01\x02\x03\x04\x05\x06\x07", "", false},
		{"fixed32 too short", "\x2d\x01\x02\x03", "", false},
		{"length without end", "\x0a\xff", "", false},
		{"no length", "\x0a", "", false},
		{"length too long", "\x0a\x02f", "", false},
		{"length of 64 bits", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01f", "", false},
		{"length of 70 bits", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01f", "", false},
	} {
		flow, err := parseAddons([]byte(tt.addons))
		if flow != tt.flow && tt.ok || (err == nil) != tt.ok {
			t.Errorf("%s: got %q, %v, want %q, accepted: %v", tt.name, flow, err, tt.flow, tt.ok)
		}
	}
}
