//go:build unix

package site

import (
	"os/exec"
	"syscall"
)

const rootFolder = "/"

// endGroup makes the end of cmd that of everything that it has started: a script
// that is killed leaves its sleep behind.
func endGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
