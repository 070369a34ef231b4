package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// cdnName is the server name that clients of a CDN show; the Host of their
// requests, which only the CDN sees, is another.
const cdnName = "cdn.example.net"

// cdnFront is one way to set up nginx in front of an origin that speaks plain
// HTTP/1.1, as CDNs do.
type cdnFront struct {
	name       string
	connection string            // to the origin, of requests that do not upgrade: kept, or closed by each
	lines      string            // more of the location
	server     string            // of the server: its limits
	lacks      map[string]string // ways that cannot work with it, whatever the origin, and why
	http1      bool              // it speaks nothing newer
}

// unbuffered passes on what comes, both ways.
const unbuffered = "proxy_buffering off; proxy_request_buffering off;"

var cdnFronts = []cdnFront{
	{"buffered", "kept", "", patient, map[string]string{
		"xray stream-up":  "nginx keeps an upload until its end",
		"xray stream-one": "nginx keeps an upload until its end",
	}, false},
	{"unbuffered", "kept", unbuffered, patient, nil, false},
	{"unbuffered, closing", "closed", unbuffered, patient, nil, false},
}

// patient has no other limits than nginx's own, which keep most of what clients do.
const patient = "http2_max_concurrent_streams 256;"

// originLacks are what Xray's server cannot do behind some of them.
var originLacks = map[string]string{
	"unbuffered/xray stream-up":  fullDuplex,
	"unbuffered/xray stream-one": fullDuplex,
}

// fullDuplex is why: on a connection that is to be kept, Go's server reads what is
// left of a request before it answers, unless it is told that the two go on at
// the same time (http.ResponseController, EnableFullDuplex).
const fullDuplex = "the server waits for the upload's end before it answers"

// cdnScenarios are those that a way through a front has to pass.
var cdnScenarios = []vlessScenario{
	{"download", download}, {"upload", upload}, {"together", together}, {"https", secureInside}, {"origin ends", originEnds}, {"late answer", lateAnswer},
}

// lackLimit is how long a round trip is waited for that is known not to come. The
// client learns of it after a minute, by nginx's time limits.
const lackLimit = 2 * time.Second

// TestVLESSFront has nginx between clients and servers: the name in the clear is
// nginx's, and the server gets requests without TLS.
func TestVLESSFront(t *testing.T) {
	integration(t)
	for _, server := range []struct {
		name  string
		start func(*testing.T) *vlessServer
	}{
		{"xray", func(t *testing.T) *vlessServer {
			s := xrayServer(t, false)
			s.lacks = originLacks
			return s
		}},
		{"relay", func(t *testing.T) *vlessServer { return webRelay(t, true) }},
	} {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t)
			s.down, s.up = 32<<20, 16<<20 // nginx copies it to files and back
			for _, f := range cdnFronts {
				t.Run(f.name, func(t *testing.T) { s.behind(t, f) })
			}
		})
	}
}

// behind runs the ways through one front.
func (s *vlessServer) behind(t *testing.T, f cdnFront) {
	fronted := *s
	fronted.links = map[string]shareLink{}
	for transport, l := range s.links {
		fronted.links[transport] = f.start(t, l)
	}
	for _, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			why := f.lacks[w.name]
			if why == "" {
				why = s.lacks[f.name+"/"+w.name]
			}
			u := &vlessUse{server: &fronted, way: w, via: w.start(t, fronted.links[w.link].with(w.changes), w)}
			if why != "" {
				c := dialVia(t, u.via, listen(t, echo))
				if err := roundTrip(c, "hello", lackLimit); err == nil {
					t.Errorf("got a round trip, which %s lacks (%s): take it off the list", s.name, why)
				}
				t.Logf("known: %s", why)
				return
			}
			for _, c := range cdnScenarios {
				began := time.Now()
				err := w.try(t, func() error { return c.run(t, u) })
				if _, known := vlessLacks[w.name+"/"+c.name]; err != nil && !known {
					t.Errorf("%s: %v", c.name, err)
				}
				t.Logf("%s: %v", c.name, time.Since(began).Round(time.Millisecond))
			}
		})
	}
}

// start runs nginx in front of the server that l leads to, and returns the link
// that leads through it.
func (f cdnFront) start(t *testing.T, l shareLink) shareLink {
	t.Helper()
	dir, addr := t.TempDir(), freePort(t)
	pair := filepath.Join(dir, "pair")
	pairFor(t, pair, cdnName, 0)
	// The server that nginx drops root for has to read what it has kept.
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
	}
	conf := filepath.Join(dir, "nginx.conf")
	versions := " http2"
	if f.http1 {
		versions = ""
	}
	text := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr; worker_processes 1;
events { worker_connections 2048; }
http {
	access_log off;
	client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	map $http_upgrade $kept { default upgrade; "" ""; }
	map $http_upgrade $closed { default upgrade; "" close; }
	upstream origin { server %[2]s; keepalive 16; }
	server {
		listen %[3]s ssl%[9]s; server_name %[4]s;
		ssl_certificate %[5]s.pem; ssl_certificate_key %[5]s.key;
		%[8]s client_max_body_size 0;
		location / {
			proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Host $http_host;
			proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $%[6]s; %[7]s
		}
	}
}
`, dir, net.JoinHostPort(l.host, l.port), addr, cdnName, pair, f.connection, f.lines, f.server, versions)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startPeer(t, nil, []string{addr}, "nginx", "-c", conf)
	l.host, l.port, _ = net.SplitHostPort(addr)
	alpn := "h2"
	if l.query["type"] == "ws" {
		alpn = "http/1.1"
	}
	return l.with(map[string]string{"security": "tls", "sni": cdnName, "host": coverName, "alpn": alpn, "fp": "chrome", "pcs": pinOf(t, pair+".pem")})
}
