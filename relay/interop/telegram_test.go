package interop

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotd/td/telegram/dcs"

	rt "relay/transport"
	"relay/transport/faketls"
)

const telegramNames = `names = ["www.example.org", "cdn.example.org"]`

// publicPort runs a relay whose port speaks MTProto to users and is a site to
// everybody else.
func publicPort(t *testing.T, dc *dataCentre, state string) *relay {
	t.Helper()
	return publicPortTo(t, fmt.Sprintf(`dcs = { "2" = [%q] }`, dc.addr()), state)
}

// publicPortTo is a publicPort with the given lines in the table [mtproto].
func publicPortTo(t *testing.T, lines, state string) *relay {
	t.Helper()
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte(greeting), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := fmt.Sprintf(`state = %q
[[listen]]
address = "127.0.0.1:0"
inbounds = ["mtproto"]
[cover]
name = "www.example.org"
site = %q
certificate = "self-signed"
[mtproto]
secrets = ["ee", "dd", "simple"]
%s
%s
[egress]
allow = ["127.0.0.0/8"]
`, state, site, telegramNames, lines)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, []string{"mtproto"}, "serve", "--config", file)
}

// secretOf is the secret in a user's tg:// link of a kind.
func secretOf(t *testing.T, u userRecord, kind string) []byte {
	t.Helper()
	for _, text := range u.Links["mtproto-"+kind] {
		link, err := url.Parse(text)
		if err != nil || link.Scheme != "tg" {
			continue
		}
		secret, err := hex.DecodeString(link.Query().Get("secret"))
		if err != nil {
			t.Fatalf("link %s: %v", text, err)
		}
		return secret
	}
	t.Fatalf("user %s: got links %v, want one of kind %s", u.Name, u.Links, kind)
	return nil
}

// telegramVia is gotd's way through an MTProto proxy. Its own FakeTLS breaks
// large parts, so the disguise is ours, except where the hello is gotd's.
func telegramVia(t *testing.T, r *relay, secret []byte, shape faketls.Shape) dcs.Resolver {
	t.Helper()
	o := dcs.MTProxyOptions{}
	if secret[0] == 0xee && len(secret) > 17 {
		key, name := [16]byte(secret[1:]), string(secret[17:])
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return faketls.Client(c.(rt.Conn), name, key, faketls.ClientOptions{Shape: shape})
		}
		secret = append([]byte{0xdd}, key[:]...)
	}
	via, err := dcs.MTProxy(r.proxy("mtproto").Host, secret, o)
	if err != nil {
		t.Fatal(err)
	}
	return via
}

// TestTelegramProxy takes a Telegram client through the links that the relay
// prints, of every kind, while strangers see the site.
func TestTelegramProxy(t *testing.T) {
	integration(t)
	t.Parallel()
	dc, state := startDC(t, true), t.TempDir()
	r := publicPort(t, dc, state)
	alice, bob := userCommand(t, "add", "alice", state), userCommand(t, "add", "bob", state)

	for _, shape := range []faketls.Shape{faketls.Chrome, faketls.Safari, faketls.Classic} {
		upAndDown(t, fmt.Sprintf("ee, shape %d", shape), dc, telegramVia(t, r, secretOf(t, alice, "ee"), shape), 4<<20)
	}
	upAndDown(t, "ee of another name", dc, telegramVia(t, r, secretOf(t, bob, "ee"), faketls.Chrome), 16<<20)
	own, err := dcs.MTProxy(r.proxy("mtproto").Host, secretOf(t, alice, "ee"), dcs.MTProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	upAndDown(t, "gotd's own hello", dc, own, 32<<10)
	for _, kind := range []string{"dd", "simple"} {
		upAndDown(t, kind, dc, telegramVia(t, r, secretOf(t, bob, kind), 0), 4<<20)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			upAndDown(t, "eight at once", dc, telegramVia(t, r, secretOf(t, alice, "ee"), faketls.Chrome), 2<<20)
		})
	}
	all.Wait()
	strangersSee(t, r.proxy("mtproto").Host)
	userCommand(t, "disable", "alice", state)
	showsTheSite(t, r, secretOf(t, alice, "ee"))
	upAndDown(t, "bob, after alice was disabled", dc, telegramVia(t, r, secretOf(t, bob, "ee"), faketls.Chrome), 32<<10)
}

// strangersSee is a browser's look at the port.
func strangersSee(t *testing.T, addr string) {
	t.Helper()
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("https://www.example.org/")
	if err != nil {
		t.Errorf("a stranger: got %v, want the site", err)
		return
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != greeting || resp.ProtoMajor != 2 {
		t.Errorf("a stranger: got %q over HTTP/%d, want %q over HTTP/2", b, resp.ProtoMajor, greeting)
	}
}

// showsTheSite checks that a secret opens nothing any more: its hello is answered by
// the site, which knows no key.
func showsTheSite(t *testing.T, r *relay, secret []byte) {
	t.Helper()
	c, err := net.DialTimeout("tcp4", r.proxy("mtproto").Host, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = faketls.Client(c.(rt.Conn), string(secret[17:]), [16]byte(secret[1:]), faketls.ClientOptions{})
	if err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a secret of nobody: got %v, want an answer that is not ours", err)
	}
}
