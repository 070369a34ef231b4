package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"relay/relay/vless"
	"relay/transport"
)

// plainExits are the servers that our own dialer is run against. Without a carrier's
// disguise: that is the carrier's to prove.
var plainExits = []struct {
	name  string
	start func(t *testing.T) (addr string)
}{
	{"xray", plainXray},
	{"sing-box", plainSing},
}

func plainXray(t *testing.T) string {
	t.Helper()
	bin, err := xrayProgram()
	if err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	host, port, _ := net.SplitHostPort(addr)
	file := configFile(t, object{
		"log": object{"loglevel": "info"},
		"inbounds": []object{{
			"listen": host, "port": json.Number(port), "protocol": "vless",
			"settings": object{"decryption": "none", "clients": []object{{"id": vlessID}}},
		}},
		"outbounds": []object{{"protocol": "freedom"}},
	})
	startPeer(t, nil, []string{addr}, bin, "run", "-c", file)
	return addr
}

func plainSing(t *testing.T) string {
	t.Helper()
	bin, err := singProgram()
	if err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	host, port, _ := net.SplitHostPort(addr)
	file := configFile(t, object{
		"log":       object{"level": "info"},
		"inbounds":  []object{{"type": "vless", "listen": host, "listen_port": json.Number(port), "users": []object{{"uuid": vlessID}}}},
		"outbounds": []object{{"type": "direct"}},
		// Its resolver reads no file of the system by itself.
		"dns":   object{"servers": []object{{"type": "hosts", "tag": "hosts", "predefined": object{"localhost": "127.0.0.1"}}}},
		"route": object{"default_domain_resolver": "hosts"},
	})
	startPeer(t, nil, []string{addr}, bin, "run", "-c", file)
	return addr
}

// plainCarrier is TCP.
type plainCarrier string

// Open implements vless.Carrier.
func (p plainCarrier) Open(ctx context.Context, first []byte) (transport.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", string(p))
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(first); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// dialWays are what a dialer may be told.
var dialWays = []struct {
	name     string
	mux, pad int
}{
	{"alone", 0, 0},
	{"padded", 0, 200},
	{"mux", 8, 0},
	{"mux padded", 8, vless.MaxPad},
}

// TestDialer has our dialer use other people's servers.
func TestDialer(t *testing.T) {
	integration(t)
	id, _ := hex.DecodeString(strings.ReplaceAll(vlessID, "-", ""))
	for _, exit := range plainExits {
		t.Run(exit.name, func(t *testing.T) {
			carrier := plainCarrier(exit.start(t))
			for _, w := range dialWays {
				t.Run(w.name, func(t *testing.T) {
					d := &vless.Dialer{UUID: [16]byte(id), Carrier: carrier, Mux: w.mux, Pad: func() int { return w.pad }}
					defer d.Close()
					if err := atOnce(12, func(i int) error { return dialEcho(t, d, i) }); err != nil {
						t.Errorf("echo: %v", err)
					}
					if err := dialGreeting(t, d); err != nil {
						t.Errorf("a target that speaks first: %v", err)
					}
					if err := dialPackets(t, d); err != nil {
						t.Errorf("datagrams: %v", err)
					}
				})
			}
		})
	}
}

// dialStream dials addr on the exit's machine, every other time by name.
func dialStream(d *vless.Dialer, addr string, byName bool, early []byte) (transport.Conn, error) {
	if _, port, _ := net.SplitHostPort(addr); byName {
		addr = "localhost:" + port
	}
	to, err := transport.ParseTarget(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), shortLimit)
	defer cancel()
	return d.DialStream(ctx, to, early)
}

// dialEcho sends 4 MiB and wants it back, some of it early.
func dialEcho(t *testing.T, d *vless.Dialer, i int) error {
	const size = 4 << 20
	sent := patternBytes(size)
	early := min(i*700, len(sent))
	c, err := dialStream(d, listen(t, echo), i%2 == 1, sent[:early])
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(longLimit))
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent[early:])
		wrote <- err
	}()
	h := sha256.New()
	if _, err := io.CopyN(h, c, size); err != nil {
		return fmt.Errorf("stream %d: %w", i, err)
	}
	if want := sha256.Sum256(sent); !bytes.Equal(h.Sum(nil), want[:]) {
		return fmt.Errorf("stream %d: got other bytes than were sent", i)
	}
	return <-wrote
}

// dialGreeting has a target that speaks first, and ends.
func dialGreeting(t *testing.T, d *vless.Dialer) error {
	addr := listen(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "220 hello\r\n") })
	c, err := dialStream(d, addr, false, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(shortLimit))
	return wants(c, []byte("220 hello\r\n"))
}

// dialPackets sends datagrams of one association to two targets and to a name.
func dialPackets(t *testing.T, d *vless.Dialer) error {
	c, err := d.DialPacket(t.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(shortLimit))
	var targets []transport.Target
	for range 2 {
		to, err := transport.AddrTarget(echoPackets(t))
		if err != nil {
			return err
		}
		targets = append(targets, to)
	}
	b := make([]byte, transport.MaxPacket)
	for i, size := range packetSizes {
		for _, to := range targets {
			sent := patternBytes(int64(size))
			sent[0] = byte(i)
			if err := c.WritePacket(sent, to); err != nil {
				return err
			}
			n, from, err := c.ReadPacket(b)
			if err != nil {
				return fmt.Errorf("datagram of %d bytes: %w", size, err)
			}
			if !bytes.Equal(b[:n], sent) || from != to {
				return fmt.Errorf("datagram of %d bytes to %v: got %d from %v", size, to, n, from)
			}
		}
	}
	return nil
}
