package httpconnect_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/relay/httpconnect"
	"relay/relay/policy"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// dialer is egress without a policy.
type dialer struct{ net.Dialer }

// DialStream implements transport.Dialer.
func (d *dialer) DialStream(ctx context.Context, to transport.Target, _ []byte) (transport.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(transport.Conn), nil
}

// startRelay runs the flow on a loopback port, for alice, and returns its URL.
func startRelay(t *testing.T) *url.URL {
	t.Helper()
	return startRelayWith(t, new(dialer), false)
}

// startRelayWith does so with a dialer of its own, and for anyone if asked to.
func startRelayWith(t *testing.T, d transport.Dialer, anonymous bool) *url.URL {
	t.Helper()
	relaytest.LeakCheck(t)
	store, err := auth.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	users := auth.NewUsers(store, log)
	alice := &auth.Record{Name: "alice", Key: auth.NewKey()}
	if err := users.Add(alice); err != nil {
		t.Fatal(err)
	}
	srv := relay.New(relay.Options{Log: log, Users: users, Splice: splice.New(0)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		_ = users.Close()
		_ = store.Close()
	})
	in := &httpconnect.Inbound{
		Verify: func(ctx context.Context, source netip.Addr, name, password string) (auth.User, error) {
			return users.Verify(ctx, httpconnect.Label, source, name, password)
		},
		Anonymous: anonymous,
		Options:   httpconnect.Options{Forward: true},
	}
	err = srv.Apply(relay.Settings{
		Listeners: []relay.Listener{{Address: "127.0.0.1:0", Route: []relay.Candidate{in}}},
		Dialer:    d,
		Limits:    relay.Limits{Handshake: 10 * time.Second, Idle: time.Minute, Fin: 10 * time.Second, Backlog: 128},
	})
	if err != nil {
		t.Fatal(err)
	}
	via := &url.URL{Scheme: "http", Host: srv.Addrs()[0].String()}
	if !anonymous {
		via.User = url.UserPassword("alice", alice.Password(users.Realm(), httpconnect.Label))
	}
	return via
}

// origin answers with the body's digest and what a proxy must not pass on.
func origin(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	leaked := r.Header.Get("Proxy-Authorization") + r.Header.Get("Proxy-Connection") + strings.Join(r.TransferEncoding, "") + r.Header.Get("Te")
	fmt.Fprintf(w, "%s %s %d %x %q", r.Method, r.RequestURI, n, h.Sum(nil), strings.TrimSuffix(leaked, "chunked"))
}

// client is net/http as a client of the relay.
func client(t *testing.T, via *url.URL, of *httptest.Server) *http.Client {
	tr := of.Client().Transport.(*http.Transport).Clone()
	tr.Proxy = http.ProxyURL(via)
	tr.ExpectContinueTimeout = 30 * time.Second // longer than the test may take
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// ask sends one request with a body of size bytes and checks the answer.
func ask(c *http.Client, url string, size int, chunked, expect bool) error {
	body := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	var r io.Reader = bytes.NewReader(body)
	if chunked {
		r = struct{ io.Reader }{r} // net/http cannot see its length
	}
	req, err := http.NewRequest(http.MethodPost, url+"/a?b=%2F", r)
	if err != nil {
		return err
	}
	if expect {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("POST /a?b=%%2F %d %x %q", len(body), sha256.Sum256(body), ""); err != nil || string(got) != want {
		return fmt.Errorf("answer: got %q, %v, want %q", got, err, want)
	}
	return nil
}

// TestNetHTTP sends net/http's client through the whole flow to net/http's
// server, fifty at once, in every form that a request can have.
func TestNetHTTP(t *testing.T) { netHTTP(t, startRelay(t)) }

// Nothing takes these connections off the reactor that has accepted them, which
// dials for them too: the target must see the rewritten request all the same.
func TestNetHTTPOnReactor(t *testing.T) {
	egress, err := policy.New(policy.Options{Config: policy.Config{Allow: []string{"127.0.0.0/8"}}})
	if err != nil {
		t.Fatal(err)
	}
	netHTTP(t, startRelayWith(t, egress, true))
}

func netHTTP(t *testing.T, via *url.URL) {
	plain := httptest.NewServer(http.HandlerFunc(origin))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(origin))
	defer secure.Close()
	for name, srv := range map[string]*httptest.Server{"absolute form": plain, "CONNECT": secure} {
		t.Run(name, func(t *testing.T) {
			c := client(t, via, srv)
			defer c.CloseIdleConnections()
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() {
					for _, size := range []int{0, 1600, 160000} {
						if err := ask(c, srv.URL, size, i%2 == 0, i%3 == 0); err != nil {
							t.Errorf("request %d, %d bytes: got %v, want nil", i, size, err)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// A wrong password is answered with 407 in both forms.
func TestNetHTTPWrongPassword(t *testing.T) {
	via := startRelay(t)
	via.User = url.UserPassword("alice", "wrong")
	plain := httptest.NewServer(http.HandlerFunc(origin))
	defer plain.Close()
	resp, err := client(t, via, plain).Get(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusProxyAuthRequired || !strings.HasPrefix(resp.Header.Get("Proxy-Authenticate"), "Basic ") {
		t.Errorf("answer: got %s, %v, want 407 with Proxy-Authenticate", resp.Status, resp.Header)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(origin))
	defer secure.Close()
	if _, err := client(t, via, secure).Get(secure.URL); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") {
		t.Errorf("CONNECT: got %v, want Proxy Authentication Required", err)
	}
}

// A large body that nobody has asked for yet, and a refusal without reading
// it: the client gets the answer, not a reset.
func TestRefusalDuringUpload(t *testing.T) {
	via := startRelay(t)
	refuse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer refuse.Close()
	c := client(t, via, refuse)
	req, _ := http.NewRequest(http.MethodPut, refuse.URL, bytes.NewReader(make([]byte, 200<<10)))
	req.Header.Set("Expect", "100-continue")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("answer: got %s, want 403", resp.Status)
	}
}
