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
	"time"
)

// startNginx starts nginx as a web server with TLS, or to pass on what is inside of
// TLS, and returns its port.
func (f *flooding) startNginx(ctx context.Context, pass bool) (*child, int, error) {
	program, err := peer{program: "nginx", packages: "nginx libnginx-mod-stream"}.find("")
	if err != nil {
		return nil, 0, err
	}
	module := ""
	if pass {
		if module, err = loadStream(program); err != nil {
			return nil, 0, err
		}
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
	kind, http2, what := "http", " http2", "server_name "+siteName+"; root "+folder+"; access_log off;"
	if pass {
		kind, http2, what = "stream", "", fmt.Sprintf("proxy_pass %s:%d;", sinkIP(0), f.at.sink)
	}
	path, err := p.write("nginx.conf", fmt.Sprintf(`%[1]sdaemon off;
worker_processes 1;
worker_rlimit_nofile %[2]d;
user root;
pid %[3]s/nginx.pid;
error_log stderr crit;
events { worker_connections %[4]d; }
%[5]s {
    server {
        listen 127.0.0.1:%[6]d ssl%[7]s backlog=4096;
        ssl_certificate %[3]s/cert.pem;
        ssl_certificate_key %[3]s/key.pem;
        %[8]s
    }
}
`, module, f.limit, folder, f.limit*9/10, kind, port, http2, what))
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
	if err := c.waitAnswer(ctx, warmed(f.nginxRequest(pass, port))); err != nil {
		c.stop()
		return nil, 0, err
	}
	return c, port, nil
}

// nginxRequest gets the site's page, or sends a message to the sink and back.
func (f *flooding) nginxRequest(pass bool, port int) floodRequest {
	l := &load{protocol: protocolForward, proxy: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, sinks: make([]*net.TCPAddr, 1)}
	what := page
	if pass {
		what = func(c net.Conn) error {
			_, err := begin(c, wantExchange, shortMessage)
			return err
		}
	}
	return func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		c, err := l.dial(ctx)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		t := tls.Client(c, &tls.Config{ServerName: siteName, InsecureSkipVerify: true}) // it is its own
		if err := t.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		return time.Since(start), what(t)
	}
}

// page gets the site's page.
func page(c net.Conn) error {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+siteName+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if len(b) > 12 && string(b[9:12]) == "200" {
		return nil
	}
	return errors.Join(fmt.Errorf("got %.20q, want a page", b), err)
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
