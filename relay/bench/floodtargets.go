package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// floodTarget is a server to flood.
type floodTarget struct {
	name  string
	cover string // of a relay: "site" or "forward"; empty: nginx alone
}

var floodTargets = []floodTarget{{"site", "site"}, {"forward", "forward"}, {"nginx", ""}}

func floodTargetNames() []string {
	var names []string
	for _, t := range floodTargets {
		names = append(names, t.name)
	}
	return names
}

// flooded is a running target.
type flooded struct {
	main *child // whose memory and time are measured
	more []*child
	port int
}

func (f *flooded) stop() {
	for _, c := range append([]*child{f.main}, f.more...) {
		if c != nil {
			c.stop()
		}
	}
}

// start starts a target and returns what a user's request to it is.
func (f *flooding) start(ctx context.Context, t floodTarget) (*flooded, func(context.Context) error, error) {
	s := new(flooded)
	err := f.startServers(ctx, t, s)
	var request func(context.Context) error
	if err == nil {
		request, err = f.request(ctx, t, s)
	}
	if err != nil {
		s.stop()
		return nil, nil, err
	}
	return s, request, nil
}

func (f *flooding) startServers(ctx context.Context, t floodTarget, s *flooded) error {
	if t.cover != "site" {
		c, port, err := f.startNginx(ctx)
		if err != nil {
			return err
		}
		s.main, s.port = c, port
	}
	if t.cover == "" {
		return nil
	}
	cover := fmt.Sprintf("name = %q\nforward = \"127.0.0.1:%d\"\n", siteName, s.port)
	folder, err := f.folder()
	if err != nil {
		return err
	}
	if t.cover == "site" {
		if err := os.WriteFile(filepath.Join(folder, "index.html"), []byte("hi\n"), 0o644); err != nil {
			return err
		}
		cover = fmt.Sprintf("name = %q\nsite = %q\ncertificate = \"self-signed\"\n", siteName, folder)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	relay, err := f.startRelay(port, cover)
	if err != nil {
		return err
	}
	if s.main != nil {
		s.more = append(s.more, s.main)
	}
	s.main, s.port = relay, port
	return nil
}

// startRelay starts a relay with all limits as they are by default.
func (f *flooding) startRelay(port int, cover string) (*child, error) {
	folder, err := f.folder()
	if err != nil {
		return nil, err
	}
	p := place{program: filepath.Join(f.work, "relay"), folder: folder, port: port, ports: f.at}
	config, err := p.write("relay.toml", fmt.Sprintf(`state = %q

[[listen]]
address  = "127.0.0.1:%d"
inbounds = ["mtproto"]

[egress]
allow = ["127.0.0.0/8"]

[limits]
drain_timeout = "1s"
%s`, filepath.Join(folder, "state"), port, mtprotoTables(p, cover)))
	if err != nil {
		return nil, err
	}
	if err := addTelegramUser(p, config); err != nil {
		return nil, err
	}
	return startChild([]string{p.program, "serve", "--config", config}, filepath.Join(folder, "output"), nil)
}

// startNginx starts nginx as a web server with TLS, and returns its port.
func (f *flooding) startNginx(ctx context.Context) (*child, int, error) {
	program, err := peer{program: "nginx", packages: "nginx"}.find("")
	if err != nil {
		return nil, 0, err
	}
	folder, err := f.folder()
	if err != nil {
		return nil, 0, err
	}
	if _, err := writeCertificate(folder); err != nil {
		return nil, 0, err
	}
	if err := os.WriteFile(filepath.Join(folder, "index.html"), []byte("hi\n"), 0o644); err != nil {
		return nil, 0, err
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	p := place{folder: folder}
	path, err := p.write("nginx.conf", fmt.Sprintf(`daemon off;
worker_processes 1;
worker_rlimit_nofile %[1]d;
user root;
pid %[2]s/nginx.pid;
error_log stderr crit;
events { worker_connections %[3]d; }
http {
    access_log off;
    server {
        listen 127.0.0.1:%[4]d ssl http2 backlog=4096;
        server_name %[5]s;
        ssl_certificate %[2]s/cert.pem;
        ssl_certificate_key %[2]s/key.pem;
        root %[2]s;
    }
}
`, f.limit, folder, f.limit*9/10, port, siteName))
	if err != nil {
		return nil, 0, err
	}
	if out, err := exec.Command(program, "-t", "-p", folder, "-e", "stderr", "-c", path).CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("nginx rejects the configuration: %s", out)
	}
	c, err := startChild([]string{program, "-p", folder, "-e", "stderr", "-c", path}, filepath.Join(folder, "output"), nil)
	if err != nil {
		return nil, 0, err
	}
	l := &load{protocol: protocolForward, proxy: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, sinks: make([]*net.TCPAddr, 1)}
	if err := c.waitAnswer(ctx, func(ctx context.Context) error { return page(ctx, l) }); err != nil {
		c.stop()
		return nil, 0, err
	}
	return c, port, nil
}

// writeCertificate leaves a certificate and its key in folder, and returns the
// first.
func writeCertificate(folder string) ([]byte, error) {
	c, err := selfSigned()
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	return c.Certificate[0], errors.Join(
		os.WriteFile(filepath.Join(folder, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o644),
		os.WriteFile(filepath.Join(folder, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	)
}

// request returns what a user does: through a relay a handshake and a message to
// the data centre and back, at nginx a handshake and a page.
func (f *flooding) request(ctx context.Context, t floodTarget, s *flooded) (func(context.Context) error, error) {
	l := &load{protocol: protocolMTProto, proxy: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.port}}
	l.sinks = []*net.TCPAddr{{IP: sinkIP(0), Port: f.at.sink}}
	request := func(ctx context.Context) error { return l.connection(ctx, shortMessage) }
	if t.cover == "" {
		l.protocol = protocolForward
		request = func(ctx context.Context) error { return page(ctx, l) }
	} else {
		var err error
		if l.secret, err = readSecret(filepath.Dir(s.main.output)); err != nil {
			return nil, err
		}
	}
	return request, s.main.waitAnswer(ctx, request)
}

// page gets the site's page.
func page(ctx context.Context, l *load) error {
	c, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	t := tls.Client(c, &tls.Config{ServerName: siteName, InsecureSkipVerify: true}) // it is its own
	if _, err := io.WriteString(t, "GET / HTTP/1.1\r\nHost: "+siteName+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(t)
	if len(b) > 12 && string(b[9:12]) == "200" {
		return nil
	}
	return errors.Join(fmt.Errorf("got %.20q, want a page", b), err)
}
