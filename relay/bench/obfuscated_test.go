package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/transport"
)

func TestParseSecret(t *testing.T) {
	key := strings.Repeat("07", 16)
	got, err := parseSecret("ee" + key + hex.EncodeToString([]byte("www.example.org")))
	if want := (fakeSecret{[16]byte(bytes.Repeat([]byte{7}, 16)), "www.example.org"}); err != nil || got != want {
		t.Errorf("got %v and %v, want the key and the name", got, err)
	}
	for _, text := range []string{"", "ee" + key, "dd" + key + "61", "ee" + key + "6"} {
		if _, err := parseSecret(text); err == nil {
			t.Errorf("%q: got no error, want one", text)
		}
	}
}

// TestLinkSecret reads what relay user add prints.
func TestLinkSecret(t *testing.T) {
	got, err := linkSecret([]byte(`{"name": "load", "links": {"mtproto-ee": ["tg://proxy?server=127.0.0.1&port=1&secret=ee07"]}}`))
	if err != nil || got != "ee07" {
		t.Errorf("got %q and %v, want ee07", got, err)
	}
	for _, record := range []string{"", `{"links": {}}`, `{"links": {"mtproto-ee": ["tg://proxy?server=a"]}}`} {
		if _, err := linkSecret([]byte(record)); err == nil {
			t.Errorf("%q: got no error, want one", record)
		}
	}
}

// dcFrame is the frame that a proxy opens a link to a data centre with.
func dcFrame(tag byte) (wire [frameSize]byte, link *obfuscated) {
	for i := range wire {
		wire[i] = byte(i*7 + 3)
	}
	plain := wire
	copy(plain[frameTag:], bytes.Repeat([]byte{tag}, 4))
	out := frameStream(wire[frameBegin:frameEnd], nil)
	out.XORKeyStream(plain[:], plain[:])
	copy(wire[frameTag:], plain[frameTag:])
	return wire, &obfuscated{out: out, in: frameStream(reversed(wire[frameBegin:frameEnd]), nil)}
}

// TestSinkAsDC takes the usual load to the sink as a proxy of Telegram would:
// once to its port, and once through the SOCKS5 server.
func TestSinkAsDC(t *testing.T) {
	for name, serve := range map[string]func(net.Conn) error{"direct": serveConnection, "socks5": serveDC} {
		t.Run(name, func(t *testing.T) {
			l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go serveSink(l, serve)
			c, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if name == "socks5" {
				if err := handshake(c, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}); err != nil {
					t.Fatal(err)
				}
			}
			wire, link := dcFrame(0xdd)
			link.Conn, link.frame = c, wire[:]
			message := header{wantExchange, 100, 5}.append(nil)
			message = append(message, make([]byte, 100-len(message))...)
			for range 3 {
				if _, err := link.Write(message); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(message))
				if _, err := io.ReadFull(link, got); err != nil || !bytes.Equal(got, message) {
					t.Fatalf("got % x and %v, want the message back", got, err)
				}
			}
		})
	}
}

func TestAcceptObfuscatedFaults(t *testing.T) {
	wire, _ := dcFrame(0x11)
	if _, err := acceptObfuscated(nil, wire[:]); err == nil {
		t.Error("unknown tag: got no error, want one")
	}
}

// TestObfuscatedKeyed joins the client's half to one with the same key.
func TestObfuscatedKeyed(t *testing.T) {
	key := []byte("0123456789abcdef")
	wire, _ := dcFrame(0xdd)
	seed := wire[frameBegin:frameEnd]
	a, b := net.Pipe()
	client := &obfuscated{Conn: a, out: frameStream(seed, key), in: frameStream(reversed(seed), key)}
	server := &obfuscated{Conn: b, in: frameStream(seed, key), out: frameStream(reversed(seed), key)}
	defer client.Close()
	defer server.Close()
	want := []byte("some payload")
	go func() {
		_, _ = client.Write(want)
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

// TestMTProtoPeers looks at what the peers leave for the load.
func TestMTProtoPeers(t *testing.T) {
	p := place{program: "/nowhere/mtg", folder: t.TempDir(), port: 11080, ports: ports{sink: 1, dc: 2, site: 3}, descriptors: 99}
	arguments, err := mtg(p)
	if err != nil {
		t.Fatal(err)
	}
	if secret, err := readSecret(p.folder); err != nil || secret.name != siteName {
		t.Errorf("got secret %v and %v, want one for %s", secret, err, siteName)
	}
	text, err := os.ReadFile(filepath.Join(p.folder, "mtg.toml"))
	if err != nil || arguments[1] != "run" || arguments[2] != filepath.Join(p.folder, "mtg.toml") {
		t.Errorf("got %q and %v, want mtg run with a file", arguments, err)
	}
	for _, want := range []string{"socks5://127.0.0.1:2", "port = 3", "127.0.0.1:11080", "concurrency = 99"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got\n%s\nwant %s in it", text, want)
		}
	}
	if got, want := mtprotoTables(p, "x"), fmt.Sprintf("127.0.0.1:%d", p.sink); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant %s in it", got, want)
	}
}

// TestSiteServer is a stranger's visit.
func TestSiteServer(t *testing.T) {
	serve, err := siteServer()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serveSink(l, serve)
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := dialMTProto(c.(transport.Conn), fakeSecret{name: siteName}); err == nil {
		t.Error("a site that knows no key: got a connection, want an error")
	}
}
