package splice_test

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// childEnv names the task of this test binary when it is its own child.
const childEnv = "SPLICE_TEST_CHILD"

// errSkip of a task says that it cannot be done here, and exitSkip tells the parent:
// not 2, which is how a program ends that panics.
var errSkip = errors.New("cannot be tested here")

const exitSkip = 3

func TestMain(m *testing.M) {
	tasks := map[string]func() error{
		"nothing left at first": func() error { return withoutDescriptors(false) },
		"nothing left later":    func() error { return withoutDescriptors(true) },
		"pipes used up":         withoutPipePages,
		"peers":                 manyPeers,
		"load":                  load,
	}
	if name := os.Getenv(childEnv); name != "" {
		err := tasks[name]()
		switch {
		case errors.Is(err, errSkip):
			fmt.Println(err)
			os.Exit(exitSkip)
		case err != nil:
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	// Tests that run in parallel wait most of the time, whatever the machine has.
	_ = flag.Set("test.parallel", "16")
	os.Exit(m.Run())
}

// task is a child that does one of TestMain's tasks.
func task(name string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	return cmd
}

func runTask(t *testing.T, name string) {
	t.Helper()
	out, err := task(name).CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == exitSkip {
		t.Skipf("child: %s", out)
	}
	if err != nil {
		t.Errorf("child, %s: got %v, %s, want success", name, err, out)
	}
}

// ends are the two connections of a flow: what the core is given, and the peers.
type ends struct{ client, near, far, server transport.Conn }

func tcpEnds(t testing.TB) (e ends) {
	t.Helper()
	e.near, e.client = plainPair(t)
	e.far, e.server = plainPair(t)
	return e
}

// transfer moves n bytes from the client of a flow to its server, and the same
// number back.
func (e ends) transfer(c *splice.Core, n int) (f splice.Flow, err error) {
	end := make(chan splice.End, 1)
	f = c.Join(e.near, e.far, splice.Limits{}, nil, func(e splice.End) { end <- e })
	defer closeBoth(e.client, e.server)
	errs := make(chan error, 4)
	for i, conn := range []transport.Conn{e.client, e.server} {
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
			return f, err
		}
	}
	if got, want := <-end, (splice.End{Status: transport.OK, Up: int64(n), Down: int64(n)}); got != want {
		return f, fmt.Errorf("end: got %+v, want %+v", got, want)
	}
	return f, nil
}

// transferTCP is a transfer that has to take a reactor.
func transferTCP(t *testing.T, c *splice.Core, n int) {
	t.Helper()
	f, err := tcpEnds(t).transfer(c, n)
	if err != nil {
		t.Errorf("transfer of %d bytes each way: %v", n, err)
	}
	if !splice.OnReactor(f) {
		t.Error("flow between two sockets: got the portable path, want a reactor")
	}
}

func TestBulk(t *testing.T) {
	before := openFiles(t)
	c := splice.New(0)
	transferTCP(t, c, 64<<20)
	c.Drain(t.Context())
	if got := openFiles(t); got > before {
		t.Errorf("sockets and pipes after Drain: got %d, want %d as before", got, before)
	}
}

// Ends exactly where a read fills the buffer are where bulk begins.
func TestBulkEndsAtBoundary(t *testing.T) {
	c := splice.New(0)
	for _, n := range []int{1, 2, 3, 4, 5, 8, 16, 64} {
		for _, more := range []int{-1, 0, 1} {
			transferTCP(t, c, n*splice.BufferSize+more)
		}
	}
	c.Drain(t.Context())
}

func TestBulkWithoutPipe(t *testing.T) {
	before, had := openFiles(t), len(pipes(t))
	c := splice.New(0)
	c.TestingNoPipe()
	transferTCP(t, c, 8<<20)
	if got := len(pipes(t)); got > had {
		t.Errorf("pipes: got %d, want %d as before", got, had)
	}
	c.Drain(t.Context())
	if got := openFiles(t); got > before {
		t.Errorf("sockets and pipes after Drain: got %d, want %d as before", got, before)
	}
}

// With no descriptor left for a reactor everything takes the portable path.
func TestBulkWithoutDescriptors(t *testing.T) { runTask(t, "nothing left at first") }

// A reactor that can get no more descriptors goes on with the flows it has,
// without a pipe; new ones take the portable path.
func TestBulkDescriptorsRunOut(t *testing.T) { runTask(t, "nothing left later") }

func withoutDescriptors(later bool) error {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	var flows []ends
	for range 3 {
		var conns [4]*net.TCPConn
		for i := 0; i < 4; i += 2 {
			if conns[i], err = net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr)); err != nil {
				return err
			}
			if conns[i+1], err = ln.AcceptTCP(); err != nil {
				return err
			}
		}
		flows = append(flows, ends{conns[0], conns[1], conns[2], conns[3]})
	}
	c := splice.New(0)
	// On a reactor from before the limit, and at rest so far.
	old, end := flows[2], make(chan splice.End, 1)
	if later {
		c.TestingReactors(1)
		f := c.Join(old.near, old.far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		if !splice.OnReactor(f) {
			return errors.New("flow before the limit: got the portable path, want a reactor")
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}); err != nil {
		return err
	}
	if f, err := os.Open("/dev/null"); err == nil {
		_ = f.Close()
		return fmt.Errorf("open with the limit in force: got a file, want EMFILE")
	}
	for _, e := range flows[:2] {
		f, err := e.transfer(c, 8<<20)
		if err != nil {
			return fmt.Errorf("flow with the limit in force: %w", err)
		}
		if splice.OnReactor(f) {
			return errors.New("flow with the limit in force: got a reactor, want the portable path")
		}
	}
	if later {
		go func() { _ = send(old.client, 9, 8<<20); _ = old.client.CloseWrite() }()
		if n, err := receive(old.server, 9); n != 8<<20 || err != nil {
			return fmt.Errorf("flow from before the limit: got %d bytes, %v, want %d, nil", n, err, 8<<20)
		}
		closeBoth(old.client, old.server)
		if e := <-end; e.Status != transport.OK {
			return fmt.Errorf("end of the flow from before the limit: got %+v, want ok", e)
		}
	}
	return nil
}

