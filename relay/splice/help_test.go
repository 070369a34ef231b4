package splice_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// path is one of the ways in which a core moves bytes, and the connections that
// make it take that way.
type path struct {
	name string
	// pair returns what the core is given, and the peer's end of it.
	pair     func(t testing.TB) (given, peer transport.Conn)
	portable bool // no reactor
	restless bool // reactors pass pairs to each other all the time
	parking  bool // directions without a reactor are parked all the time
	fake     bool // runs with fake time
}

// paths are what every flow has to work the same on.
var paths = []path{
	{name: "memory", pair: memoryPair, fake: true},
	{name: "tcp", pair: plainPair},
	{name: "tcp-restless", pair: plainPair, restless: true},
	{name: "tcp-portable", pair: plainPair, portable: true},
	{name: "tcp-parking", pair: plainPair, portable: true, parking: true},
	{name: "ctr", pair: ctrPair},
	{name: "records", pair: recordsPair},
	{name: "records-restless", pair: recordsPair, restless: true},
	{name: "records-portable", pair: recordsPair, portable: true},
	{name: "records-parking", pair: recordsPair, portable: true, parking: true},
}

func memoryPair(testing.TB) (given, peer transport.Conn) { return relaytest.Pipe() }

func plainPair(t testing.TB) (given, peer transport.Conn) { return tcpPair(t) }

func ctrPair(t testing.TB) (given, peer transport.Conn) { return withCTR(tcpPair(t)) }

func withCTR(a, b transport.Conn) (given, peer transport.Conn) {
	ca, cb := relaytest.CTR()
	return transport.NewCoded(a, ca), transport.NewCoded(b, cb)
}

// recordsPair has records inside of a byte-wise cipher.
func recordsPair(t testing.TB) (given, peer transport.Conn) { return withRecords(tcpPair(t)) }

func withRecords(a, b transport.Conn) (given, peer transport.Conn) {
	given, peer = withCTR(a, b)
	ra, rb := relaytest.NewRecords()
	return transport.NewCoded(given, ra), transport.NewCoded(peer, rb)
}

func (p path) core(tick time.Duration) *splice.Core {
	c := splice.New(tick)
	if p.portable {
		c.TestingReactors(0)
	}
	if p.restless {
		c.TestingRestless()
	}
	if p.parking {
		c.TestingParking()
	}
	return c
}

// harness is a path with a core on it.
type harness struct {
	path
	*splice.Core
	unit time.Duration // what the limits of a test are counted in; a tick
	t    *testing.T
}

// onEveryPath runs f with a fresh core on each path. The flows must end when f
// closes what it holds.
func onEveryPath(t *testing.T, f func(t *testing.T, h *harness)) {
	t.Helper()
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			if p.fake {
				inBubble(t, func(t *testing.T, c *splice.Core) { f(t, &harness{p, c, time.Second, t}) })
				return
			}
			t.Parallel()
			h := &harness{p, p.core(10 * time.Millisecond), 10 * time.Millisecond, t}
			f(t, h)
			h.Drain(context.Background())
		})
	}
}

// inBubble runs f with fake time and a fresh core whose tick is a second.
func inBubble(t *testing.T, f func(t *testing.T, c *splice.Core)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := splice.New(0)
		f(t, c)
		c.Drain(context.Background())
	})
}

// settle waits until what is on its way has arrived, or long enough for that.
func (h *harness) settle() {
	if h.fake {
		synctest.Wait()
		return
	}
	time.Sleep(5 * h.unit)
}

// took checks how long something took. Real time may add what a busy machine
// takes; nothing may come early.
func (h *harness) took(what string, since time.Time, least, most time.Duration) {
	h.t.Helper()
	if !h.fake {
		most += 2 * time.Second
	}
	if got := time.Since(since); got < least || got > most {
		h.t.Errorf("%s: took %v, want %v to %v", what, got, least, most)
	}
}

// joined is a flow between a client and a server, both played by the test.
type joined struct {
	client, server transport.Conn
	flow           splice.Flow
	end            chan splice.End // gets every call of done; there must be one
	near, far      transport.Conn
}

// join makes a flow.
func (h *harness) join(lim splice.Limits, acct splice.Account) *joined {
	return h.path.join(h.t, h.Core, lim, acct)
}

func (p path) join(t testing.TB, c *splice.Core, lim splice.Limits, acct splice.Account) *joined {
	t.Helper()
	j := &joined{end: make(chan splice.End, 2)}
	j.near, j.client = p.pair(t)
	j.far, j.server = p.pair(t)
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
	for len(b) > 0 {
		word := (s.at>>3 + s.seed) * 0x9e3779b97f4a7c15
		if s.at&7 == 0 && len(b) >= 8 { // the race detector makes bytes dear
			binary.LittleEndian.PutUint64(b, word)
			b = b[8:]
			s.at += 8
			continue
		}
		b[0] = byte(word >> (8 * (s.at & 7)))
		b = b[1:]
		s.at++
	}
}

// check compares b with the next bytes of the stream.
func (s *stream) check(b []byte) error {
	for len(b) > 0 {
		var want [1 << 10]byte
		at, n := s.at, min(len(b), len(want))
		if s.next(want[:n]); !bytes.Equal(b[:n], want[:n]) {
			for i := range n {
				if b[i] != want[i] {
					return fmt.Errorf("byte %d: got %#x, want %#x", at+uint64(i), b[i], want[i])
				}
			}
		}
		b = b[n:]
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

// pour writes until it cannot.
func pour(w io.Writer) (err error) {
	b := make([]byte, 100_000)
	for err == nil {
		_, err = w.Write(b)
	}
	return err
}

// drain reads until it cannot, and returns io.EOF too.
func drain(r io.Reader) (err error) {
	b := make([]byte, 100_000)
	for err == nil {
		_, err = r.Read(b)
	}
	return err
}
