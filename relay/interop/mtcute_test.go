package interop

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/proto/codec"
	"github.com/gotd/td/transport"
)

// TestMtcute is a client with a FakeTLS of its own, which shares no code with
// gotd's or ours: key exchange, 4 MiB up, a pause, 4 MiB down, on one connection.
func TestMtcute(t *testing.T) {
	integration(t)
	t.Parallel()
	client := filepath.Join("testdata", "mtcute", "client.mjs")
	if _, err := os.Stat(filepath.Join(filepath.Dir(client), "node_modules")); err != nil {
		t.Fatalf("mtcute: %v: deploy/test-deps installs it", err)
	}
	dc, state := startPaddedDC(t), t.TempDir()
	r := publicPort(t, dc, state)
	alice := userCommand(t, "add", "alice", state)
	key := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(dc.key.RSA)})
	if err := os.WriteFile(key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	via := r.proxy("mtproto")
	for i, kind := range []string{"ee", "dd"} {
		t.Run(kind, func(t *testing.T) {
			res := runProgram(t, 90*time.Second, nil, "node", client, via.Hostname(), via.Port(),
				hex.EncodeToString(secretOf(t, alice, kind)), key)
			if res.code != 0 || res.stdout != "ok\n" {
				t.Errorf("got exit %d, %q, want exit 0, ok\n%s", res.code, res.stdout, res.stderr)
			}
			if got := dc.accepted.Load(); got != int64(i+1) {
				t.Errorf("connections at the data centre: got %d, want one for each secret", got)
			}
		})
	}
}

// startPaddedDC starts a data centre for clients that pad as Telegram's own do.
func startPaddedDC(t *testing.T) *dataCentre {
	t.Helper()
	return startNumberedDC(t, 2, func(l net.Listener) transport.Listener {
		return transport.ListenCodec(func() transport.Codec { return anyPadding{} }, transport.ObfuscatedListener(l))
	})
}

// anyPadding is gotd's padded intermediate framing for up to 15 bytes of padding:
// gotd adds, and takes away, at most 3.
type anyPadding struct{ codec.PaddedIntermediate }

const (
	plainHead     = 20 // of a message without a key: zeros, id, length
	encryptedHead = 24 // key id, message key
	maxMessage    = 16 << 20
)

// Read implements transport.Codec.
func (anyPadding) Read(r io.Reader, b *bin.Buffer) error {
	b.ResetN(4)
	if _, err := io.ReadFull(r, b.Buf); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(b.Buf)
	if n < encryptedHead || n > maxMessage {
		return fmt.Errorf("message of %d bytes, want %d to %d", n, encryptedHead, maxMessage)
	}
	b.ResetN(int(n))
	if _, err := io.ReadFull(r, b.Buf); err != nil {
		return err
	}
	length := encryptedHead + (n-encryptedHead)/16*16 // what is encrypted comes in blocks
	if binary.LittleEndian.Uint64(b.Buf) == 0 {
		length = plainHead + min(n-plainHead, binary.LittleEndian.Uint32(b.Buf[plainHead-4:]))
	}
	b.Buf = b.Buf[:length]
	return nil
}
