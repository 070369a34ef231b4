package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	mrand "math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotd/td/exchange"
	"github.com/gotd/td/mt"
	"github.com/gotd/td/session"
	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/telegram/downloader"
	"github.com/gotd/td/telegram/uploader"
	"github.com/gotd/td/tg"
	"github.com/gotd/td/tgtest"
	"github.com/gotd/td/tgtest/services/config"
	"github.com/gotd/td/tgtest/services/file"
	"github.com/gotd/td/transport"
	"golang.org/x/net/proxy"
)

// telegramIdle is longer than any handshake or fin timeout a relay could take
// for an idle limit by mistake, and shorter than the client's own ping.
const telegramIdle = 20 * time.Second

// TestTelegramClient runs gotd's client against gotd's server through SOCKS5:
// key exchange, 4 MiB up, 4 MiB down, a pause, and the file once more.
func TestTelegramClient(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, c := range []struct {
		name       string
		password   bool
		obfuscated bool // as Telegram Desktop does: abridged frames inside obfuscated2
	}{
		{name: "anonymous, intermediate"},
		{name: "password, obfuscated abridged", password: true, obfuscated: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var r *relay
			if c.password {
				r = quickstart(t, "--egress-allow", "127.0.0.0/8")
				if r.proxy("socks5").User == nil {
					t.Fatal("ready line without --anonymous: got no user, want one")
				}
			} else {
				r = anonymous(t)
			}
			dc := startDC(t, c.obfuscated)
			useTelegram(t, dc, c.obfuscated, r.proxy("socks5"))
			if got := dc.accepted.Load(); got != 1 {
				t.Errorf("connections at the data centre: got %d, want 1 that outlives the pause", got)
			}
		})
	}
}

func useTelegram(t *testing.T, dc *dataCentre, obfuscated bool, via *url.URL) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), telegramIdle+time.Minute)
	defer cancel()
	plain := dcs.PlainOptions{Dial: socks5Dialer(t, via).DialContext}
	if obfuscated {
		plain.Protocol, plain.Obfuscated = transport.Abridged, true
	}
	client := telegram.NewClient(1, "hash", telegram.Options{
		PublicKeys:        []telegram.PublicKey{dc.key},
		Resolver:          dcs.Plain(plain),
		DC:                2,
		DCList:            dc.list,
		NoUpdates:         true,
		SessionStorage:    &session.StorageMemory{},
		CompressThreshold: -1,
	})
	want := make([]byte, 4<<20)
	_, _ = mrand.NewChaCha8([32]byte{'t'}).Read(want)
	err := client.Run(ctx, func(ctx context.Context) error {
		api := client.API()
		sent, err := uploader.NewUploader(api).FromBytes(ctx, "4MiB.bin", want)
		if err != nil {
			return err
		}
		// The server files an upload of whoever asks under local id 10.
		where := &tg.InputFileLocation{VolumeID: sent.(interface{ GetID() int64 }).GetID(), LocalID: 10}
		download := func(when string) error {
			var got bytes.Buffer
			if _, err := downloader.NewDownloader().Download(api, where).Stream(ctx, &got); err != nil {
				return err
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: got %d bytes that differ, want the %d bytes sent", when, got.Len(), len(want))
			}
			return nil
		}
		if err := download("download"); err != nil {
			return err
		}
		pause(t, telegramIdle)
		if _, err := api.HelpGetConfig(ctx); err != nil {
			return err
		}
		return download("download after the pause")
	})
	if err != nil {
		t.Errorf("client: got error %v, want none", err)
	}
}

// socks5Dialer is golang.org/x/net's SOCKS5 client, which gotd's users use.
func socks5Dialer(t *testing.T, via *url.URL) proxy.ContextDialer {
	t.Helper()
	var auth *proxy.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		auth = &proxy.Auth{User: via.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", via.Host, auth, new(net.Dialer))
	if err != nil {
		t.Fatal(err)
	}
	return d.(proxy.ContextDialer)
}

// dataCentre is a Telegram server on loopback with a config and a file service.
type dataCentre struct {
	key      exchange.PublicKey
	list     dcs.List
	accepted atomic.Int64
}

// addr is where the data centre listens.
func (d *dataCentre) addr() string {
	return net.JoinHostPort(d.list.Options[0].IPAddress, strconv.Itoa(d.list.Options[0].Port))
}

func startDC(t *testing.T, obfuscated bool) *dataCentre {
	t.Helper()
	return startNumberedDC(t, 2, func(l net.Listener) transport.Listener {
		if obfuscated {
			l = transport.ObfuscatedListener(l)
		}
		return transport.Listen(l)
	})
}

// dcKey draws a data centre's key. mtcute 0.30.3 does not find one whose fingerprint
// begins with a zero in hexadecimal: it compares them as text, without that zero.
func dcKey(t *testing.T) exchange.PrivateKey {
	t.Helper()
	for {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		private := tgtest.NewPrivateKey(key)
		if uint64(private.Fingerprint())>>60 != 0 {
			return private
		}
	}
}

// startNumberedDC starts the data centre of a number, with a protocol above TCP.
func startNumberedDC(t *testing.T, number int, above func(net.Listener) transport.Listener) *dataCentre {
	t.Helper()
	private := dcKey(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	dc := &dataCentre{list: dcs.List{Options: []tg.DCOption{
		{ID: number, IPAddress: "127.0.0.1", Port: at.Port, Static: true},
	}}}

	d := tgtest.NewDispatcher()
	config.NewService(&tg.Config{DCOptions: dc.list.Options}, &tg.CDNConfig{}).Register(d)
	file.NewService(file.Config{HashPartSize: 1024}).Register(d)
	d.HandleFunc(mt.MsgsAckTypeID, func(*tgtest.Server, *tgtest.Request) error { return nil })
	d.Vector(tg.UsersGetUsersRequestTypeID, &tg.User{ID: 10, AccessHash: 10, Username: "alice"})
	// The server's read limit of 30 s is no part of what is tested.
	server := tgtest.NewServer(private, tgtest.UnpackInvoke(d), tgtest.ServerOptions{DC: number, ReadTimeout: 2 * time.Minute})
	dc.key = server.Key()

	counted := above(&oneAtATime{Listener: &countingListener{Listener: l, n: &dc.accepted}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, counted) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("data centre: got no end in 10s, want one once its client has gone")
		}
	})
	return dc
}

// countingListener counts what it accepts.
type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// pause waits on the real clock: the relay is another process and has no other.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
