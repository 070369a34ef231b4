package splice_test

import (
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// loadEnv is where the child of BenchmarkCPU finds the test.
const loadEnv = "SPLICE_TEST_LOAD"

// load is the child: it pours bytes into its first connection and takes what
// comes out of its second, until that ends.
func load() error {
	var conns [2]net.Conn
	for i := range conns {
		c, err := net.Dial("tcp", os.Getenv(loadEnv))
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
	}
	go func() { _ = pour(conns[0]) }()
	_, _ = io.Copy(io.Discard, conns[1])
	return nil
}

// BenchmarkCPU is what a GiB costs this process, in seconds of CPU, while the
// peers are another one: plain, with AES-256-CTR on the client's side, and with
// one on each side.
func BenchmarkCPU(b *testing.B) {
	for name, sides := range map[string]int{"plain": 0, "ctr": 1, "ctr-both-sides": 2} {
		b.Run(name, func(b *testing.B) { benchmarkCPU(b, sides) })
	}
}

func benchmarkCPU(b *testing.B, sides int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	child := task("load")
	child.Env = append(child.Env, loadEnv+"="+ln.Addr().String())
	if err := child.Start(); err != nil {
		b.Fatalf("child: got %v, want nil", err)
	}
	var ends [2]transport.Conn
	for i := range ends {
		c, err := ln.Accept()
		if err != nil {
			b.Fatalf("accept: got %v, want nil", err)
		}
		ends[i] = c.(*net.TCPConn)
		if i < sides {
			ctr, _ := relaytest.CTR()
			ends[i] = transport.NewCoded(ends[i], ctr)
		}
	}
	m := new(meter)
	c := splice.New(0)
	flow := c.Join(ends[0], ends[1], splice.Limits{}, m, nil)
	const step = 64 << 20
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	began, want := m.up.Load(), m.up.Load()
	for b.Loop() {
		want += step
		waitFor(b, "a step of the load", func() bool { return m.up.Load() >= want })
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	moved := m.up.Load() - began
	cpu := float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 1e9
	b.ReportMetric(cpu/(float64(moved)/(1<<30)), "cpu-s/GiB")
	b.SetBytes(step)
	flow.Cut(transport.Cut)
	c.Drain(b.Context())
	_ = child.Wait()
}
