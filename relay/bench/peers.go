package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// peer is a proxy to measure; its name is what -only takes.
type peer struct {
	name     string
	protocol string
	program  string // found in the usual folders; empty: a file in the work folder
	packages string // Debian packages to install if the program is missing
	// start writes the configuration, if there is one, and returns the command.
	start func(p place) (arguments []string, err error)
	// version returns the command that prints the version; nil: not asked for.
	version []string
}

// place is where a peer runs.
type place struct {
	program     string // its absolute path
	folder      string // its own, for configuration and output
	port        int    // to listen on at 127.0.0.1
	ports              // of the sink
	descriptors int    // the limit of open files
	root        bool   // it runs as root
	// Of an entry: the exit's port and the user's link, and the mode to speak in.
	exit       int
	link, mode string
}

// modules are what the programs that this one builds are made of.
var modules = map[string]string{"armon": "github.com/armon/go-socks5", "mtg": mtgModule, "xray": xrayModule}

// peers are measured in this order in every round, those of VLESS by the command
// web, and its clients by the command upstream.
var peers = []peer{
	{name: "direct", protocol: protocolDirect},
	{name: "relay-socks5", protocol: protocolSOCKS5, start: relaySOCKS5, version: []string{"version"}},
	{name: "microsocks", protocol: protocolSOCKS5, program: "microsocks", packages: "microsocks", start: microsocks},
	{name: "dante", protocol: protocolSOCKS5, program: "danted", packages: "dante-server", start: dante, version: []string{"-v"}},
	{name: "armon", protocol: protocolSOCKS5, start: armon},
	{name: "relay-forward", protocol: protocolForward, start: relayForward, version: []string{"version"}},
	{name: "haproxy", protocol: protocolForward, program: "haproxy", packages: "haproxy", start: haproxy, version: []string{"-v"}},
	{name: "haproxy-splice", protocol: protocolForward, program: "haproxy", packages: "haproxy", start: haproxySplice, version: []string{"-v"}},
	{name: "nginx", protocol: protocolForward, program: "nginx", packages: "nginx libnginx-mod-stream", start: nginx, version: []string{"-v"}},
	{name: "relay-mtproto", protocol: protocolMTProto, start: relayMTProto, version: []string{"version"}},
	{name: "mtg", protocol: protocolMTProto, start: mtg},
	{name: "relay-packet-up", protocol: protocolPacketUp, start: relayWeb("vless-xhttp"), version: []string{"version"}},
	{name: "xray-packet-up", protocol: protocolPacketUp, start: xray("xhttp")},
	{name: "relay-stream-up", protocol: protocolStreamUp, start: relayWeb("vless-xhttp"), version: []string{"version"}},
	{name: "xray-stream-up", protocol: protocolStreamUp, start: xray("xhttp")},
	{name: "relay-stream-one", protocol: protocolStreamOne, start: relayWeb("vless-xhttp"), version: []string{"version"}},
	{name: "xray-stream-one", protocol: protocolStreamOne, start: xray("xhttp")},
	{name: "relay-websocket", protocol: protocolWebSocket, start: relayWeb("vless-ws"), version: []string{"version"}},
	{name: "relay-origin", protocol: protocolWebSocket, start: relayOrigin, version: []string{"version"}},
	{name: "xray-websocket", protocol: protocolWebSocket, start: xray("ws")},
	{name: "relay-entry-stream-one", protocol: entryStreamOne, start: relayEntry, version: []string{"version"}},
	{name: "xray-entry-stream-one", protocol: entryStreamOne, start: xrayEntry},
	{name: "relay-entry-packet-up", protocol: entryPacketUp, start: relayEntry, version: []string{"version"}},
	{name: "xray-entry-packet-up", protocol: entryPacketUp, start: xrayEntry},
	{name: "relay-entry-websocket", protocol: entryWebSocket, start: relayEntry, version: []string{"version"}},
	{name: "xray-entry-websocket", protocol: entryWebSocket, start: xrayEntry},
}

// command is the one that measures the peer: web, upstream, or the one without a name.
func (p peer) command() string {
	switch {
	case isVLESS(p.protocol):
		return webCommand
	case isEntry(p.protocol):
		return upstreamCommand
	}
	return ""
}

// isRelay says whether the peer is what the others are compared with.
func (p peer) isRelay() bool { return strings.HasPrefix(p.name, "relay-") }

// base is the name of a program that this one builds or copies.
func (p peer) base() string {
	base, _, _ := strings.Cut(p.name, "-")
	return base
}

