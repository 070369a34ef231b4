package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// userRecord is what the user commands print with --json.
type userRecord struct {
	Name  string              `json:"name"`
	Links map[string][]string `json:"links"`
	Bytes struct {
		Up   int64 `json:"up"`
		Down int64 `json:"down"`
	} `json:"bytes"`
}

// credential is the user and password for protocol, from the link that is a URL
// with both in it.
func (u userRecord) credential(t *testing.T, protocol string) *url.Userinfo {
	t.Helper()
	for _, text := range u.Links[protocol] {
		if link, err := url.Parse(text); err == nil && link.User != nil {
			return link.User
		}
	}
	t.Fatalf("user %s: got links %q, want one for %s with user and password", u.Name, u.Links, protocol)
	return nil
}

// userCommand runs "relay user VERB NAME --state STATE --json".
func userCommand(t *testing.T, verb, name, state string) userRecord {
	t.Helper()
	res := runProgram(t, 20*time.Second, nil, relayBin, "user", verb, name, "--state", state, "--json")
	if res.code != 0 {
		t.Fatalf("relay user %s %s: got exit code %d, want 0\n%s", verb, name, res.code, res.stderr)
	}
	var u userRecord
	if err := json.Unmarshal([]byte(res.stdout), &u); err != nil {
		t.Fatalf("relay user %s %s: got %q, want JSON: %v", verb, name, res.stdout, err)
	}
	return u
}

// cleanEnv is an environment in which no proxy variable and no file of the
// person who runs the tests changes what a program does.
func cleanEnv(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8",
		"XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_RUNTIME_DIR=" + home,
	}
}

// programResult is how a finished program ended.
type programResult struct {
	code           int
	stdout, stderr string
}

// runProgram runs a program to its end and fails the test if that takes longer
// than limit. The program gets a process group of its own, so that what it
// starts ends with it.
func runProgram(t *testing.T, limit time.Duration, stdin io.Reader, name string, args ...string) programResult {
	t.Helper()
	var out, errs bytes.Buffer
	code := runTo(t, limit, stdin, &out, &errs, name, args...)
	return programResult{code, out.String(), errs.String()}
}

func runTo(t *testing.T, limit time.Duration, stdin io.Reader, stdout, stderr io.Writer, name string, args ...string) int {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = cleanEnv(t.TempDir())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", filepath.Base(name), err)
	}
	late := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !late.Stop() {
		t.Fatalf("%s: got no end in %v, want one", filepath.Base(name), limit)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", filepath.Base(name), err)
	}
	return cmd.ProcessState.ExitCode()
}

// lockedBuffer collects a log that is written while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
