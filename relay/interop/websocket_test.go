package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/transport/faketls"
)

// webFront is a server such as kws2.web.telegram.org: what comes in WebSocket
// messages goes to a data centre, and back.
type webFront struct {
	url      string
	root     string // PEM file
	accepted atomic.Int64
}

// startFront runs one on loopback, by a name that only the test's DNS knows.
func startFront(t *testing.T, dc *dataCentre) *webFront {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), DNSNames: []string{knownName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f := &webFront{root: filepath.Join(t.TempDir(), "root.pem")}
	if err := os.WriteFile(f.root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := f.serve(w, req, dc.addr()); err != nil {
			t.Errorf("front: got %v, want a WebSocket", err)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	f.url = "wss://" + net.JoinHostPort(knownName, port) + "/apiws"
	return f
}

func (f *webFront) serve(w http.ResponseWriter, req *http.Request, dc string) error {
	if req.URL.Path != "/apiws" || req.TLS.ServerName != knownName || !strings.HasPrefix(req.Host, knownName+":") {
		return fmt.Errorf("%s for %s on a connection for %s", req.URL, req.Host, req.TLS.ServerName)
	}
	ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	if got := ws.Subprotocol(); got != "binary" {
		return fmt.Errorf("subprotocol %q", got)
	}
	f.accepted.Add(1)
	near := websocket.NetConn(req.Context(), ws, websocket.MessageBinary)
	far, err := net.Dial("tcp4", dc)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(near, far)
	_ = near.Close()
	return far.Close()
}

// passTo accepts on addr and passes on to a data centre what says something: a
// connection without a word ends gotd's server.
func passTo(t *testing.T, addr, dc string) *atomic.Int64 {
	t.Helper()
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	n := new(atomic.Int64)
	pass := func(near *net.TCPConn) {
		defer near.Close()
		first := make([]byte, 4096)
		size, _ := near.Read(first)
		if size == 0 {
			return
		}
		n.Add(1)
		far, err := net.Dial("tcp4", dc)
		if err != nil {
			return
		}
		defer far.Close()
		_, _ = far.Write(first[:size])
		go func() { _, _ = io.Copy(far, near); _ = far.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(near, far)
	}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			go pass(near.(*net.TCPConn))
		}
	}()
	return n
}

// TestTelegramWebSocket takes Telegram clients to a data centre whose address does
// not answer, over WebSocket, and back to the address when that answers.
func TestTelegramWebSocket(t *testing.T) {
	integration(t)
	t.Parallel()
	dc, dns, state, blocked := startDC(t, true), startDNS(t), t.TempDir(), freePort(t)
	f := startFront(t, dc)
	r := publicPortTo(t, []string{"SSL_CERT_FILE=" + f.root}, state,
		fmt.Sprintf("dcs = { \"2\" = [%q, %q] }\nprobe = \"1s\"\n[dns]\nservers = [%q]", blocked, f.url, dns.addr))
	alice := userCommand(t, "add", "alice", state)
	for _, kind := range []string{"ee", "dd", "simple"} {
		upAndDown(t, kind+" over WebSocket", dc, telegramVia(t, r, secretOf(t, alice, kind), faketls.Chrome), 1<<20)
	}
	if f.accepted.Load() < 3 {
		t.Errorf("WebSockets: got %d, want one for each client", f.accepted.Load())
	}
	// Down is said once, with what is used instead, and so is up.
	says(t, r, `level=WARN msg="a data centre cannot be reached" dc=2 at=`+blocked+` instead=`+f.url)
	passed := passTo(t, blocked, dc.addr())
	says(t, r, `level=INFO msg="a data centre can be reached again" dc=2 at=`+blocked)
	before := f.accepted.Load()
	upAndDown(t, "by the address again", dc, telegramVia(t, r, secretOf(t, alice, "ee"), faketls.Chrome), 1<<20)
	if got := f.accepted.Load(); got != before {
		t.Errorf("WebSockets once the address is back: got %d more, want none", got-before)
	}
	if passed.Load() == 0 {
		t.Error("connections at the address: got none, want the last client's")
	}
	if log := r.stderr.String(); strings.Count(log, "a data centre can") != 2 {
		t.Error("log: got more about the data centre than that it is down, and up")
	}
}

// says waits until the log has a line. A way that is down is probed again after 30 s
// at first.
func says(t *testing.T, r *relay, want string) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); pause(t, 50*time.Millisecond) {
		if strings.Contains(r.stderr.String(), want) {
			return
		}
	}
	t.Fatalf("log: got no line with %s", want)
}
