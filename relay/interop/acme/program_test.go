package acme

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program is a running process and all that it has said.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	said   *output
	exited chan struct{}
}

// launch starts a program. It is killed when the test ends.
func launch(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(name, args...), said: new(output), exited: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: got %v, want nil", name, err)
	}
	go func() { // ends with the process
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.said)
		}
	})
	return p
}

// kill ends the program as a power cut does.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// terminate ends the program as a service manager does, and returns how long
// that took.
func (p *program) terminate() time.Duration {
	p.t.Helper()
	began := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("exit after SIGTERM: got %v, want code 0", p.cmd.ProcessState)
		}
	case <-time.After(40 * time.Second):
		p.t.Error("got no exit in 40 s after SIGTERM, want one")
		p.kill()
	}
	return time.Since(began)
}

// awaits waits until the program has said text n times.
func (p *program) awaits(text string, n int) {
	p.t.Helper()
	within(p.t, 30*time.Second, func() bool { return p.said.count(text) >= n }, "the line %q %d times", text, n)
}

// within waits until ok.
func within(t *testing.T, limit time.Duration, ok func() bool, what string, args ...any) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within %v: got nothing, want "+what, append([]any{limit}, args...)...)
		}
	}
}

// output is what a program writes, for reading at any time.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) count(text string) int { return strings.Count(o.String(), text) }

// nextPort is below the ports that the kernel gives to connections.
var nextPort atomic.Int32

// ports finds ports of loopback that nobody listens on, and that no other test
// gets.
func ports(t *testing.T, n int) []int {
	t.Helper()
	nextPort.CompareAndSwap(0, int32(12000+os.Getpid()%1000*16))
	var found []int
	for len(found) < n {
		port := int(nextPort.Add(1))
		l, err := net.Listen("tcp", at(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		found = append(found, port)
	}
	return found
}

func at(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// listening waits for a program to listen.
func (p *program) listening(port int) {
	p.t.Helper()
	within(p.t, 20*time.Second, func() bool {
		c, err := net.Dial("tcp", at(port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, "somebody on port %d", port)
}
