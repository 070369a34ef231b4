package policy

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// A listener whose backlog is full answers no more: the one way to a time-out
// without leaving loopback, on Linux only.
func TestDialTimeout(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	config := loopbackAllowed
	config.DialTimeout = 100 * time.Millisecond
	e := newTest(t, Options{Config: config})
	to := target(t, fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port))
	for range 4 {
		c, err := e.DialStream(t.Context(), to, nil)
		if err == nil {
			defer func() { _ = c.Close() }()
			continue
		}
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", err)
		}
		return
	}
	t.Skip("this system's backlog never fills")
}
