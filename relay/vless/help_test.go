package vless

import (
	"encoding/binary"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

const (
	// aliceID is alice's UUID.
	aliceID = "\x10\x11\x12\x13\x14\x15\x46\x17\x88\x19\x1a\x1b\x1c\x1d\x1e\x1f"

	toIPv4 = "\x01\xbb\x01\x5d\xb8\xd8\x22" // 93.184.216.34:443
	answer = "\x00\x00"                     // the response header
)

var alice = auth.User{ID: 1, Name: "alice"}

// ids knows alice's UUID; bob has none.
func ids(u auth.User) (id [16]byte, ok bool) {
	if u.ID == alice.ID {
		copy(id[:], aliceID)
	}
	return id, u.ID == alice.ID
}

// opening is an opening of alice's without addons.
func opening(command byte, address string) string {
	return "\x00" + aliceID + "\x00" + string([]byte{command}) + address
}

// toName is an address.
func toName(name string, port uint16) string {
	return string([]byte{byte(port >> 8), byte(port), addressName, byte(len(name))}) + name
}

// toIPv6 is an address.
func toIPv6(t *testing.T, hostport string) string {
	t.Helper()
	return string(appendAddress(nil, target(t, hostport)))
}

func target(t testing.TB, hostport string) transport.Target {
	t.Helper()
	to, err := transport.ParseTarget(hostport)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// accepted is a connection with an opening of which the request is returned, and
// its client.
func accepted(t testing.TB, in *Inbound, said string, buffer int) (transport.Request, *relaytest.Conn) {
	t.Helper()
	client, server := relaytest.PipeSize(buffer)
	go func() { _, _ = client.Write([]byte(said)) }()
	req, err := in.Open(t.Context(), alice, transport.NewPeeked(server))
	if err != nil {
		t.Fatalf("Open: got %v, want nil", err)
	}
	return req, client
}

// frameOf is a frame of a client. The data is "" for none.
func frameOf(f frame, data string) string {
	if data != "" {
		f.option |= optionData
	}
	b := string(appendFrame(nil, f))
	if data != "" {
		b += lengthOf(data) + data
	}
	return b
}

// lengthOf is the length in front of data.
func lengthOf(data string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(data))))
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }
