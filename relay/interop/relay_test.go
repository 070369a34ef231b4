package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readyLimit = 20 * time.Second // from start to the last ready line
	stopLimit  = 40 * time.Second // from SIGTERM to the end; more than drain_timeout, 30 s
)

// relay is a running relay process. It is stopped when the test ends.
type relay struct {
	t      *testing.T
	cmd    *exec.Cmd
	ready  map[string]*url.URL // by protocol word
	stderr *lockedBuffer
	stdout *lockedBuffer
	exited chan struct{} // closed once the process has been waited for
	over   bool          // the test ended the process itself
}

// quickstart runs "relay quickstart" in a new folder with loopback targets
// opened, unless egress says otherwise.
func quickstart(t *testing.T, args ...string) *relay {
	t.Helper()
	return start(t, []string{"socks5", "http"},
		append([]string{"quickstart", "--dir", t.TempDir(), "--listen", "127.0.0.1:0"}, args...)...)
}

// anonymous runs a relay without users that may reach loopback.
func anonymous(t *testing.T) *relay {
	t.Helper()
	return quickstart(t, "--anonymous", "--egress-allow", "127.0.0.0/8")
}

// serve runs "relay serve" with one listener for socks5 and http, and the given
// config text after it.
func serve(t *testing.T, state string, anonymous bool, dns *dnsServer, more string) *relay {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "state = %q\n\n", state)
	fmt.Fprintf(&b, "[[listen]]\naddress = \"127.0.0.1:0\"\ninbounds = [\"socks5\", \"http\"]\nanonymous = %t\n\n", anonymous)
	b.WriteString("[egress]\nallow = [\"127.0.0.0/8\"]\n\n")
	if dns != nil {
		fmt.Fprintf(&b, "[dns]\nservers = [%q]\n\n", dns.addr)
	}
	b.WriteString(more)
	file := filepath.Join(t.TempDir(), "relay.toml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, []string{"socks5", "http"}, "serve", "--config", file)
}

// start runs the relay with args and waits until each protocol has its ready line.
func start(t *testing.T, protocols []string, args ...string) *relay {
	t.Helper()
	return startIn(t, nil, protocols, args...)
}

// startIn is start with more in the environment.
func startIn(t *testing.T, env, protocols []string, args ...string) *relay {
	t.Helper()
	r := &relay{
		t:      t,
		cmd:    exec.Command(relayBin, args...),
		ready:  make(map[string]*url.URL),
		stderr: new(lockedBuffer),
		stdout: new(lockedBuffer),
		exited: make(chan struct{}),
	}
	r.cmd.Env = append(cleanEnv(t.TempDir()), env...)
	r.cmd.Stderr = r.stderr
	stdout, stdoutEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout = stdoutEnd
	err = r.cmd.Start()
	stdoutEnd.Close()
	if err != nil {
		stdout.Close()
		t.Fatalf("start %s: %v", relayBin, err)
	}
	lines := make(chan string, 64)
	go func() { // ends with the process, which holds the other end
		defer stdout.Close()
		defer close(lines)
		s := bufio.NewScanner(io.TeeReader(stdout, r.stdout))
		for s.Scan() {
			select {
			case lines <- s.Text():
			default: // nobody reads after the ready lines
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
	}()
	go func() { // ends with the process, which stop and kill wait for
		_ = r.cmd.Wait()
		close(r.exited)
	}()
	t.Cleanup(r.stop)
	r.waitReady(lines, protocols)
	return r
}

func (r *relay) waitReady(lines <-chan string, protocols []string) {
	r.t.Helper()
	limit := time.NewTimer(readyLimit)
	defer limit.Stop()
	for {
		missing := ""
		for _, p := range protocols {
			if r.ready[p] == nil {
				missing = p
			}
		}
		if missing == "" {
			return
		}
		select {
		case line, ok := <-lines:
			if !ok {
				r.t.Fatalf("stdout ended: got no ready line for %s, want one", missing)
			}
			f := strings.Fields(line)
			if len(f) != 3 || f[0] != "ready" {
				continue
			}
			u, err := url.Parse(f[2])
			if err != nil || u.Port() == "" {
				r.t.Fatalf("ready line: got %q, want an address with a port (%v)", line, err)
			}
			r.ready[f[1]] = u
		case <-limit.C:
			r.t.Fatalf("got no ready line for %s in %v, want one", missing, readyLimit)
		}
	}
}

// stop ends the relay the way a service manager does, and checks that it ends
// well and that its log kept the secrets to itself.
func (r *relay) stop() {
	if !r.over {
		r.over = true
		r.terminate()
		select {
		case <-r.exited:
			if code := r.cmd.ProcessState.ExitCode(); code != 0 {
				r.t.Errorf("exit after SIGTERM: got %v, want exit code 0", r.cmd.ProcessState)
			}
		case <-time.After(stopLimit):
			r.t.Errorf("got no exit in %v after SIGTERM, want exit code 0", stopLimit)
			_ = r.cmd.Process.Kill()
			<-r.exited
		}
	}
	log := r.stderr.String()
	for protocol, u := range r.ready {
		if p, ok := u.User.Password(); ok && strings.Contains(log, p) {
			r.t.Errorf("log: got the password of the %s link in it, want none", protocol)
		}
	}
	if r.t.Failed() {
		r.t.Logf("stderr of relay %d:\n%s", r.cmd.Process.Pid, log)
	}
}

// terminate asks the relay to drain and end. stop, which follows, waits for it.
func (r *relay) terminate() { _ = r.cmd.Process.Signal(syscall.SIGTERM) }

// kill is kill -9.
func (r *relay) kill() {
	r.over = true
	_ = r.cmd.Process.Kill()
	<-r.exited
}

func (r *relay) pid() int { return r.cmd.Process.Pid }

// proxy is the ready address of protocol, with user and password if it has them.
func (r *relay) proxy(protocol string) *url.URL {
	u := *r.ready[protocol]
	return &u
}

// as is the ready address of protocol with a user of its own, or nobody for nil.
func (r *relay) as(protocol string, user *url.Userinfo) *url.URL {
	u := r.proxy(protocol)
	u.User = user
	return u
}
