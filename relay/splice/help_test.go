package splice_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// joined is a flow between a client and a server, both played by the test.
type joined struct {
	client, server transport.Conn
	flow           *splice.Flow
	end            chan splice.End // gets every call of done; there must be one
	near, far      transport.Conn
}

// kinds are the connections that a core joins: sockets, and anything else.
var kinds = map[string]func(t testing.TB) (near, client transport.Conn){
	"memory": func(testing.TB) (transport.Conn, transport.Conn) { return memoryPair() },
	"tcp":    func(t testing.TB) (transport.Conn, transport.Conn) { return tcpPair(t) },
}

func memoryPair() (a, b transport.Conn) { return relaytest.Pipe() }

// join makes a flow of two connections of a kind.
func join(t testing.TB, c *splice.Core, kind string, lim splice.Limits, acct splice.Account) *joined {
	t.Helper()
	j := &joined{end: make(chan splice.End, 2)}
	j.near, j.client = kinds[kind](t)
	j.far, j.server = kinds[kind](t)
	j.flow = c.Join(j.near, j.far, lim, acct, func(e splice.End) { j.end <- e })
	return j
}

// close ends what the test holds.
func (j *joined) close() {
	_ = j.client.Close()
	_ = j.server.Close()
}

// want checks the end of the flow; a negative number stands for any.
func (j *joined) want(t testing.TB, status transport.Status, up, down int64) splice.End {
	t.Helper()
	e := <-j.end
	if e.Status != status || up >= 0 && e.Up != up || down >= 0 && e.Down != down {
		t.Errorf("end: got %s, %d up, %d down, want %s, %d up, %d down", e.Status, e.Up, e.Down, status, up, down)
	}
	for name, c := range map[string]transport.Conn{"near": j.near, "far": j.far} {
		if err := c.SetDeadline(time.Time{}); err == nil {
			t.Errorf("%s after the end: got an open connection, want it closed", name)
		}
	}
	return e
}

// tcpPair returns the two ends of a connection on loopback.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	return dialPair(t, ln)
}

func dialPair(t testing.TB, ln *net.TCPListener) (a, b *net.TCPConn) {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	b, err = ln.AcceptTCP()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	return c.(*net.TCPConn), b
}

// stream is an endless pattern: byte i depends on i and on a seed, so that lost,
// doubled and swapped bytes are all seen.
type stream struct{ seed, at uint64 }

func (s *stream) next(b []byte) {
	for i := range b {
		x := (s.at>>3 + s.seed) * 0x9e3779b97f4a7c15
		b[i] = byte(x >> (8 * (s.at & 7)))
		s.at++
	}
}

// check compares b with the next bytes of the stream.
func (s *stream) check(b []byte) error {
	at, want := s.at, make([]byte, len(b))
	s.next(want)
	if bytes.Equal(b, want) {
		return nil
	}
	for i := range b {
		if b[i] != want[i] {
			return fmt.Errorf("byte %d: got %#x, want %#x", at+uint64(i), b[i], want[i])
		}
	}
	return nil
}

// send writes the first n bytes of a stream.
func send(w io.Writer, seed uint64, n int) error {
	s, buf := stream{seed: seed}, make([]byte, 64<<10)
	for n > 0 {
		b := buf[:min(n, len(buf))]
		s.next(b)
		m, err := w.Write(b)
		if err != nil {
			return err
		}
		n -= m
	}
	return nil
}

// receive reads to the end and checks every byte; it returns their number.
func receive(r io.Reader, seed uint64) (n int, err error) {
	s, buf := stream{seed: seed}, make([]byte, 64<<10)
	for {
		m, err := r.Read(buf)
		if cerr := s.check(buf[:m]); cerr != nil {
			return n, cerr
		}
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
