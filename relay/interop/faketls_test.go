package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gotd/td/mtproxy/obfuscated2"
	"github.com/gotd/td/session"
	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/telegram/downloader"
	"github.com/gotd/td/telegram/uploader"
	"github.com/gotd/td/tg"

	"relay/auth"
	rt "relay/transport"
	"relay/transport/faketls"
)

const disguiseName = "cdn.example.net"

// oneKey is one user's key.
type oneKey [16]byte

func (k *oneKey) Candidates(_ string, _ netip.Addr, yield func(auth.User, *[16]byte) bool) {
	yield(auth.User{ID: 1}, (*[16]byte)(k))
}
func (k *oneKey) Proved(auth.User, string, netip.Addr) {}

// toDC takes gotd's obfuscated stream out of the disguise and carries it to a
// data centre, as an MTProto proxy does.
type toDC struct {
	key oneKey
	at  string
}

func (s *toDC) Stream(ctx context.Context, _ auth.User, c rt.Conn) error {
	defer c.Close()
	inside, client, err := obfuscated2.Accept(c, s.key[:])
	if err != nil {
		return err
	}
	var d net.Dialer
	dc, err := d.DialContext(ctx, "tcp4", s.at)
	if err != nil {
		return err
	}
	defer dc.Close()
	if _, err := dc.Write(client.Protocol[:]); err != nil {
		return err
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(dc, inside); _ = dc.(rt.Conn).CloseWrite() })
	both.Go(func() { _, _ = io.Copy(inside, dc); _ = c.CloseWrite() })
	both.Wait()
	return nil
}

// fakeTLS serves the disguise on loopback until the test ends.
func fakeTLS(t *testing.T, sink *toDC, cover faketls.Cover) (addr string) {
	t.Helper()
	server, err := faketls.NewServer(faketls.Options{
		Names: []string{disguiseName}, Keys: &sink.key,
		Cover: func(string) faketls.Cover { return cover },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if err := serveFakeTLS(t.Context(), server, c.(rt.Conn), sink); err != nil {
					t.Errorf("Serve: got %v, want nil", err)
				}
			})
		}
	})
	return l.Addr().String()
}

func serveFakeTLS(ctx context.Context, server *faketls.Server, c rt.Conn, sink rt.Sink) error {
	raw := rt.NewPeeked(c)
	for n := 1; ; {
		prefix, err := raw.Peek(n)
		if err != nil {
			return err
		}
		switch server.Match(prefix) {
		case rt.Yes:
			return server.Serve(ctx, raw, sink)
		case rt.No:
			return rt.ErrNotOurs
		}
		n = len(prefix) + 1
	}
}

// TestFakeTLS runs gotd's client through the server half of the FakeTLS disguise,
// with gotd's own hello, which is uTLS's Chrome, and with ours.
func TestFakeTLS(t *testing.T) {
	integration(t)
	t.Parallel()
	covers := map[string]faketls.Cover{
		"unknown cover":  {},
		"classical keys": {CipherSuite: 0x1302, Group: 0x001d, Sizes: []int{2800}},
		"post-quantum":   {CipherSuite: 0x1301, Group: 0x11ec, KeyShareFirst: true, Sizes: []int{4100, 4101}},
	}
	for name, cover := range covers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dc := startDC(t, false)
			sink := &toDC{at: dc.addr()}
			_, _ = rand.Read(sink.key[:])
			addr := fakeTLS(t, sink, cover)

			// gotd puts a whole write into one record, so larger parts break.
			secret := append(append([]byte{0xee}, sink.key[:]...), disguiseName...)
			own, err := dcs.MTProxy(addr, secret, dcs.MTProxyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			upAndDown(t, "gotd's hello", dc, own, 32<<10)

			for _, shape := range []faketls.Shape{faketls.Chrome, faketls.Safari, faketls.Classic} {
				ours, err := dcs.MTProxy(addr, append([]byte{0xdd}, sink.key[:]...), dcs.MTProxyOptions{
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						var d net.Dialer
						c, err := d.DialContext(ctx, network, addr)
						if err != nil {
							return nil, err
						}
						return faketls.Client(c.(rt.Conn), disguiseName, sink.key, faketls.ClientOptions{Shape: shape})
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				upAndDown(t, fmt.Sprintf("our hello, shape %d", shape), dc, ours, 4<<20)
			}
		})
	}
}

// upAndDown sends a file of that size to the data centre and fetches it again.
func upAndDown(t *testing.T, through string, dc *dataCentre, resolver dcs.Resolver, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := telegram.NewClient(1, "hash", telegram.Options{
		PublicKeys: []telegram.PublicKey{dc.key}, Resolver: resolver, DC: 2, DCList: dc.list,
		NoUpdates: true, SessionStorage: &session.StorageMemory{}, CompressThreshold: -1,
	})
	want := make([]byte, size)
	_, _ = mrand.NewChaCha8([32]byte{'f'}).Read(want)
	err := client.Run(ctx, func(ctx context.Context) error {
		api := client.API()
		sent, err := uploader.NewUploader(api).WithPartSize(32<<10).FromBytes(ctx, "file.bin", want)
		if err != nil {
			return err
		}
		where := &tg.InputFileLocation{VolumeID: sent.(interface{ GetID() int64 }).GetID(), LocalID: 10}
		var got bytes.Buffer
		if _, err := downloader.NewDownloader().Download(api, where).Stream(ctx, &got); err != nil {
			return err
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: got %d bytes that differ, want the %d bytes sent", through, got.Len(), len(want))
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: got %v, want nil", through, err)
	}
}

// TestFakeTLSProbe measures OpenSSL's server.
func TestFakeTLSProbe(t *testing.T) {
	integration(t)
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	run := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN="+disguiseName, "-days", "2", "-keyout", key, "-out", cert)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("openssl req: %v\n%s", err, out)
	}
	addr := freePort(t)
	ctx, cancel := context.WithCancel(t.Context())
	server := exec.CommandContext(ctx, "openssl", "s_server", "-accept", addr, "-cert", cert, "-key", key, "-quiet")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = server.Wait() })
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		for {
			c, err := d.DialContext(ctx, "tcp4", addr)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			pause(t, 50*time.Millisecond)
		}
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	cover, err := faketls.Probe(ctx, dial, disguiseName)
	if err != nil {
		t.Fatalf("Probe: got %v, want nil", err)
	}
	// It follows the client's order of cipher suites, knows no post-quantum keys
	// before version 3.5, and writes each message in a record of its own.
	if cover.CipherSuite != 0 || cover.Group != 0x001d || cover.KeyShareFirst || cover.Retry || cover.Records != 4 {
		t.Errorf("Probe: got %+v, want the client's order, x25519, four records", cover)
	}
	for _, size := range cover.Sizes {
		if size < 500 || size > 1200 {
			t.Errorf("Probe: got sizes %v, want those of one small certificate", cover.Sizes)
			break
		}
	}
}

// freePort returns an address on loopback that was free a moment ago. It is none that
// Linux gives to who connects: he would keep others from listening there, and who asks
// whether somebody listens could meet himself.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", 12000+mrand.N(20000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port in a hundred")
	return ""
}
