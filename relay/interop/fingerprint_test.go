package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/hello"
)

// TestFingerprintCapture lets a real browser visit relay fingerprint capture: what
// comes out is the profile of the program, or that is not of this browser any more.
func TestFingerprintCapture(t *testing.T) {
	integration(t)
	file := filepath.Join(t.TempDir(), "captured.json")
	var out lockedBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- runTo(t, 90*time.Second, nil, &out, &out, relayBin, "fingerprint", "capture", "--out", file)
	}()
	address := regexp.MustCompile(`https://localhost:\d+/`)
	for end := time.Now().Add(20 * time.Second); !address.MatchString(out.String()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("capture: got %q, want an address", out.String())
		}
	}
	browse(t, address.FindString(out.String()), "--ignore-certificate-errors", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost")
	if code := <-ended; code != 0 {
		t.Fatalf("capture: got exit %d, want 0\n%s", code, out.String())
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatalf("profile: got %v, want a file\n%s", err, out.String())
	}
	defer f.Close()
	p, err := browser.Read(f)
	if err != nil {
		t.Fatalf("profile: got %v, want one", err)
	}
	for _, d := range browser.Bundled().Differences(p) {
		t.Errorf("the profile of the program and this browser differ: %s", d)
	}
	if t.Failed() {
		t.Log("if Chromium has a new version here, its profile is transport/browser's to have: relay fingerprint capture")
	}
}

// browse opens an address in a browser that stays there until the test ends.
func browse(t *testing.T, url string, more ...string) {
	t.Helper()
	home := t.TempDir()
	args := append(chromiumArgs(home), more...)
	cmd := exec.Command("chromium", append(args, url)...)
	cmd.Env = cleanEnv(home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// TestFingerprintHellos compares what a server sees of a real browser and of us in
// the same minute: first visits, repeat visits and WebSockets.
func TestFingerprintHellos(t *testing.T) {
	integration(t)
	s := newHelloServer(t)
	res := chromium(t, "https://"+coverName+"/", "--no-proxy-server",
		"--host-resolver-rules=MAP "+coverName+":443 "+s.address+", MAP * ~NOTFOUND",
		"--ignore-certificate-errors-spki-list="+s.keyPin)
	if !strings.Contains(res.stdout, `<p id="state">done</p>`) {
		t.Fatalf("browser: got\n%s\nwant it to be done\n%s", res.stdout, res.stderr)
	}
	theirs := s.take(t)
	sessions := new(browser.Sessions)
	const visits = 100
	for i := range visits {
		s.visit(t, browser.Config{ServerName: coverName, Pins: [][32]byte{s.pin}}, i%2 == 1)
		s.visit(t, browser.Config{ServerName: coverName, Pins: [][32]byte{s.pin}, Sessions: sessions, WebSocket: i%10 == 9}, true)
	}
	ours := s.take(t)
	if len(ours) != 2*visits {
		t.Fatalf("hellos of ours: got %d, want %d", len(ours), 2*visits)
	}
	distinct := map[string]bool{}
	for _, h := range ours {
		distinct[string(h.wire)] = true
	}
	if len(distinct) != len(ours) {
		t.Errorf("hellos of ours: got %d different ones of %d, want all", len(distinct), len(ours))
	}
	a, b := kinds(ours), kinds(theirs)
	for kind, want := range b {
		if got, ok := a[kind]; !ok || got != want {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
	}
	for _, kind := range []string{"page, first", "page, repeat", "socket, repeat"} {
		if _, ok := b[kind]; !ok {
			t.Errorf("browser: got no hello of kind %q, want one", kind)
		}
	}
}

// kinds says of each kind of hello all that is not drawn for each connection.
func kinds(list []oneHello) map[string]string {
	out := map[string]string{}
	for _, h := range list {
		kind := "page"
		if len(h.Protocols) == 1 {
			kind = "socket"
		}
		visit := "first"
		if h.Resumes {
			visit = "repeat"
		}
		ids := slices.Clone(h.Extensions)
		slices.SortFunc(ids, func(a, b browser.Extension) int { return int(a.ID) - int(b.ID) })
		text := fmt.Sprintf("JA4 %s; %v; %v; %v; %v; %v; %q; %x; %d bytes besides ECH", h.JA4(), h.CipherSuites, h.Versions, h.Groups,
			h.KeyShares, h.SignatureAlgorithms, h.Protocols, ids, h.Size-h.ECHPayloads[0])
		kind += ", " + visit
		if before, ok := out[kind]; ok && before != text {
			text = before + "\nand " + text
		}
		out[kind] = text
	}
	return out
}

type oneHello struct {
	browser.Seen
	wire []byte
}

// helloServer is a site that keeps the hellos of its visitors.
type helloServer struct {
	address string
	pin     [32]byte
	keyPin  string
	mu      sync.Mutex
	hellos  []oneHello
}

const helloPage = `<!doctype html><p id="state">not yet</p><img src="/hold.png"><script>
async function run() {
  for (let i = 0; i < 12; i++) await (await fetch("/again")).text();
  for (let i = 0; i < 2; i++) await new Promise(go => { const ws = new WebSocket("wss://" + location.host + "/"); ws.onclose = go; });
  document.getElementById("state").textContent = "done";
  await fetch("/done");
}
run();
</script>`

func newHelloServer(t *testing.T) *helloServer {
	t.Helper()
	done := make(chan struct{})
	var once sync.Once
	s := new(helloServer)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		if req.ProtoMajor == 1 {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, helloPage)
	})
	mux.HandleFunc("/again", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	mux.HandleFunc("/done", func(http.ResponseWriter, *http.Request) { once.Do(func() { close(done) }) })
	mux.HandleFunc("/hold.png", func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-done:
		case <-req.Context().Done():
		}
	})
	site := httptest.NewUnstartedServer(mux)
	site.EnableHTTP2 = true
	site.TLS = &tls.Config{Certificates: []tls.Certificate{s.certificate(t)}, NextProtos: []string{"h2", "http/1.1"}}
	site.Listener = &helloListener{Listener: site.Listener, s: s}
	site.Config.ErrorLog = log.New(io.Discard, "", 0)
	site.StartTLS()
	t.Cleanup(site.Close)
	s.address = site.Listener.Addr().String()
	return s
}

