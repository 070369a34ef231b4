package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseVLESSLink(t *testing.T) {
	const user, pin = "6f8c2f0e-21cf-4a68-9d0b-5b0a2d0e7c11", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	l, err := parseVLESSLink("vless://" + user + "@127.0.0.1:443?type=ws&security=tls&sni=www.example.org&path=%2Fin%3Fed%3D2048&pcs=" + pin + "\n")
	if err != nil || l.name != "www.example.org" || l.path != "/in" || l.id[0] != 0x6f || l.pin[1] != 0x11 {
		t.Errorf("got %+v, %v; want the name, the path without early data, the user and the pin", l, err)
	}
	if l, err := parseVLESSLink("vless://" + user + "@127.0.0.1:443?type=ws&security=none&path=/in"); err != nil || !l.bare {
		t.Errorf("an origin's: got %+v, %v; want one without TLS", l, err)
	}
	for name, bad := range map[string]string{
		"scheme": "vmess://" + user + "@127.0.0.1:443?security=tls&pcs=" + pin,
		"port":   "vless://" + user + "@127.0.0.1?security=tls&pcs=" + pin,
		"user":   "vless://alice@127.0.0.1:443?security=tls&pcs=" + pin,
		"pin":    "vless://" + user + "@127.0.0.1:443?security=tls&pcs=0011",
		"plain":  "vless://" + user + "@127.0.0.1:443?pcs=" + pin,
	} {
		if l, err := parseVLESSLink(bad); err == nil {
			t.Errorf("%s: got %+v, want an error", name, l)
		}
	}
}

func TestVLESSHead(t *testing.T) {
	h := vlessHead{vlessHeadSize}
	var got []byte
	for _, b := range []string{"\x00", "\x00one", "\x00two"} {
		rest, err := h.strip([]byte(b))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rest...)
	}
	if want := "one\x00two"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := (&vlessHead{vlessHeadSize}).strip([]byte{0, 4}); err == nil {
		t.Error("addons: got no error, want one")
	}
}

func TestMask(t *testing.T) {
	plain := []byte("0123456789abcdef-0123")
	b := slices.Clone(plain)
	mask(b, [4]byte{1, 2, 3, 4})
	for i := range b {
		if want := plain[i] ^ byte(1+i%4); b[i] != want {
			t.Errorf("byte %d: got %#x, want %#x", i, b[i], want)
		}
	}
}

// TestVLESSLoad puts every kind of load through Xray's server.
func TestVLESSLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs Xray")
	}
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 and up are addresses of this machine on Linux only")
	}
	program := filepath.Join(t.TempDir(), "xray")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, xrayModule+"/main")
	build.Dir, build.Env = xrayFolder, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build Xray: %v\n%s", err, out)
	}
	for _, p := range peers {
		if p.command() != webCommand || p.isRelay() {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			l, ctx := startWeb(t, p, program)
			for _, c := range []struct {
				name string
				run  func() error
			}{
				{"connection", func() error { return l.connection(ctx, shortMessage) }},
				{"down", func() error { return l.bulk(ctx, wantDown, 4, 8<<20) }},
				{"up", func() error { return l.bulk(ctx, wantUp, 4, 8<<20) }},
				{"set", func() error {
					set, err := l.openSet(ctx, 300, rrMessage)
					if err != nil {
						return err
					}
					defer set.close()
					return inParallel(len(set), func(i int) error { return set[i].trip() })
				}},
			} {
				if err := c.run(); err != nil {
					t.Errorf("%s: got %v, want nil", c.name, err)
				}
			}
			if l.shared != nil {
				if got := len(l.shared.all); got < carriersLeast || got > carriersLeast+300/streamsEach {
					t.Errorf("connections for up to 300 streams: got %d, want few", got)
				}
			}
		})
	}
}

// startWeb starts a peer in front of a sink and returns a load that goes through it.
func startWeb(t *testing.T, p peer, program string) (*load, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	sinks, err := listenSink()
	if err != nil {
		t.Fatal(err)
	}
	l := &load{protocol: p.protocol}
	for _, s := range sinks {
		t.Cleanup(func() { s.Close() })
		go serveSink(s, serveConnection)
		l.sinks = append(l.sinks, s.Addr().(*net.TCPAddr))
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	arguments, err := p.start(place{program: program, folder: folder, port: port})
	if err == nil {
		l.link, err = readVLESSLink(folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.proxy = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	if p.protocol != protocolWebSocket {
		l.share()
		t.Cleanup(l.close)
	}
	c, err := startChild(arguments, filepath.Join(folder, "output"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	if err := c.waitReady(ctx, l); err != nil {
		t.Fatal(err)
	}
	return l, ctx
}

func TestWebFlags(t *testing.T) {
	s, err := parseFlags([]string{webCommand, "-rounds", "2"}, io.Discard)
	if err != nil || s.idle != webIdle || !slices.Contains(s.only, "xray-websocket") || slices.Contains(s.only, "mtg") || !slices.Contains(s.tests, "rr-one") {
		t.Errorf("got %+v and %v, want the peers and tests of web", s, err)
	}
	if _, err := parseFlags([]string{webCommand, "-only", "mtg"}, io.Discard); err == nil || !strings.Contains(err.Error(), "xray-packet-up") {
		t.Errorf("-only mtg: got %v, want an error that names the peers of web", err)
	}
}
