package interop

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The network of TestEntryLeaks: the exit and the target have public addresses and
// names, so that no rule about private ones is in the way of a leak.
const (
	exitName, exitAddr     = "exit.example.test", "11.22.33.44"
	targetName, targetAddr = "target.example.test", "11.22.33.55"

	insideVariable = "RELAY_INTEROP_INSIDE" // set in the process inside
)

// TestEntryLeaks runs in a network of its own, whose name server is the test's and whose
// way out is a device that the test reads.
func TestEntryLeaks(t *testing.T) {
	integration(t)
	if os.Getenv(insideVariable) != "" {
		leaksInside(t)
		return
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestEntryLeaks$", "-test.v", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), insideVariable+"=1", "RELAY_BIN="+relayBin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestEntryLeaks") {
		t.Errorf("got %v, want it to pass:\n%s", err, out)
	}
}

func leaksInside(t *testing.T) {
	left := leavingPackets(t)
	target := startOrigin(t, false)
	var visits atomic.Int32
	port := forwardAt(t, targetAddr, target.addr, &visits)
	e := leakExit(t)
	closed := freePort(t) // nobody listens there on the exit's address either
	_, closedPort, _ := net.SplitHostPort(closed)
	for _, c := range []struct {
		name  string
		at    string   // of the link
		serve bool     // an entry instead of relay connect
		works bool     // what is asked for arrives
		asked []string // names of which the entry's name server hears
	}{
		{"by address", net.JoinHostPort(exitAddr, "443"), false, true, nil},
		{"by name", net.JoinHostPort(exitName, "443"), false, true, []string{exitName}},
		{"serve by address", net.JoinHostPort(exitAddr, "443"), true, true, nil},
		{"serve by name", net.JoinHostPort(exitName, "443"), true, true, []string{exitName}},
		{"dead", net.JoinHostPort(exitAddr, closedPort), false, false, nil},
		{"dead by name", net.JoinHostPort(exitName, closedPort), false, false, []string{exitName}},
		{"serve dead", net.JoinHostPort(exitAddr, closedPort), true, false, nil},
		{"unknown name", net.JoinHostPort(unknownName, "443"), false, false, []string{unknownName}},
	} {
		for _, kind := range []string{"xhttp", "ws"} {
			t.Run(c.name+" "+kind, func(t *testing.T) {
				dns := startDNSAt(t, "127.0.0.1:53", map[string]string{exitName: exitAddr, targetName: targetAddr})
				run := connect
				if c.serve {
					run = func(t *testing.T, links ...string) *relay { return entry(t, upstream(links[0]), "") }
				}
				r, before := run(t, e.link(t, kind, c.at)), visits.Load()
				for _, m := range []struct {
					mode curlMode
					host string
				}{{curlSOCKS5h, targetName}, {curlConnect, targetName}, {curlAbsolute, targetName}, {curlSOCKS5, targetAddr}, {curlConnect, targetAddr}} {
					res := curl(t, nil, append(m.mode.via(r.proxy(m.mode.protocol)), "-f", "http://"+net.JoinHostPort(m.host, port)+"/hello")...)
					if c.works {
						res.check(t, greeting)
					} else if res.ExitCode == 0 {
						t.Errorf("%s to %s: got %q, want an error", m.mode.name, m.host, res.Body)
					}
				}
				if n := visits.Load(); !c.works && n != before {
					t.Errorf("connections at the target: got %d, want none", n-before)
				}
				if got := dns.names(); !slices.Equal(got, c.asked) {
					t.Errorf("names asked for by the entry: got %q, want %q", got, c.asked)
				}
			})
		}
	}
	if got := left(); len(got) > 0 {
		t.Errorf("packets that left the machine: got %q, want none", got)
	}
	provesLeaks(t, left, port)
}

// provesLeaks leaks, to show that it would have been seen.
func provesLeaks(t *testing.T, left func() []string, port string) {
	dns := startDNSAt(t, "127.0.0.1:53", map[string]string{targetName: targetAddr})
	curl(t, nil, "-q", "-sS", "--noproxy", "*", "http://"+net.JoinHostPort(targetName, port)+"/hello").check(t, greeting)
	if got := dns.names(); !slices.Equal(got, []string{targetName}) {
		t.Errorf("a program without a proxy: got queries for %q, want %s", got, targetName)
	}
	c, err := net.Dial("udp4", "192.0.2.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("leak"))
	if settle(t, 0, 5*time.Second, func() int { return 1 - len(left()) }); !slices.Equal(left(), []string{"192.0.2.1"}) {
		t.Errorf("a packet sent out: got %q, want it to be seen", left())
	}
}

// leakExit is an exit at exitAddr that resolves targetName.
func leakExit(t *testing.T) *exit {
	t.Helper()
	e := &exit{file: filepath.Join(t.TempDir(), "relay.toml"), dns: startDNSAt(t, "127.0.0.1:0", map[string]string{targetName: targetAddr})}
	state := t.TempDir()
	text := fmt.Sprintf("state = %q\n[[listen]]\naddress = \"%s:443\"\ninbounds = [\"web\"]\n[cover]\nname = %q\nsite = %q\ncertificate = \"self-signed\"\n[dns]\nservers = [%q]\n",
		state, exitAddr, coverName, newCover(t).dir, e.dns.addr)
	if err := os.WriteFile(e.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start(t)
	e.user = userCommand(t, "add", "alice", state)
	return e
}

// forwardAt has a port of ip lead to addr, and counts who comes.
func forwardAt(t *testing.T, ip, addr string, visits *atomic.Int32) (port string) {
	t.Helper()
	l, err := net.Listen("tcp4", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	to, err := url.Parse("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the listener, its connections with the programs at both ends
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			go pipeTo(c.(*net.TCPConn), to.Host)
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func pipeTo(c *net.TCPConn, addr string) {
	defer c.Close()
	far, err := net.Dial("tcp4", addr)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = far.(*net.TCPConn).ReadFrom(c)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = c.ReadFrom(far)
}

// leavingPackets sets the network up, and returns a function that says where packets
// have been sent that left it.
func leavingPackets(t *testing.T) func() []string {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644)
	err = errors.Join(err, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""))
	if err != nil {
		t.Fatalf("name server: %v", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("/dev/net/tun: %v", err)
	}
	device, err := unix.NewIfreq("out")
	if err != nil {
		t.Fatal(err)
	}
	device.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, device); err != nil {
		t.Fatalf("TUNSETIFF: %v", err)
	}
	tun := os.NewFile(uintptr(fd), "tun") // after TUNSETIFF, which makes it pollable
	// Addresses of routes, not of the device: relays do not lead to those of their own
	// machine.
	script := fmt.Sprintf("PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && ip route add local %s dev lo && ip route add local %s dev lo && "+
		"ip link set out addrgenmode none && ip link set out up && ip addr add 198.51.100.2/24 dev out && ip route add default dev out", exitAddr, targetAddr)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	seen, done := new(lockedBuffer), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, err := tun.Read(b)
			if err != nil {
				return
			}
			if n >= 20 && b[0]>>4 == 4 {
				fmt.Fprintln(seen, net.IP(b[16:20]))
			}
		}
	}()
	t.Cleanup(func() { tun.Close(); <-done })
	return func() []string {
		all := strings.Fields(seen.String())
		slices.Sort(all)
		return slices.Compact(all)
	}
}