// find returns the path of the peer's program. What this program made itself is
// in the work folder.
func (p peer) find(work string) (string, error) {
	if p.program == "" {
		path := filepath.Join(work, p.base())
		if _, err := os.Stat(path); err != nil {
			return "", err
		}
		return path, nil
	}
	// Debian keeps servers where a user's PATH does not look.
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		if path, err := exec.LookPath(filepath.Join(folder, p.program)); err == nil && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: package %s", p.program, p.packages)
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+([.+~-]\w+)*`)

// describe returns the peer's name and version for the report.
func (p peer) describe(program string) string {
	switch {
	case p.protocol == protocolDirect:
		return p.name + ": no proxy"
	case modules[p.base()] != "":
		if info, err := buildinfo.ReadFile(program); err == nil {
			for _, m := range append(info.Deps, &info.Main) {
				if m.Path == modules[p.base()] {
					return p.name + ": " + m.Path + " " + m.Version
				}
			}
		}
		return p.name + ": " + modules[p.base()]
	case p.version == nil: // it cannot say; the package manager may know
		b, _ := exec.Command("dpkg-query", "--show", "--showformat=${Version}", p.packages).Output()
		return p.name + ": " + string(b)
	}
	b, _ := exec.Command(program, p.version...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if p.isRelay() {
		return p.name + ": " + line
	}
	return p.name + ": " + versionNumber.FindString(line)
}

// write puts text into a file of the peer's folder and returns its path.
func (p place) write(name, text string) (string, error) {
	path := filepath.Join(p.folder, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

func relaySOCKS5(p place) ([]string, error) { return relay(p, "socks5", "") }

func relayForward(p place) ([]string, error) {
	return relay(p, "forward", fmt.Sprintf("\n[forward]\ntarget = \"127.0.0.1:%d\"\n", p.sink))
}

// relay has its default settings, but for limits that the load would meet and
// for targets on loopback, which are refused by default.
func relay(p place, inbound, more string) ([]string, error) {
	return relayConfigured(p, fmt.Sprintf("inbounds  = [%q]\nanonymous = true", inbound), more)
}

// relayConfigured has more in the listener's table, and more tables.
func relayConfigured(p place, listen, more string) ([]string, error) {
	path, err := p.write("relay.toml", fmt.Sprintf(`state = %q

[[listen]]
address   = "127.0.0.1:%d"
%s

[egress]
allow = ["127.0.0.0/8"]

[limits]
per_source    = 100000
drain_timeout = "1s"
%s`, filepath.Join(p.folder, "state"), p.port, listen, more))
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command(p.program, "check", path).CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(string(out), "\n")
		return nil, unfit("this relay rejects the configuration: " + first)
	}
	return []string{p.program, "serve", "--config", path}, nil
}

// unfit is why a peer cannot be measured here, which is no fault.
type unfit string

func (u unfit) Error() string { return string(u) }

func microsocks(p place) ([]string, error) {
	return []string{p.program, "-i", "127.0.0.1", "-p", fmt.Sprint(p.port)}, nil
}

func armon(p place) ([]string, error) {
	return []string{p.program, fmt.Sprintf("127.0.0.1:%d", p.port)}, nil
}

func dante(p place) ([]string, error) {
	users := ""
	if p.root { // it gives up root's rights by default, which the others keep
		users = "user.privileged: root\nuser.unprivileged: root\n"
	}
	path, err := p.write("danted.conf", fmt.Sprintf(`logoutput: /dev/null
internal: 127.0.0.1 port = %d
external: 127.0.0.1
clientmethod: none
socksmethod: none
%sclient pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }
socks pass { from: 127.0.0.0/8 to: 127.0.0.0/8 command: connect }
`, p.port, users))
	return []string{p.program, "-f", path, "-p", filepath.Join(p.folder, "danted.pid")}, err
}

func haproxy(p place) ([]string, error) { return haproxyWith(p, "") }

func haproxySplice(p place) ([]string, error) {
	return haproxyWith(p, "    option splice-request\n    option splice-response\n")
}

func haproxyWith(p place, options string) ([]string, error) {
	// A connection takes two descriptors, and a quarter of them two more for a
	// pipe; it does not start if that could exceed the limit.
	path, err := p.write("haproxy.cfg", fmt.Sprintf(`global
    nbthread 1
    maxconn %d
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
%slisten bench
    bind 127.0.0.1:%d backlog 4096
    server sink 127.0.0.1:%d
`, p.descriptors*3/10, options, p.port, p.sink))
	return []string{p.program, "-db", "-f", path}, err
}

// streamModule is where Debian's package puts it.
const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// loadStream is the line of a configuration that loads nginx's stream module, if one
// is needed.
func loadStream(program string) (string, error) {
	if out, _ := exec.Command(program, "-V").CombinedOutput(); strings.Contains(string(out), "--with-stream ") {
		return "", nil
	}
	if _, err := os.Stat(streamModule); err != nil {
		return "", unfit("nginx has no stream module: package libnginx-mod-stream")
	}
	return "load_module " + streamModule + ";\n", nil
}

func nginx(p place) ([]string, error) {
	module, err := loadStream(p.program)
	if err != nil {
		return nil, err
	}
	user := ""
	if p.root { // its worker gives up root's rights by default, which the others keep
		user = "user root;\n"
	}
	path, err := p.write("nginx.conf", fmt.Sprintf(`%s%sdaemon off;
worker_processes 1;
pid %s;
error_log stderr error;
events { worker_connections %d; }
stream {
    server {
        listen 127.0.0.1:%d backlog=4096;
        proxy_pass 127.0.0.1:%d;
    }
}
`, module, user, filepath.Join(p.folder, "nginx.pid"), p.descriptors*9/10, p.port, p.sink))
	return []string{p.program, "-p", p.folder, "-e", "stderr", "-c", path}, err
}
