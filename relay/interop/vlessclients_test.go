package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Peers of modules of their own, built when first asked for. XRAY_BIN and
// SINGBOX_BIN name programs that are built already.
var (
	xrayProgram = sync.OnceValues(func() (string, error) {
		return builtPeer("XRAY_BIN", "xray", "github.com/xtls/xray-core/main")
	})
	singProgram = sync.OnceValues(func() (string, error) {
		return builtPeer("SINGBOX_BIN", "singbox", "github.com/sagernet/sing-box/cmd/sing-box", "-tags", "with_utls")
	})
)

func builtPeer(variable, folder, what string, flags ...string) (string, error) {
	if named := os.Getenv(variable); named != "" {
		return filepath.Abs(named)
	}
	bin := filepath.Join(programs, folder)
	build := exec.Command("go", append(append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin}, flags...), what)...)
	build.Dir = folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return bin, nil
}

const (
	peerLimit = 30 * time.Second // until a peer listens
	peerEnds  = 3 * time.Second  // until it has ended
)

// startPeer runs a program until the test ends, and waits until it listens at all of addrs.
func startPeer(t *testing.T, env, addrs []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(cleanEnv(t.TempDir()), env...)
	said := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = said, said
	if cmd.Err != nil {
		cmd.Path, cmd.Err = filepath.Join("/usr/sbin", name), nil // not in the path of everybody
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", filepath.Base(name), err)
	}
	exited := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // nginx ends its workers then
		select {
		case <-exited:
		case <-time.After(peerEnds):
			_ = cmd.Process.Kill() // it holds nothing but connections of this test
			<-exited
		}
		if t.Failed() {
			text := said.String()
			t.Logf("%s said:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	limit := time.Now().Add(peerLimit)
	for len(addrs) > 0 {
		if c, err := net.Dial("tcp", addrs[0]); err == nil {
			c.Close()
			addrs = addrs[1:]
			continue
		}
		select {
		case <-exited:
			t.Fatalf("%s: got its end, want it to listen at %s\n%s", filepath.Base(name), addrs[0], said)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: got no listener at %s in %v, want one", filepath.Base(name), addrs[0], peerLimit)
		}
	}
}

// configFile writes v as JSON for a peer.
func configFile(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// vlessWay is one client with its settings.
type vlessWay struct {
	name    string
	link    string            // which one of a user's: xhttp or ws
	changes map[string]string // to the link
	start   func(t *testing.T, l shareLink, w vlessWay) *url.URL
	mux     int    // streams in one of Mux.Cool; 0: none
	packets string // "xudp", or "" for UDP as VLESS has it
	sample  bool   // also run against the stand-in, with or without the tag soak
	brief   bool   // long transfers would show what they show for another way
}

func xrayClient(t *testing.T, l shareLink, w vlessWay) *url.URL {
	t.Helper()
	bin, err := xrayProgram()
	if err != nil {
		t.Fatal(err)
	}
	out, err := l.xrayOutbound(w.mux)
	if err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	_, port, _ := net.SplitHostPort(addr)
	file := configFile(t, object{
		"log": object{"loglevel": "info"},
		"inbounds": []object{{
			"listen": "127.0.0.1", "port": json.Number(port), "protocol": "socks", "settings": object{"udp": true, "ip": "127.0.0.1"},
		}},
		"outbounds": []object{out},
	})
	var env []string
	if w.packets == "" {
		env = []string{"XRAY_CONE_DISABLED=true"}
	}
	startPeer(t, env, []string{addr}, bin, "run", "-c", file)
	return &url.URL{Scheme: "socks5", Host: addr}
}

func singClient(t *testing.T, l shareLink, w vlessWay) *url.URL {
	t.Helper()
	bin, err := singProgram()
	if err != nil {
		t.Fatal(err)
	}
	out, err := l.singOutbound(w.packets)
	if err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	_, port, _ := net.SplitHostPort(addr)
	file := configFile(t, object{
		"log":       object{"level": "info"},
		"inbounds":  []object{{"type": "socks", "listen": "127.0.0.1", "listen_port": json.Number(port)}},
		"outbounds": []any{out},
	})
	startPeer(t, nil, []string{addr}, bin, "run", "-c", file)
	return &url.URL{Scheme: "socks5", Host: addr}
}

// vlessServer is what the clients talk to.
type vlessServer struct {
	name   string
	links  map[string]shareLink // of one user, by transport
	down   int64                // bytes of a long download
	up     int64
	silent time.Duration
	sample bool              // not all ways
	lacks  map[string]string // what it cannot do by design, and why: see vlessScenario
	revoke func(*testing.T)  // the user; nil: it cannot
}

// stoodIn is Xray as its own server, which proves the tests themselves.
func stoodIn(t *testing.T) *vlessServer {
	t.Helper()
	s := xrayServer(t, true)
	s.lacks = map[string]string{
		"xray xhttp mux/streams": "refuses TCP in Mux.Cool over XHTTP",
		"revoked":                "has no way to cut a user without an API",
	}
	// Towards targets Xray keeps the end of an upload to itself; a target that takes
	// nothing holds up what shares its connection.
	for _, way := range []string{"relay stream-one", "relay stream-up", "relay ws", "relay ws early"} {
		s.lacks[way+"/fin"] = "has no end of one direction"
	}
	for _, way := range []string{"relay stream-one", "relay stream-up"} {
		s.lacks[way+"/beside stalled"] = "has one window for what shares a connection"
	}
	return s
}

// vlessID is the user's; Xray has no other one.
const vlessID = "6f8c2f0e-21cf-4a68-9d0b-5b0a2d0e7c11"

// xrayServer has a listener for each transport, as Xray wants. Without TLS it is
// an origin behind somebody else's.
func xrayServer(t *testing.T, overTLS bool) *vlessServer {
	t.Helper()
	bin, err := xrayProgram()
	if err != nil {
		t.Fatal(err)
	}
	s := &vlessServer{name: "xray", links: map[string]shareLink{}, down: stoodInDown, up: stoodInUp, silent: stoodInSilent, sample: stoodInSample}
	pair := filepath.Join(t.TempDir(), "pair")
	pairFor(t, pair, coverName, 0)
	var inbounds []object
	var addrs []string
	for _, transport := range []string{"xhttp", "ws"} {
		addr := freePort(t)
		host, port, _ := net.SplitHostPort(addr)
		l := shareLink{vlessID, host, port, map[string]string{"type": transport, "path": "/in-" + transport, "host": coverName}}
		stream := object{"network": transport, transport + "Settings": object{"path": l.query["path"]}}
		if overTLS {
			l = l.with(map[string]string{"security": "tls", "sni": coverName, "fp": "chrome", "pcs": pinOf(t, pair+".pem"), "alpn": "h2"})
			layer := object{"certificates": []object{{"certificateFile": pair + ".pem", "keyFile": pair + ".key"}}, "alpn": []string{"h2", "http/1.1"}}
			if transport == "ws" {
				l.query["alpn"], layer["alpn"] = "http/1.1", []string{"http/1.1"}
			}
			stream["security"], stream["tlsSettings"] = "tls", layer
		}
		s.links[transport] = l
		inbounds = append(inbounds, object{
			"listen": host, "port": json.Number(port), "protocol": "vless", "streamSettings": stream,
			"settings": object{"decryption": "none", "clients": []object{{"id": vlessID}}},
		})
		addrs = append(addrs, addr)
	}
	file := configFile(t, object{"log": object{"loglevel": "info"}, "inbounds": inbounds, "outbounds": []object{{"protocol": "freedom"}}})
	startPeer(t, nil, addrs, bin, "run", "-c", file)
	return s
}

// singServer is sing-box, with a listener that takes early payload and one that does
// not know it.
func singServer(t *testing.T) *vlessServer {
	t.Helper()
	bin, err := singProgram()
	if err != nil {
		t.Fatal(err)
	}
	s := &vlessServer{name: "sing-box", links: map[string]shareLink{}, silent: stoodInSilent, lacks: map[string]string{}}
	for _, way := range []string{"relay ws", "relay ws early"} {
		s.lacks[way+"/fin"] = "has no end of one direction"
	}
	pair := filepath.Join(t.TempDir(), "pair")
	pairFor(t, pair, coverName, 0)
	var inbounds []object
	var addrs []string
	for kind, carrier := range map[string]object{
		"ws":       {"type": "ws", "path": "/in"},
		"ws early": {"type": "ws", "path": "/in", "max_early_data": 2048, "early_data_header_name": "Sec-WebSocket-Protocol"},
	} {
		addr := freePort(t)
		addrs = append(addrs, addr)
		host, port, _ := net.SplitHostPort(addr)
		s.links[kind] = shareLink{vlessID, host, port, map[string]string{
			"type": "ws", "path": "/in", "host": coverName, "security": "tls", "sni": coverName, "fp": "chrome", "alpn": "http/1.1", "pcs": pinOf(t, pair+".pem"),
		}}
		inbounds = append(inbounds, object{
			"type": "vless", "listen": host, "listen_port": json.Number(port), "users": []object{{"uuid": vlessID}}, "transport": carrier,
			"tls": object{"enabled": true, "server_name": coverName, "alpn": []string{"http/1.1"}, "certificate_path": pair + ".pem", "key_path": pair + ".key"},
		})
	}
	file := configFile(t, object{"log": object{"level": "info"}, "inbounds": inbounds, "outbounds": []object{{"type": "direct"}}})
	startPeer(t, nil, addrs, bin, "run", "-c", file)
	return s
}
