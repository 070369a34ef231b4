package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/relay"
	"relay/relay/config"
	"relay/transport"
)

// startIn runs a relay in a folder until it is stopped.
func startIn(t *testing.T, dir, toml string) (in *instance, stop func()) {
	t.Helper()
	tabs := tables()
	cfg, faults := config.Parse("relay.toml", []byte(fmt.Sprintf("state = %q\n", dir)+toml), inboundNames(), tabs)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	in, err := start(cfg, tabs, slog.New(slog.DiscardHandler), relay.Listen)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			in.stop(ctx, 0)
		}
	}
	t.Cleanup(stop)
	return in, stop
}

// stateDir is a state folder whose name is short enough for a socket.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// exitAt is the configuration of an exit.
func exitAt(t *testing.T, port string) string {
	t.Helper()
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte(tunnelPage), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
[[listen]]
address = "127.0.0.1:%s"
inbounds = ["web"]
[cover]
name = %q
site = %q
certificate = "self-signed"
[egress]
allow = ["127.0.0.0/8"]
`, port, tunnelName, site)
}

// linkOf is a link of the first user of an exit.
func linkOf(t *testing.T, exit *instance, protocol string) string {
	t.Helper()
	r, err := firstUser(exit.users)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range exit.links(r) {
		if l.Protocol == protocol {
			return l.URL
		}
	}
	t.Fatalf("links of the exit: got none of %s", protocol)
	return ""
}

// echoes answers with what it is told, until the test ends.
func echoes(t *testing.T) *net.TCPAddr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr)
}

// socks connects to a target through the entry (RFC 1928).
func socks(t *testing.T, in *instance, to *net.TCPAddr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", in.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ask := append([]byte{5, 1, 0, 5, 1, 0, 1}, to.IP.To4()...)
	if _, err := c.Write(binary.BigEndian.AppendUint16(ask, uint16(to.Port))); err != nil {
		t.Fatal(err)
	}
	return c
}

// asked sends a question to an echo and wants it back within a time.
func asked(c net.Conn, within time.Duration) error {
	if _, err := c.Write([]byte("question")); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	defer c.SetReadDeadline(time.Time{})
	b := make([]byte, 2+10+8)
	if _, err := io.ReadFull(c, b); err != nil {
		return fmt.Errorf("%q: %w", b, err)
	}
	if b[3] != 0 || string(b[12:]) != "question" {
		return fmt.Errorf("got %q, want it granted and the question", b)
	}
	return nil
}

// echoesPackets is echoes for datagrams.
func echoesPackets(t *testing.T) transport.Target {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, transport.MaxPacket)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	to, err := transport.ParseTarget(c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// askedPackets sends datagrams until one comes back.
func askedPackets(p transport.PacketConn, to transport.Target, within time.Duration) error {
	done := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			_ = p.WritePacket([]byte("question"), to)
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	defer func() { close(done); <-sent }()
	_ = p.SetDeadline(time.Now().Add(within))
	b := make([]byte, transport.MaxPacket)
	n, from, err := p.ReadPacket(b)
	_ = p.SetDeadline(time.Time{})
	if err != nil || string(b[:n]) != "question" || from != to {
		return fmt.Errorf("got %q from %v, %w, want the question", b[:n], from, err)
	}
	return nil
}

// TestTunnelTroubles is an entry whose first link leads nowhere, and whose exit ends and
// comes back.
func TestTunnelTroubles(t *testing.T) {
	for _, protocol := range []string{"vless-xhttp", "vless-ws"} {
		t.Run(protocol, func(t *testing.T) {
			to := echoes(t)
			port, dir := freePort(t), stateDir(t)
			toml := exitAt(t, port)
			exit, stop := startIn(t, dir, toml)
			link := linkOf(t, exit, protocol)
			dead := strings.Replace(link, ":"+port, ":"+freePort(t), 1)
			entry, _ := startIn(t, stateDir(t), entryListen+fmt.Sprintf("[egress]\nallow = [\"127.0.0.0/8\"]\n[[upstream]]\nlink = %q\n[[upstream]]\nlink = %q\n", dead, link))

			c := socks(t, entry, to)
			if err := asked(c, 10*time.Second); err != nil {
				t.Fatalf("beside a dead link: %v", err)
			}
			if st := entry.upstreams.set.States(); st[0].Live || st[0].Failures == 0 || !st[1].Live {
				t.Errorf("ways: got %+v, want the second live and the first with its failure", st)
			}
			p, err := entry.upstreams.set.DialPacket(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			packets := echoesPackets(t)
			if err := askedPackets(p, packets, 10*time.Second); err != nil {
				t.Errorf("datagrams: %v", err)
			}
			stop()
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err == nil || isTimeoutError(err) {
				t.Errorf("a stream whose exit has ended: got %v, want its end", err)
			}
			began := time.Now()
			if err := asked(socks(t, entry, to), 20*time.Second); err == nil || isTimeoutError(err) {
				t.Errorf("without an exit: got %v, want a refusal", err)
			}
			if took := time.Since(began); took > 16*time.Second {
				t.Errorf("without an exit: got a refusal after %v, want it within 15 s", took)
			}
			startIn(t, dir, toml)
			for began := time.Now(); ; {
				err := asked(socks(t, entry, to), 10*time.Second)
				if err == nil {
					break
				}
				if time.Since(began) > 20*time.Second {
					t.Fatalf("the exit is there again: got %v, want an answer", err)
				}
			}
			if err := askedPackets(p, packets, 20*time.Second); err != nil {
				t.Errorf("datagrams of the same association: %v", err)
			}
		})
	}
}

func isTimeoutError(err error) bool { return strings.Contains(err.Error(), "i/o timeout") }