// Linux limits what the pipes of a user may hold; over the limit a new one is
// small, and stays so.
func TestBulkPipesUsedUp(t *testing.T) { runTask(t, "pipes used up") }

func withoutPipePages() error {
	if os.Getuid() == 0 {
		const nobody = 65534 // whom the limit holds for
		if err := syscall.Setgid(nobody); err != nil {
			return fmt.Errorf("%w: %w", errSkip, err)
		}
		if err := syscall.Setuid(nobody); err != nil {
			return fmt.Errorf("%w: %w", errSkip, err)
		}
	}
	var small int
	for range 5000 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("%w: pipe: %w", errSkip, err)
		}
		if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 1<<20); err == nil {
			continue
		}
		size, err := unix.FcntlInt(uintptr(fds[1]), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			return err
		}
		if small = size; small < 64<<10 {
			break
		}
	}
	if small == 0 || small >= 64<<10 {
		return fmt.Errorf("%w: pipes are not limited", errSkip)
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	var e ends
	for _, p := range [][2]*transport.Conn{{&e.client, &e.near}, {&e.server, &e.far}} {
		a, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
		if err != nil {
			return err
		}
		b, err := ln.AcceptTCP()
		if err != nil {
			return err
		}
		*p[0], *p[1] = a, b
	}
	_, err = e.transfer(splice.New(0), 16<<20)
	return err
}

// A rate limit keeps the flow off the bulk path, where moves are large.
func TestLimitedFlowCopies(t *testing.T) {
	c, had := splice.New(0), len(pipes(t))
	client, near := tcpPair(t)
	far, server := tcpPair(t)
	end := make(chan splice.End, 1)
	largest := &largest{}
	c.Join(near, far, splice.Limits{}, largest, func(e splice.End) { end <- e })
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
	if got := len(pipes(t)); got > had {
		t.Errorf("pipes: got %d, want %d as before", got, had)
	}
	c.Drain(t.Context())
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

// openFiles counts the sockets and pipes of this process.
func openFiles(t testing.TB) int { return len(descriptors(t, "socket:")) + len(pipes(t)) }

// pipes are the descriptors of pipes that are not the process's own input and
// output: those of reactors, and what it was started with.
func pipes(t testing.TB) []int { return descriptors(t, "pipe:") }

func descriptors(t testing.TB, kind string) (fds []int) {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("read /proc/self/fd: got %v, want nil", err)
	}
	for _, e := range names {
		var fd int
		_, _ = fmt.Sscan(e.Name(), &fd)
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if strings.HasPrefix(link, kind) && fd > 2 {
			fds = append(fds, fd)
		}
	}
	return fds
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s for %s, got nothing", what)
		}
	}
}
