package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
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

	"relay/auth"
	"relay/relay"
	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/mtproto"
)

// startFor runs a relay in this process until the test ends.
func startFor(t *testing.T, toml string) *instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "rs") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tabs := tables()
	cfg, faults := config.Parse("relay.toml", []byte(fmt.Sprintf("state = %q\n", dir)+toml), inboundNames(), tabs)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	in, err := start(cfg, tabs, slog.New(slog.DiscardHandler), relay.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		in.stop(ctx, 0)
	})
	return in
}

// asks connects as a client of Telegram with a simple secret does, and wants data
// centre 2.
func asks(t *testing.T, in *instance, key [mtproto.SecretSize]byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", in.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	frame := make([]byte, 64)
	_, _ = rand.Read(frame)
	frame[0], frame[4] = 'A', 1 // clients avoid some beginnings, and this is none of them
	copy(frame[1:4], "bcd")
	binary.LittleEndian.PutUint32(frame[56:], 0xeeeeeeee)
	binary.LittleEndian.PutUint16(frame[60:], 2)
	sum := sha256.Sum256(append(frame[8:40:40], key[:]...))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, 64)
	cipher.NewCTR(block, frame[40:56]).XORKeyStream(sealed, frame)
	if _, err := c.Write(append(frame[:56:56], sealed[56:]...)); err != nil {
		t.Fatal(err)
	}
	return c
}

// shows waits until the status has what is wanted.
func shows(t *testing.T, in *instance, what string, want func(admin.Status) bool) admin.Status {
	t.Helper()
	cl, err := admin.Dial(in.config().State)
	if err != nil {
		t.Fatal(err)
	}
	var st admin.Status
	for range 400 {
		if st, err = cl.Status(); err == nil && want(st) {
			return st
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("status: got %+v, %v, want %s", st, err, what)
	return st
}

// TestStatusOfDCs follows one data centre from its first user to its end, and the
// relay into draining.
func TestStatusOfDCs(t *testing.T) {
	dc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dc.Close()
	addr := dc.Addr().String()
	in := startFor(t, fmt.Sprintf(`
[[listen]]
address = "127.0.0.1:0"
inbounds = ["mtproto"]
[mtproto]
secrets = ["simple"]
dcs = { "2" = [%q, "wss://127.0.0.1:1/secret-path"] }
probe = "0"
[egress]
allow = ["127.0.0.0/8"]
`, addr))
	alice := &auth.Record{Name: "alice"}
	if err := in.users.Add(alice); err != nil {
		t.Fatal(err)
	}
	key, ok := alice.Secret(in.users.Realm(), mtproto.Label)
	if !ok {
		t.Fatal("alice has no secret")
	}
	if st := in.status(); len(st.DCs) != 0 || st.Draining != nil {
		t.Errorf("before anybody came: got %+v, want nothing", st)
	}

	first := asks(t, in, key)
	far, err := dc.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	up := shows(t, in, "the data centre up", func(s admin.Status) bool { return len(s.DCs) == 1 && s.DCs[0].State == admin.Up })
	if d := up.DCs[0]; d.ID != 2 || d.At != addr || d.Kind != admin.Direct || d.Since == nil || d.Ways != 2 || d.WaysDown != 0 || d.LastError != "" {
		t.Errorf("up: got %+v", d)
	}

	// Nobody listens at either way any more.
	_ = dc.Close()
	for range 2 {
		_, _ = io.Copy(io.Discard, asks(t, in, key)) // refused: to its end
	}
	down := shows(t, in, "the data centre down", func(s admin.Status) bool { return s.DCs[0].State == admin.Down && s.DCs[0].WaysDown == 2 })
	if d := down.DCs[0]; d.LastError != mtproto.WhyRefused || d.LastErrorAt == nil || d.Since == nil {
		t.Errorf("down: got %+v", d)
	}

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		in.stop(t.Context(), time.Minute)
	}()
	st := shows(t, in, "that it drains", func(s admin.Status) bool { return s.Draining != nil && s.Live == 1 })
	var text, metrics strings.Builder
	writeStatus(&text, st)
	_ = in.writeMetrics(&metrics)
	for _, want := range []string{"DRAINING since ", ": no new connections, 1 left, which are cut in ", "\nDATA CENTRE ", "DOWN ", " 2 of 2 ", " refused "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text: got %q, want %q in it", text.String(), want)
		}
	}
	for _, want := range []string{"relay_draining 1\n", "relay_connections 1\n", "relay_dc_up{dc=\"2\"} 0\n", "relay_dc_ways_down{dc=\"2\"} 2\n"} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics: got %q, want %q in them", metrics.String(), want)
		}
	}
	if strings.Contains(text.String(), "secret-path") {
		t.Errorf("text: got %q, want no path of a way over WebSocket", text.String())
	}
	_, _ = first.Close(), far.Close()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("it still drains 20 s after the last connection ended")
	}
}

// TestStatusOfStrangers visits the site in the process, as nobody who has a secret.
func TestStatusOfStrangers(t *testing.T) {
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "index.html"), make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	in := startFor(t, fmt.Sprintf(`
[[listen]]
address = "127.0.0.1:0"
inbounds = ["mtproto"]
[mtproto]
websocket = "never"
probe = "0"
[cover]
name = "www.example.org"
site = %q
certificate = "self-signed"
`, site))
	c, err := tls.Dial("tcp", in.server.Addrs()[0].String(), &tls.Config{ServerName: "www.example.org", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	shows(t, in, "a stranger", func(s admin.Status) bool { return s.Strangers.Live == 1 })
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || len(got) < 10_000 {
		t.Fatalf("the site: got %d bytes, %v, want its page", len(got), err)
	}
	st := shows(t, in, "the stranger gone", func(s admin.Status) bool { return s.Strangers.Live == 0 && s.Strangers.Bytes.Up > 0 })
	var text strings.Builder
	writeStatus(&text, st)
	if want := "\nstrangers 0, those who are gone moved "; !strings.Contains(text.String(), want) {
		t.Errorf("text: got %q, want %q in it", text.String(), want)
	}
	if b := st.Strangers.Bytes; b.Down < int64(len(got)) || b.Down > int64(len(got))+10_000 || b.Up > 10_000 || st.Bytes != (admin.Bytes{}) {
		t.Errorf("bytes: got %+v of strangers, %+v of users, want %d and a handshake, and none", b, st.Bytes, len(got))
	}
}
