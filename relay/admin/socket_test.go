package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const helperEnv = "RELAY_ADMIN_TEST_HELPER"

// TestMain asks a socket for the status when it is started by another test.
func TestMain(m *testing.M) {
	dir := os.Getenv(helperEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	c, err := Dial(dir)
	if err == nil {
		_, err = c.Status()
	}
	fmt.Println("status:", err)
}

func serve(t *testing.T, dir string, h http.Handler) *Server {
	t.Helper()
	ln, err := Listen(dir)
	if err != nil {
		t.Fatalf("listen: got %v, want none", err)
	}
	s := Serve(ln, h, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSocketFile(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, SocketFile)
	h := newFixture(t, true).h
	if _, err := Dial(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no relay: got %v, want %v", err, fs.ErrNotExist)
	}
	s := serve(t, dir, h)
	if fi, err := os.Stat(path); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got %v, %v, want a socket with 0600", fi.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: got %v, want none", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("closed: got %v, want the socket gone", err)
	}
	// A socket that a killed relay left behind.
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	if _, err := Dial(dir); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("stale: got %v, want %v", err, syscall.ECONNREFUSED)
	}
	serve(t, dir, h)
	if c, err := Dial(dir); err != nil {
		t.Errorf("stale replaced: got %v, want none", err)
	} else if _, err := c.Status(); err != nil {
		t.Errorf("stale replaced: got %v, want none", err)
	}
}

func TestSocketInTheWay(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"file":   func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
	} {
		dir := shortDir(t)
		path := filepath.Join(dir, SocketFile)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		if ln, err := Listen(dir); err == nil {
			_ = ln.Close()
			t.Errorf("%s: got a socket, want an error", name)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s: got %v, want it where it was", name, err)
		}
	}
	long := filepath.Join(shortDir(t), strings.Repeat("x", 90))
	if _, err := Listen(long); err == nil || !strings.Contains(err.Error(), "shorter state folder") {
		t.Errorf("long path: got %v, want advice", err)
	}
	if _, err := Listen(filepath.Join(shortDir(t), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestPeer asks as another user, with the mode of the socket out of the way.
// Only root can become somebody else; without root, the test is that the same
// user gets in and that the check reads the right number.
func TestPeer(t *testing.T) {
	dir := shortDir(t)
	serve(t, dir, newFixture(t, true).h)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, SocketFile), 0o666)); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "helper")
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(exe, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	ask := func(uid int) string {
		c := exec.CommandContext(t.Context(), exe)
		c.Env = append(os.Environ(), helperEnv+"="+dir)
		c.Dir = "/"
		if uid != os.Geteuid() {
			c.SysProcAttr = as(uid)
		}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("uid %d: got %v: %s, want an answer", uid, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := ask(os.Geteuid()); got != "status: <nil>" {
		t.Errorf("same user: got %q, want the status", got)
	}
	if os.Geteuid() == 0 {
		if got := ask(65534); !strings.HasPrefix(got, "status: control socket: ") {
			t.Errorf("another user: got %q, want it turned away", got)
		}
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { _, _ = net.Dial("unix", ln.Addr().String()) }()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if uid, known, err := peerUID(c); uid != os.Geteuid() || !known || err != nil {
		t.Errorf("got %d, %t, %v, want %d", uid, known, err, os.Geteuid())
	}
	a, _ := net.Pipe()
	if allowed(a) {
		t.Error("no Unix socket: got it allowed, want it refused")
	}
	_ = c.Close()
	if allowed(c) {
		t.Error("closed: got it allowed, want it refused")
	}
}

func TestSlowClients(t *testing.T) {
	dir := shortDir(t)
	f := newFixture(t, true)
	serve(t, dir, f.h)
	// All but one of the places: silent, half a header, half a body, an
	// answer that is not read.
	for i := range maxClients - 1 {
		c, err := net.Dial("unix", filepath.Join(dir, SocketFile))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text := []string{"", "GET /v1/st", "POST /v1/users HTTP/1.1\r\nHost: r\r\nContent-Length: 100\r\n\r\n{", "GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n"}[i%4]
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Timeout = 20 * time.Second
	for range 3 {
		if _, err := c.Status(); err != nil {
			t.Errorf("got %v, want an answer", err)
		}
	}
}

func TestLargeBodyOverSocket(t *testing.T) {
	dir := shortDir(t)
	serve(t, dir, newFixture(t, false).h)
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(Add{Names: []string{strings.Repeat("a", 9<<20)}}); err == nil {
		t.Error("9 MB: got it taken, want it refused")
	}
	if us, err := c.Users(); err != nil || len(us) != 0 {
		t.Errorf("afterwards: got %v, %v, want an empty list", us, err)
	}
	raw, err := net.Dial("unix", filepath.Join(dir, SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(raw, "GET / HTTP/1.1\r\nHost: r\r\nX: ")
	go func() { _, _ = io.Copy(raw, io.LimitReader(zeros{}, 1<<20)) }()
	if line, err := bufio.NewReader(raw).ReadString('\n'); err != nil || !strings.Contains(line, " 431 ") && !strings.Contains(line, " 400 ") {
		t.Errorf("1 MB of header: got %q, %v, want it refused", line, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestCloseWaitsForRequests has a request in the handler while the socket is
// closed.
func TestCloseWaitsForRequests(t *testing.T) {
	dir := shortDir(t)
	began, finish := make(chan struct{}), make(chan struct{})
	s := serve(t, dir, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		reply(w, Status{Version: "late"})
	}))
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if st, err := c.Status(); err != nil || st.Version != "late" {
			t.Errorf("got %+v, %v, want the answer", st, err)
		}
	})
	<-began
	wg.Go(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: got %v, want none", err)
		}
	})
	<-s.done // nothing is accepted any more, and the request still runs
	if _, err := Dial(dir); err == nil {
		t.Error("closing: got a connection, want none")
	}
	close(finish)
	wg.Wait()
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	dir := shortDir(t)
	began, finish := make(chan struct{}), make(chan struct{})
	s := serve(t, dir, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-finish
	}))
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Reload() })
	<-began
	begin := time.Now()
	if err := s.Close(); !errors.Is(err, context.DeadlineExceeded) && err != nil || time.Since(begin) > 20*time.Second {
		t.Errorf("got %v after %v, want an end", err, time.Since(begin))
	}
	close(finish)
	wg.Wait()
}
