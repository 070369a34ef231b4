package splice_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// childEnv names the task of this test binary when it is its own child.
const childEnv = "SPLICE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "emfile" {
		if err := withoutDescriptors(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// transfer moves n bytes from the client of a TCP flow to its server, and the
// same number back.
func transfer(c *splice.Core, client, near, far, server transport.Conn, n int) error {
	end := make(chan splice.End, 1)
	c.Join(near, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
	defer client.Close()
	defer server.Close()
	errs := make(chan error, 4)
	for i, conn := range []transport.Conn{client, server} {
		go func() {
			err := send(conn, uint64(i), n)
			_ = conn.CloseWrite()
			errs <- err
		}()
		go func() {
			got, err := receive(conn, uint64(1-i))
			if err == nil && got != n {
				err = fmt.Errorf("received: got %d bytes, want %d", got, n)
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			return err
		}
	}
	if got, want := <-end, (splice.End{Status: transport.OK, Up: int64(n), Down: int64(n)}); got != want {
		return fmt.Errorf("end: got %+v, want %+v", got, want)
	}
	return nil
}

func transferTCP(t *testing.T, n int) {
	t.Helper()
	client, near := tcpPair(t)
	far, server := tcpPair(t)
	if err := transfer(splice.New(0), client, near, far, server, n); err != nil {
		t.Errorf("transfer of %d bytes each way: %v", n, err)
	}
}

func TestBulk(t *testing.T) {
	splice.DropIdlePipes()
	before := openFiles(t)
	transferTCP(t, 64<<20)
	if got := splice.PipesInUse(); got != 0 {
		t.Errorf("pipes in use after the flow: got %d, want 0", got)
	}
	splice.DropIdlePipes()
	if got := openFiles(t); got != before {
		t.Errorf("open files: got %d after the flow, want %d as before", got, before)
	}
}

// Ends exactly where a read fills the buffer are where bulk begins.
func TestBulkEndsAtBoundary(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 16} {
		for _, more := range []int{-1, 0, 1} {
			transferTCP(t, n*splice.BufferSize+more)
		}
	}
	if got := splice.PipesInUse(); got != 0 {
		t.Errorf("pipes in use: got %d, want 0", got)
	}
}

func TestBulkWithoutPipes(t *testing.T) {
	held, release := splice.HoldPipes()
	if held != splice.MaxPipes {
		t.Errorf("pipes: got %d, want %d", held, splice.MaxPipes)
	}
	transferTCP(t, 8<<20)
	release()
	if got := splice.PipesInUse(); got != 0 {
		t.Errorf("pipes in use: got %d, want 0", got)
	}
	splice.DropIdlePipes()
}

// TestBulkWithoutDescriptors runs a child that has none left.
func TestBulkWithoutDescriptors(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=emfile")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("child with no descriptor left: got %v, %s, want success", err, out)
	}
}

func withoutDescriptors() error {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	var conns []transport.Conn // client, near, far, server
	for _, swap := range []bool{false, true} {
		a, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
		if err != nil {
			return err
		}
		b, err := ln.AcceptTCP()
		if err != nil {
			return err
		}
		if swap {
			a, b = b, a
		}
		conns = append(conns, a, b)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}); err != nil {
		return err
	}
	if f, err := os.Open("/dev/null"); err == nil {
		_ = f.Close()
		return fmt.Errorf("open with the limit in force: got a file, want EMFILE")
	}
	held, release := splice.HoldPipes()
	release()
	if held != 0 {
		return fmt.Errorf("pipes with the limit in force: got %d, want 0", held)
	}
	return transfer(splice.New(0), conns[0], conns[1], conns[2], conns[3], 8<<20)
}

// A reader that stops with a full pipe behind it: the flow can be cut, the
// pipe is closed with what is in it, and another flow still moves.
func TestBulkSlowReader(t *testing.T) {
	splice.DropIdlePipes()
	before := openFiles(t)
	c := splice.New(0)
	j := join(t, c, "tcp", splice.Limits{}, nil)
	sent := make(chan error, 1)
	go func() { sent <- send(j.client, 1, 64<<20) }()
	waitFor(t, "a pipe that is held", func() bool { return splice.PipesInUse() == 1 && stalled(t, j.near) })
	transferTCP(t, 4<<20)
	// It reads on for a while: nothing is lost meanwhile.
	s, buf := stream{seed: 1}, make([]byte, 1<<20)
	for range 20 {
		n, err := io.ReadFull(j.server, buf)
		if cerr := s.check(buf[:n]); err != nil || cerr != nil {
			t.Fatalf("read: got %v, %v, want nil", err, cerr)
		}
	}
	waitFor(t, "a pipe that is held again", func() bool { return splice.PipesInUse() == 1 && stalled(t, j.near) })
	j.flow.Cut(transport.Cut)
	j.want(t, transport.Cut, -1, 0)
	if err := <-sent; err == nil {
		t.Error("writing client after Cut: got nil, want an error")
	}
	j.close()
	c.Drain(context.Background())
	if got := splice.PipesInUse(); got != 0 {
		t.Errorf("pipes in use: got %d, want 0", got)
	}
	splice.DropIdlePipes()
	if got := openFiles(t); got != before {
		t.Errorf("open files: got %d, want %d as before", got, before)
	}
}

// stalled reports whether a socket has unread bytes that nobody takes.
func stalled(t *testing.T, c transport.Conn) bool {
	queued := func() (n int) {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatalf("SyscallConn: got %v, want nil", err)
		}
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
		return n
	}
	n := queued()
	time.Sleep(20 * time.Millisecond)
	return n > 0 && n == queued()
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s, got nothing", what)
		}
	}
}

// openFiles counts the descriptors of this process. The one through which the
// folder is read is among them every time.
func openFiles(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("read /proc/self/fd: got %v, want nil", err)
	}
	n := 0
	for _, e := range names {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if strings.HasPrefix(link, "socket:") || strings.HasPrefix(link, "pipe:") {
			n++
		}
	}
	return n
}

// A rate limit keeps the flow off the bulk path, where moves are large.
func TestLimitedFlowCopies(t *testing.T) {
	client, near := tcpPair(t)
	far, server := tcpPair(t)
	held, release := splice.HoldPipes()
	release()
	if held == 0 {
		t.Fatal("pipes: got none, want some")
	}
	end := make(chan splice.End, 1)
	largest := &largest{}
	splice.New(0).Join(near, far, splice.Limits{}, largest, func(e splice.End) { end <- e })
	go func() { _ = send(client, 5, 4<<20); _ = client.CloseWrite() }()
	if n, err := receive(server, 5); n != 4<<20 || err != nil {
		t.Errorf("received: got %d, %v, want %d, nil", n, err, 4<<20)
	}
	_ = server.Close()
	<-end
	_ = client.Close()
	if largest.n > splice.BufferSize {
		t.Errorf("largest move under a rate limit: got %d, want at most %d", largest.n, splice.BufferSize)
	}
	splice.DropIdlePipes()
}

// largest is a limited Account that notes the largest move up.
type largest struct{ n int }

func (l *largest) Moved(up bool, n int) time.Duration {
	if up {
		l.n = max(l.n, n)
	}
	return 0
}

func (l *largest) Limited() bool { return true }
