package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gotd/td/session"
	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/telegram/downloader"
	"github.com/gotd/td/telegram/uploader"
	"github.com/gotd/td/tg"

	"relay/auth"
	flow "relay/relay"
	"relay/relay/mtproto"
	"relay/relay/policy"
	"relay/relay/splice"
)

// TestTelegramMTProxy runs gotd's client against gotd's server through the
// MTProto inbound: key exchange, 4 MiB up, 4 MiB down.
func TestTelegramMTProxy(t *testing.T) {
	integration(t)
	t.Parallel()
	for _, c := range []struct {
		name      string
		kind      mtproto.Kind
		prefix    string // of the secret; this client knows "ef" and "ee", too
		reencrypt bool
	}{
		{"dd", mtproto.KindPadded, "dd", false},
		{"dd, reencrypted", mtproto.KindPadded, "dd", true},
		{"simple", mtproto.KindSimple, "", false},
		{"simple, abridged", mtproto.KindSimple, "ef", false},
		{"simple, intermediate, reencrypted", mtproto.KindSimple, "ee", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dc := startDC(t, true)
			addr, key := startMTProxy(t, dc, c.kind, c.reencrypt)
			secret, err := hex.DecodeString(c.prefix + mtproto.Secret(mtproto.KindSimple, key, ""))
			if err != nil {
				t.Fatal(err)
			}
			via, err := dcs.MTProxy(addr, secret, dcs.MTProxyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			useMTProxy(t, dc, via)
			if got := dc.accepted.Load(); got == 0 {
				t.Error("connections at the data centre: got none, want the client's")
			}
		})
	}
}

func useMTProxy(t *testing.T, dc *dataCentre, via dcs.Resolver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := telegram.NewClient(1, "hash", telegram.Options{
		PublicKeys: []telegram.PublicKey{dc.key}, Resolver: via, DC: 2, DCList: dc.list,
		NoUpdates: true, SessionStorage: &session.StorageMemory{}, CompressThreshold: -1,
	})
	want := make([]byte, 4<<20)
	_, _ = mrand.NewChaCha8([32]byte{'m'}).Read(want)
	err := client.Run(ctx, func(ctx context.Context) error {
		api := client.API()
		began := time.Now()
		sent, err := uploader.NewUploader(api).FromBytes(ctx, "4MiB.bin", want)
		if err != nil {
			return err
		}
		up := time.Since(began)
		// The server files an upload of whoever asks under local id 10.
		where := &tg.InputFileLocation{VolumeID: sent.(interface{ GetID() int64 }).GetID(), LocalID: 10}
		var got bytes.Buffer
		if _, err := downloader.NewDownloader().Download(api, where).Stream(ctx, &got); err != nil {
			return err
		}
		t.Logf("4 MiB up in %v, down in %v", up.Round(time.Millisecond), (time.Since(began) - up).Round(time.Millisecond))
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("download: got %d bytes that differ, want the %d bytes sent", got.Len(), len(want))
		}
		return nil
	})
	if err != nil {
		t.Errorf("client: got error %v, want none", err)
	}
}

// startMTProxy runs a relay in this process, with the MTProto inbound on the
// wire for one kind of secret and one user, and data centre 2 at dc.
func startMTProxy(t *testing.T, dc *dataCentre, kind mtproto.Kind, reencrypt bool) (addr string, key [mtproto.SecretSize]byte) {
	t.Helper()
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	users := auth.NewUsers(store, log)
	srv := flow.New(flow.Options{Log: log, Users: users, Splice: splice.New(0)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		_ = users.Close()
		_ = store.Close()
	})
	alice := &auth.Record{Name: "alice", Key: auth.NewKey()}
	if err := users.Add(alice); err != nil {
		t.Fatal(err)
	}
	key = [mtproto.SecretSize]byte(alice.Key.Credential(users.Realm(), mtproto.Label, 0, mtproto.SecretSize))
	options := mtproto.Options{
		Secrets: []string{string(kind)}, Reencrypt: reencrypt,
		DCs: map[string][]string{"2": {dc.addr()}},
	}
	options.Check(func(key, problem, _ string) { t.Fatalf("%s: got %s, want no fault", key, problem) })
	egress, err := policy.New(policy.Options{
		Config: policy.Config{Allow: []string{"127.0.0.0/8"}}, Own: func() []netip.AddrPort { return srv.Own() },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = srv.Apply(flow.Settings{
		Listeners: []flow.Listener{{Address: "127.0.0.1:0", Route: []flow.Candidate{&mtproto.Inbound{
			Keys: lastKey{auth.User{ID: alice.ID, Name: alice.Name}, key}, DCs: options.Table(nil), Plain: options.Plain(),
			Replays: mtproto.NewReplays(), Reencrypt: options.Reencrypt,
		}}}},
		Dialer: egress,
		Limits: flow.Limits{Handshake: 10 * time.Second, Idle: time.Minute, Fin: 10 * time.Second, Backlog: 128},
	})
	if err != nil {
		t.Fatal(err)
	}
	return srv.Addrs()[0].String(), key
}

// lastKey is the Keys of a relay with strangers' keys and one user's, which is
// tried last.
type lastKey struct {
	user auth.User
	key  [mtproto.SecretSize]byte
}

// Candidates implements mtproto.Keys.
func (k lastKey) Candidates(_ string, _ netip.Addr, yield func(auth.User, *[mtproto.SecretSize]byte) bool) {
	for i := range 20 {
		other := [mtproto.SecretSize]byte(slices.Repeat([]byte{byte(i)}, mtproto.SecretSize))
		if !yield(auth.User{ID: uint64(100 + i), Name: "other"}, &other) {
			return
		}
	}
	yield(k.user, &k.key)
}

// Key implements mtproto.Keys.
func (k lastKey) Key(user auth.User) ([mtproto.SecretSize]byte, bool) { return k.key, user == k.user }

// Proved implements mtproto.Keys.
func (lastKey) Proved(netip.Addr, auth.User) {}
