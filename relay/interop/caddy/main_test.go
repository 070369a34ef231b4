package caddy

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"relay/auth"
	"relay/relay/site"
	"relay/transport"
)

// The site has three names: two with one certificate, and one with another.
const (
	name      = "www.example.org"
	second    = "cdn.example.org"
	third     = "static.example.net"
	proxyName = "proxy.example.org"
)

// peer is a server under test: the addresses of its ports. bare is the site over
// plain HTTP, as a CDN asks for it.
type peer struct{ label, secure, plain, bare, proxy string }

// caddy is the model. The others are relay/site, with connections as they were
// accepted and with first bytes peeked at. All of them carry VLESS for alice.
var (
	caddy  peer
	ours   []peer
	people *users
	roots  = x509.NewCertPool()
	folder string
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait for servers to say nothing.
	_ = flag.Set("test.parallel", "24")
	if testing.Short() {
		fmt.Println("skipped with -short: builds and runs Caddy")
		return
	}
	dir, err := os.MkdirTemp("", "caddy-")
	if err != nil {
		log.Fatal(err)
	}
	code, err := run(m, dir)
	if err != nil {
		log.Print(err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func run(m *testing.M, dir string) (int, error) {
	folder = filepath.Join(dir, "site")
	if err := makeFolder(folder); err != nil {
		return 0, err
	}
	for file, names := range map[string][]string{
		"": {name, second, proxyName, "*.wild.example.org"}, "2": {third, "a-longer-name." + third, "*.wild.example.org", "*.wild.example.net"},
	} {
		if err := makeCertificate(dir, file, names); err != nil {
			return 0, err
		}
	}
	up, err := listen()
	if err != nil {
		return 0, err
	}
	upstream := &http.Server{Handler: http.HandlerFunc(answer)}
	go func() { _ = upstream.Serve(up) }()
	defer upstream.Close()
	if people, err = newUsers(filepath.Join(dir, "state")); err != nil {
		return 0, err
	}
	defer people.close()
	stop, err := startCaddy(dir, up.Addr().String())
	if err != nil {
		return 0, err
	}
	defer stop()
	for _, peek := range []int{0, 1, 700} {
		p, stop, err := startOurs(dir, up.Addr().String(), peek)
		if err != nil {
			return 0, err
		}
		defer stop()
		ours = append(ours, p)
	}
	return m.Run(), nil
}

func listen() (*net.TCPListener, error) {
	return net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

const fileText = "0123456789abcdef\n"

// modified is the time of the site's files, which is not round.
var modified = time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.UTC)

// makeFolder makes the site's files.
func makeFolder(root string) error {
	files := map[string]string{
		"index.html": "<!doctype html><title>t</title><p>hello\n", "file.txt": fileText,
		"app.js": "let a = 1\n", "style.css": "p{}\n", "data.json": "{}", "img.png": "\x89PNG\r\n\x1a\n....",
		"noext": "plain words", "odd.zzzz": "x", "zero.txt": "", ".hidden": "seen", "file.txt.gz": "not gzip",
		"dir/index.html": "<p>dir\n", "txt/index.txt": "text index\n", "isdir/index.html/x": "x",
		"empty/.keep": "", "a b/ü.txt": "umlaut\n", "large.bin": string(bytes.Repeat([]byte("0123456789abcde\n"), 20000)),
	}
	for file, content := range files {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(file, modified, modified); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{"link.txt": "file.txt", "dir/up.txt": "../file.txt", "loop": "loop", "gone": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			return err
		}
	}
	epoch := time.Unix(1, 0)
	return os.Chtimes(filepath.Join(root, "odd.zzzz"), epoch, epoch)
}

// makeCertificate makes an RSA certificate: its signatures all have one length,
// and so have the records that they are in.
func makeCertificate(dir, suffix string, names []string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(int64(1 + len(suffix))), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(cert)
	if err := os.WriteFile(filepath.Join(dir, "cert"+suffix+".pem"), cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "key"+suffix+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}

// startCaddy builds Caddy, unless CADDY_BIN names one, and starts it.
func startCaddy(dir, upstream string) (stop func(), err error) {
	bin := os.Getenv("CADDY_BIN")
	if bin == "" {
		bin = filepath.Join(dir, "caddy")
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin, ".")
		build.Dir = filepath.Join("testdata", "caddy")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building Caddy: %w\n%s", err, out)
		}
	}
	var ports [3]int
	for i := range ports {
		l, err := listen()
		if err != nil {
			return nil, err
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
	}
	config := fmt.Sprintf(`{
	admin off
	persist_config off
	skip_install_trust
	storage file_system %[1]s/storage
	default_bind 127.0.0.1
	http_port %[2]d
	https_port %[3]d
	log {
		level ERROR
	}
	servers {
		protocols h1 h2
	}
}
www.example.org, cdn.example.org {
	tls %[1]s/cert.pem %[1]s/key.pem
	root * %[1]s/site
	file_server
}
static.example.net {
	tls %[1]s/cert2.pem %[1]s/key2.pem
	root * %[1]s/site
	file_server
}
http://www.example.org:%[5]d, http://cdn.example.org:%[5]d {
	root * %[1]s/site
	file_server
}
proxy.example.org {
	tls %[1]s/cert.pem %[1]s/key.pem
	reverse_proxy http://%[4]s
}
`, dir, ports[0], ports[1], upstream, ports[2])
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	secure := fmt.Sprintf("127.0.0.1:%d", ports[1])
	caddy = peer{"caddy", secure, fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[2]), secure}
	return launch(bin, file, dir)
}

func launch(bin, config, home string) (stop func(), err error) {
	cmd := exec.Command(bin, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", caddy.secure)
		if err == nil {
			_ = c.Close()
			return stop, nil
		}
		if time.Now().After(end) {
			stop()
			return nil, fmt.Errorf("caddy did not start: %w", err)
		}
	}
}

// startOurs starts sites whose connections are peeked at, n bytes of them.
func startOurs(dir, upstream string, n int) (peer, func(), error) {
	files := []site.CertificateFiles{
		{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")},
		{Cert: filepath.Join(dir, "cert2.pem"), Key: filepath.Join(dir, "key2.pem")},
	}
	claim, originClaim := people.claims()
	www, err := site.New(site.Options{
		Names: []string{name, second, third}, Folder: filepath.Join(dir, "site"), Files: files,
		Claims: claim, OriginClaims: originClaim,
	})
	if err != nil {
		return peer{}, nil, err
	}
	proxy, err := site.New(site.Options{
		Names: []string{proxyName}, Upstream: &url.URL{Scheme: "http", Host: upstream}, Files: files, Claims: claim,
	})
	if err != nil {
		return peer{}, nil, err
	}
	p := peer{label: fmt.Sprintf("site, peeked %d", n)}
	var listeners []net.Listener
	for _, door := range []struct {
		address *string
		serve   server
	}{{&p.secure, refusing(www)}, {&p.plain, serving(www.ServePlain)}, {&p.bare, serving(www.ServeOrigin)}, {&p.proxy, refusing(proxy)}} {
		l, err := listen()
		if err != nil {
			return peer{}, nil, err
		}
		*door.address = l.Addr().String()
		listeners = append(listeners, l)
		go accept(l, n, door.serve)
	}
	return p, func() {
		for _, l := range listeners {
			_ = l.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = www.Shutdown(ctx)
		_ = proxy.Shutdown(ctx)
	}, nil
}

// server is one of the ways in which a site serves a connection; ended says that the
// client has said all that it will.
type server func(c transport.Conn, ended bool, began time.Time)

func serving(serve func(transport.Conn, time.Time, transport.Guest)) server {
	return func(c transport.Conn, _ bool, began time.Time) { serve(c, began, guest{}) }
}

// refusing is TLS as a relay has it done: whom the site refuses at once it does.
func refusing(s *site.Site) server {
	return func(c transport.Conn, ended bool, began time.Time) {
		if p, ok := c.(*transport.Peeked); !ok || !s.Refuse(p, ended, began, guest{}) {
			s.Serve(c, began, guest{})
		}
	}
}

// guest is a connection whose end nobody waits for.
type guest struct{}

func (guest) Claimed(auth.User) {}
func (guest) Answered()         {}
func (guest) Borrow() bool      { return true }
func (guest) Return()           {}
func (guest) Closed(_, _ int64) {}

func accept(l *net.TCPListener, n int, serve server) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		go func() {
			began := time.Now()
			if n == 0 {
				serve(c, false, began)
				return
			}
			p := transport.NewPeeked(c)
			_ = c.SetReadDeadline(began.Add(100 * time.Millisecond))
			_, err := p.Peek(n)
			_ = c.SetReadDeadline(time.Time{})
			serve(p, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), began)
		}()
	}
}

func clientConfig(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: roots, ServerName: name, NextProtos: protocols}
}
