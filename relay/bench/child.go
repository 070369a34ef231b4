package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	readyLimit = 10 * time.Second // from the start of a proxy to the first answer through it
	stopLimit  = 4 * time.Second  // from SIGTERM to SIGKILL
)

// child is a running program: a proxy, or the sink. Whoever started it stops it.
type child struct {
	command *exec.Cmd
	output  string        // the file that its output goes to
	ended   chan struct{} // closed once the process has been waited for
}

// startChild runs a program in a process group of its own, as the given user,
// with its output in the file output.
func startChild(arguments []string, output string, as *account) (*child, error) {
	file, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = childAttributes(as)
	command.Dir = "/" // a user without rights here may not be able to enter ours
	c := &child{command: command, output: output, ended: make(chan struct{})}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	c.await()
	return c, nil
}

// startSink runs this program again as the sink and returns its ports.
func startSink(program string) (*child, ports, error) {
	var at ports
	command := exec.Command(program, "sink")
	command.Stderr = os.Stderr
	command.SysProcAttr = childAttributes(nil)
	// Held open until the sink ends: it ends when this does.
	if _, err := command.StdinPipe(); err != nil {
		return nil, at, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, at, err
	}
	if err := command.Start(); err != nil {
		return nil, at, fmt.Errorf("start the sink: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	c := &child{command: command, ended: make(chan struct{})}
	c.await()
	if err == nil {
		_, err = fmt.Sscan(line, &at.sink, &at.dc, &at.site)
	}
	if err != nil {
		c.stop()
		return nil, at, fmt.Errorf("read the sink's ports: %w", err)
	}
	return c, at, nil
}

// await collects the process when it ends.
func (c *child) await() {
	go func() {
		// How it ended is of no interest: stop ends it with a signal.
		_ = c.command.Wait()
		close(c.ended)
	}()
}

func (c *child) pid() int { return c.command.Process.Pid }

// stop ends the process, then what is left of its group, and waits.
func (c *child) stop() {
	terminate(c.pid())
	select {
	case <-c.ended:
	case <-time.After(stopLimit):
	}
	killGroup(c.pid())
	<-c.ended
}

// kill ends the process at once; stop must still follow.
func (c *child) kill() { killGroup(c.pid()) }

// waitReady waits until a round trip through the proxy works.
func (c *child) waitReady(ctx context.Context, l *load) error {
	return c.waitAnswer(ctx, func(ctx context.Context) error { return l.connection(ctx, 64) })
}

// waitAnswer waits until a request is answered.
func (c *child) waitAnswer(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		err := request(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.ended:
			return fmt.Errorf("it ended at once: %s", c.lastOutput())
		case <-ctx.Done():
			return fmt.Errorf("no answer through it in %v: %w; its output: %s", readyLimit, err, c.lastOutput())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastOutput is the end of what the program wrote.
func (c *child) lastOutput() string {
	file, err := os.Open(c.output)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	const most = 1000
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	b, _ := io.ReadAll(file)
	if len(b) == 0 {
		return "(nothing)"
	}
	return strings.TrimSpace(string(b))
}
