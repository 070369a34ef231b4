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

// How nginx gets the page that it is asked for.
type pageFrom int

const (
	pageOwn    pageFrom = iota // it is its own
	pageProxy                  // from another process, which it asks
	pageStream                 // from another process, to which it passes on what comes, as a relay does for a cover
)

// startNginx starts nginx as a web server with TLS, and one behind it, if that has the page.
func (f *flooding) startNginx(ctx context.Context, from pageFrom) (front, behind *child, port int, err error) {
	what := webServer(true, "")
	if from != pageOwn {
		var to int
		if behind, to, err = f.startServer(ctx, from == pageStream, webServer(from == pageStream, "")); err != nil {
			return nil, nil, 0, err
		}
		if what = webServer(true, fmt.Sprintf("location / { proxy_pass http://127.0.0.1:%d; }", to)); from == pageStream {
			what = func(_ string, port int) string {
				return fmt.Sprintf("stream { server { listen 127.0.0.1:%d backlog=4096; proxy_pass 127.0.0.1:%d; } }", port, to)
			}
		}
	}
	if front, port, err = f.startServer(ctx, true, what); err != nil && behind != nil {
		behind.stop()
	}
	return front, behind, port, err
}

// webServer is the part of a configuration with one page, or with what else is said of it.
func webServer(secure bool, what string) func(folder string, port int) string {
	return func(folder string, port int) string {
		kind := ""
		if secure {
			kind = fmt.Sprintf(" ssl http2 backlog=4096; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem", folder)
		}
		return fmt.Sprintf(`http {
    access_log off;
    server {
        listen 127.0.0.1:%d%s;
        server_name %s;
        root %s;
        %s
    }
}`, port, kind, siteName, folder, what)
	}
}

// startServer starts an nginx that does what is said, and waits until it has a page,
// over TLS or not.
func (f *flooding) startServer(ctx context.Context, secure bool, what func(folder string, port int) string) (*child, int, error) {
	program, err := peer{program: "nginx", packages: "nginx"}.find("")
	if err != nil {
		return nil, 0, err
	}
	load, err := loadStream(program)
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
	path, err := place{folder: folder}.write("nginx.conf", fmt.Sprintf(`%[1]s
daemon off;
worker_processes 1;
worker_rlimit_nofile %[2]d;
user root;
pid %[3]s/nginx.pid;
error_log stderr crit;
events { worker_connections %[4]d; }
%[5]s
`, load, f.limit, folder, f.limit*9/10, what(folder, port)))
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
	if err := c.waitAnswer(ctx, warmed(pageRequest(port, secure))); err != nil {
		c.stop()
		return nil, 0, err
	}
	return c, port, nil
}

// pageRequest gets the page of a web site.
func pageRequest(port int, secure bool) floodRequest {
	l := &load{protocol: protocolForward, proxy: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, sinks: make([]*net.TCPAddr, 1)}
	return func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		c, err := l.dial(ctx)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if !secure {
			return time.Since(start), page(c)
		}
		t := tls.Client(c, &tls.Config{ServerName: siteName, InsecureSkipVerify: true}) // it is its own
		if err := t.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		return time.Since(start), page(t)
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