func (s *helloServer) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{coverName}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	s.pin, s.keyPin = sha256.Sum256(der), base64.StdEncoding.EncodeToString(sum[:])
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// take returns the hellos since the last time, and forgets them.
func (s *helloServer) take(t *testing.T) []oneHello {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.hellos
	s.hellos = nil
	for i, h := range list {
		record, _, ok := hello.Record(nil, h.wire)
		if !ok {
			t.Fatalf("hello %d: got %d bytes, want one", i, len(h.wire))
		}
		var err error
		if list[i].Seen, err = browser.Inspect(hello.Message(record)); err != nil {
			t.Fatalf("hello %d: got %v, want nil", i, err)
		}
	}
	return list
}

// visit makes a handshake, asks for something if talk, so that tickets arrive, and ends.
func (s *helloServer) visit(t *testing.T, c browser.Config, talk bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	raw, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := browser.Bundled().Client(ctx, raw.(transport.Conn), c)
	if err != nil {
		t.Fatalf("handshake: got %v, want nil", err)
	}
	defer conn.Close()
	if !talk {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	ask := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	if conn.Protocol() != "h2" {
		ask = "GET / HTTP/1.1\r\nHost: " + coverName + "\r\n\r\n"
	}
	if _, err := io.WriteString(conn, ask); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		t.Fatalf("read: got %v, want an answer", err)
	}
}

// helloListener gives connections out whose first bytes are kept.
type helloListener struct {
	net.Listener
	s *helloServer
}

func (l *helloListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &helloConn{Conn: c, s: l.s}, nil
}

type helloConn struct {
	net.Conn
	s     *helloServer
	wire  bytes.Buffer
	whole bool
}

func (c *helloConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.whole {
		c.wire.Write(b[:n])
		if record, size, ok := hello.Record(nil, c.wire.Bytes()); ok {
			c.whole = true
			c.s.mu.Lock()
			c.s.hellos = append(c.s.hellos, oneHello{wire: bytes.Clone(record[:size])})
			c.s.mu.Unlock()
		}
	}
	return n, err
}
