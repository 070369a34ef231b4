package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"relay": main})
}

// TestScript runs the terminal sessions in testdata/script.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			// No configuration of this machine may leak in, and a Unix socket
			// has a short name.
			dir, err := os.MkdirTemp("", "rs")
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(dir) })
			e.Setenv("S", dir)
			e.Setenv("HOME", filepath.Join(dir, "home"))
			e.Setenv("XDG_STATE_HOME", "")
			e.Setenv("STATE_DIRECTORY", "")
			// A loopback address for each script: ports never meet.
			e.Setenv("IP", fmt.Sprintf("127.%d.%d.1", 20+os.Getpid()%200, scripts.Add(1)))
			e.Setenv("PORT", "1080")
			e.Setenv("PORT2", "1081")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "listening": cmdListening, "closed": cmdClosed, "taken": cmdTaken,
			"damage": cmdDamage, "mode": cmdMode, "within": cmdWithin, "signal": cmdSignal,
		},
	})
}

// scripts counts the scripts of this run.
var scripts atomic.Int32

// cmdExits runs a command and wants an exit code: exits 2 relay nonsense.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if ee, ok := err.(*exec.ExitError); ok {
		code = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code: got %d, want %s", code, args[0])
	}
}

// cmdListening waits until something accepts on the script's address.
func cmdListening(ts *testscript.TestScript, neg bool, args []string) {
	for range 200 {
		c, err := net.Dial("tcp", ts.Getenv("IP")+":"+args[0])
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("nothing listens on port %s after 5 s", args[0])
}

// cmdClosed wants nothing to listen on the script's address.
func cmdClosed(ts *testscript.TestScript, neg bool, args []string) {
	if c, err := net.Dial("tcp", ts.Getenv("IP")+":"+args[0]); err == nil {
		c.Close()
		ts.Fatalf("port %s: got a listener, want none", args[0])
	}
}

// cmdTaken occupies a port until the script ends.
func cmdTaken(ts *testscript.TestScript, neg bool, args []string) {
	ln, err := net.Listen("tcp", ts.Getenv("IP")+":"+args[0])
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
}

// cmdDamage overwrites the beginning of a file.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.Write(bytes.Repeat([]byte("damage! "), 4096))
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdMode wants the permissions of a file: mode 600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	fi, err := os.Stat(ts.MkAbs(args[1]))
	for range 200 { // a relay that is just starting makes its files one by one
		if err == nil {
			break
		}
		time.Sleep(25 * time.Millisecond)
		fi, err = os.Stat(ts.MkAbs(args[1]))
	}
	ts.Check(err)
	if got := fmt.Sprintf("%o", fi.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s: got %s, want %s", args[1], got, args[0])
	}
}

// cmdWithin repeats a relay command until its output has a text, for at most
// three seconds: within TEXT relay …
func cmdWithin(ts *testscript.TestScript, neg bool, args []string) {
	for range 120 {
		if err := ts.Exec(args[1], args[2:]...); err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("output: got %q, want %q in it within 3 s", ts.ReadFile("stdout"), args[0])
}

// cmdSignal sends a signal to the background command started last.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	sig, ok := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}[args[0]]
	cmds := ts.BackgroundCmds()
	if !ok || len(cmds) == 0 {
		ts.Fatalf("usage: signal HUP|TERM, with a command in the background")
	}
	ts.Check(cmds[len(cmds)-1].Process.Signal(sig))
}
