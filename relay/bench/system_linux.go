package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// endSignals are what ends the program early.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// account is the user that the peers run as.
type account struct{ uid, gid uint32 }

func findAccount(name string) (*account, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("-user: only root can start programs as somebody else; leave it out or run as root")
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("-user: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("-user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("-user %s: %w", name, err)
	}
	return &account{uint32(uid), uint32(gid)}, nil
}

// childAttributes give a child a process group of its own, so that Ctrl-C
// reaches only this program, and an end when this program is killed.
func childAttributes(as *account) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if as != nil {
		a.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return a
}

// inheritOwner gives all that is in a folder to its owner: a relay that runs as
// somebody else must get at what was made for it.
func inheritOwner(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(stat.Uid), int(stat.Gid))
	})
}

func terminate(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) }
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// portAtConnect makes the kernel choose the local port when it knows the
// target. At bind, it would have to find one that is free for every target,
// and a few seconds of short connections use those up.
func portAtConnect(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, failed)
}

// raiseDescriptors raises the limit of open files as far as it may, for the
// children too, and returns it.
func raiseDescriptors() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	// Set even if it is high already: Go lowers it again for the children of a
	// program that never set it.
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
	}
	return int(min(limit.Max, 1<<20)), nil
}

// runInside runs this program again in a network namespace of its own, with
// arguments, and returns its exit code. It returns errNoNamespace where the
// system does not allow that.
func runInside(program string, arguments []string) (int, error) {
	command := exec.Command(program, arguments...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	// SIGTERM, so that it can end its own children.
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endSignals...)
	defer signal.Stop(signals)
	if err := command.Start(); errors.Is(err, syscall.EPERM) {
		return 0, errNoNamespace
	} else if err != nil {
		return 0, fmt.Errorf("start in a network namespace: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = command.Process.Signal(s)
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}

// setUpNamespace brings up loopback and sets what the figures depend on.
func setUpNamespace() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer unix.Close(fd)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, loopback); err != nil {
		return fmt.Errorf("network namespace: bring up loopback: %w", err)
	}
	for _, s := range []struct{ file, value string }{
		// Others, such as bbr, pace what they send, which changes the figures.
		{"ipv4/tcp_congestion_control", "reno"},
		// The peers listen below this range, so no connection takes their ports.
		{"ipv4/ip_local_port_range", "20000 65000"},
		{"core/somaxconn", "16384"},
		{"ipv4/tcp_max_syn_backlog", "16384"},
	} {
		if err := os.WriteFile("/proc/sys/net/"+s.file, []byte(s.value), 0o644); err != nil {
			return fmt.Errorf("network namespace: set net/%s to %s: %w", s.file, s.value, err)
		}
	}
	return nil
}
