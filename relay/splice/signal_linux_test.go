package splice

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPendingSignals: a signal that comes while a socket is asked for input is no
// input. The runtime sends its threads a good many, and whoever believed one waits
// for bytes that do not come.
func TestPendingSignals(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, stop := unix.Gettid(), make(chan struct{})
	var signals sync.WaitGroup
	signals.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				// What the runtime itself uses to interrupt a goroutine.
				_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
			}
		}
	})
	defer signals.Wait()
	defer close(stop)
	const times = 10_000
	n := 0
	for range times {
		if pending(int32(fds[0])) {
			n++
		}
	}
	if n > 0 {
		t.Errorf("input of a socket that has none: got %d times of %d, want never", n, times)
	}
	if _, err := unix.Write(fds[1], []byte{1}); err != nil {
		t.Fatal(err)
	}
	if !pending(int32(fds[0])) {
		t.Error("input of a socket that has a byte: got none")
	}
}
