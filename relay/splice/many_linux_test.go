package splice_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// TestManyFlows has as many flows at once as one process can have descriptors
// for; a child holds the other ends.
func TestManyFlows(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	flows := 9000
	if raceEnabled { // what so many cost is not measured then
		flows = 2000
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err == nil && lim.Cur < 19_000 {
		flows = int(lim.Cur-500) / 2
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	before, memory := openFiles(t), inUse()
	cmd := task("peers")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("pipe: got %v, want nil", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("pipe: got %v, want nil", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("child: got %v, want nil", err)
	}
	defer cmd.Wait()
	defer in.Close()
	answers := bufio.NewScanner(out)
	// do has the child do something with all flows.
	do := func(what string) {
		began := time.Now()
		_, _ = fmt.Fprintln(in, what)
		if answers.Scan(); answers.Text() != "ok" {
			t.Fatalf("child, %s: got %q, want ok", what, answers.Text())
		}
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
	}
	accepted := make(chan [2]transport.Conn, flows)
	go func() {
		for range flows { // in the order in which the child dials
			var pair [2]transport.Conn
			for i := range pair {
				c, err := ln.AcceptTCP()
				if err != nil {
					close(accepted)
					return
				}
				pair[i] = c
			}
			accepted <- pair
		}
	}()
	do(fmt.Sprintf("dial %d %s", flows, ln.Addr()))
	c, ended := splice.New(0), make(chan splice.End, flows)
	for i := range flows {
		pair, ok := <-accepted
		if !ok {
			t.Fatal("accept: got an error, want a connection")
		}
		f := c.Join(pair[0], pair[1], splice.Limits{Idle: time.Hour}, nil, func(e splice.End) { ended <- e })
		if !splice.OnReactor(f) {
			t.Fatalf("flow %d: got the portable path, want a reactor", i)
		}
	}
	do("talk")
	each := (inUse() - memory - int64(cap(ended))*40) / int64(flows)
	t.Logf("%d flows: %d bytes of heap and stacks for each", flows, each)
	if each > 600 && !raceEnabled {
		t.Errorf("memory per flow: got %d bytes, want at most 600", each)
	}
	if got := processTime(300 * time.Millisecond); got > 100*time.Millisecond {
		t.Errorf("processor time in 300 ms of rest: got %v, want next to none", got)
	}
	do("talk")
	do("end")
	for i := range flows {
		if e := <-ended; e != (splice.End{Status: transport.OK, Up: 2 * talkUp, Down: 2 * talkDown}) {
			t.Fatalf("end of flow %d: got %+v, want ok and all bytes", i, e)
		}
	}
	_ = ln.Close()
	if left := c.Drain(t.Context()); left != 0 {
		t.Errorf("flows left: got %d, want 0", left)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("child: got %v, want nil", err)
	}
	if got := openFiles(t); got > before {
		t.Errorf("sockets and pipes: got %d, want %d as before", got, before)
	}
}

const (
	talkUp   = 700
	talkDown = 300
)

// manyPeers is the child: it does what its input says, a line each.
func manyPeers() error {
	var flows [][2]net.Conn // client, server
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var n int
		var addr string
		var err error
		switch line := lines.Text(); line {
		case "talk":
			err = everybody(flows, talk)
		case "end":
			err = everybody(flows, endInOrder)
		default:
			if _, err := fmt.Sscanf(line, "dial %d %s", &n, &addr); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			for i := range 2 * n {
				// From several addresses: connections that ended a minute ago
				// may still have the ports of one.
				from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/1000))}}
				c, err := from.Dial("tcp", addr)
				if err != nil {
					return err
				}
				if last := len(flows) - 1; last >= 0 && flows[last][1] == nil {
					flows[last][1] = c
				} else {
					flows = append(flows, [2]net.Conn{c, nil})
				}
			}
		}
		if err != nil {
			return err
		}
		fmt.Println("ok")
	}
	return nil
}

func everybody(flows [][2]net.Conn, do func(i int, client, server net.Conn) error) error {
	for i, f := range flows {
		if err := do(i, f[0], f[1]); err != nil {
			return fmt.Errorf("flow %d: %w", i, err)
		}
	}
	return nil
}

func talk(i int, client, server net.Conn) error {
	for _, way := range []struct {
		from, to net.Conn
		n        int
	}{{client, server, talkUp}, {server, client, talkDown}} {
		_ = way.to.SetReadDeadline(time.Now().Add(20 * time.Second))
		if err := send(way.from, uint64(i), way.n); err != nil {
			return err
		}
		b := make([]byte, way.n)
		if _, err := io.ReadFull(way.to, b); err != nil {
			return err
		}
		s := stream{seed: uint64(i)}
		if err := s.check(b); err != nil {
			return err
		}
	}
	return nil
}

func endInOrder(i int, client, server net.Conn) error {
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		_ = way[0].(*net.TCPConn).CloseWrite()
		if n, err := way[1].Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("end: got %d bytes, %w, want EOF", n, err)
		}
	}
	return errors.Join(client.Close(), server.Close())
}

// processTime is the processor time of this process in d of rest.
func processTime(d time.Duration) time.Duration {
	used := func() time.Duration {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	time.Sleep(d)
	return used() - before
}
