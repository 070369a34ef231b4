package splice_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

var seedFlag = flag.Uint64("seed", 0, "run the model test with this seed only")

// TestModel joins two TCP connections under random conditions and holds what
// both sides saw against what a single TCP connection would have shown them.
func TestModel(t *testing.T) {
	for _, p := range paths {
		if p.fake {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			modelOnSockets(t, p)
		})
	}
}

func modelOnSockets(t *testing.T, p path) {
	c := p.core(0)
	defer c.Drain(t.Context())
	pair := func(r *rand.Rand) (given, peer transport.Conn) {
		given, peer = p.pair(t)
		for _, conn := range []transport.Conn{given, peer} {
			tcp := innermost(conn)
			if r.IntN(2) == 0 {
				_ = tcp.SetReadBuffer(16384 << r.IntN(3))
			}
			if r.IntN(2) == 0 {
				_ = tcp.SetWriteBuffer(4096 << r.IntN(5))
			}
		}
		return given, peer
	}
	var running sync.WaitGroup
	next := make(chan uint64)
	for range 24 { // small buffers make TCP wait for its timers
		running.Go(func() {
			for seed := range next {
				runModel(t, c, seed, pair)
			}
		})
	}
	for seed := range seeds(250) {
		next <- seed
	}
	close(next)
	running.Wait()
}

func innermost(c transport.Conn) *net.TCPConn {
	for {
		l, ok := c.(interface{ Below() transport.Conn })
		if !ok {
			return c.(*net.TCPConn)
		}
		c = l.Below()
	}
}

// TestModelMemory is TestModel on the portable path, with fake time.
func TestModelMemory(t *testing.T) {
	for seed := range seeds(150) {
		inBubble(t, func(t *testing.T, c *splice.Core) {
			runModel(t, c, seed, func(r *rand.Rand) (a, b transport.Conn) {
				return relaytest.PipeSize(2000 << r.IntN(7))
			})
		})
	}
}

// seeds yields the seeds to run.
func seeds(n uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if *seedFlag != 0 {
			yield(*seedFlag)
			return
		}
		for seed := uint64(1); seed <= n && yield(seed); seed++ {
		}
	}
}

func runModel(t *testing.T, c *splice.Core, seed uint64, pair func(*rand.Rand) (a, b transport.Conn)) {
	m := newModel(seed)
	m.join(c, pair)
	m.run(t)
}

// model is one flow and the two peers around it.
type model struct {
	seed           uint64
	rnd            *rand.Rand
	client, server peer
	near, far      transport.Conn
	end            chan splice.End
}

// peer is one side: it writes a stream and reads the other side's, at its own
// pace, and may end it all with a reset.
type peer struct {
	conn     transport.Conn
	rnd      *rand.Rand
	out, in  uint64 // seeds of the streams
	size     int    // bytes to write before the half-close
	resetAt  int    // written bytes after which it resets; -1: never
	slowRead bool

	wrote, read    int
	finished       bool // CloseWrite was called
	reset          bool
	writeErr, rerr error
}

func newModel(seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 7))
	m := &model{seed: seed, rnd: r, end: make(chan splice.End, 2)}
	sizes := []int{0, 1, 100, splice.BufferSize - 1, splice.BufferSize, splice.BufferSize + 1, 3 * splice.BufferSize, 300_000}
	for i, p := range []*peer{&m.client, &m.server} {
		p.rnd = rand.New(rand.NewPCG(seed, uint64(i)))
		p.out, p.in = seed+uint64(i), seed+uint64(1-i)
		p.size = sizes[r.IntN(len(sizes))]
		if r.IntN(3) == 0 {
			p.size = r.IntN(500_000)
		}
		p.slowRead = r.IntN(4) == 0
		p.resetAt = -1
	}
	switch r.IntN(5) {
	case 0:
		m.client.resetAt = r.IntN(m.client.size + 1)
	case 1:
		m.server.resetAt = r.IntN(m.server.size + 1)
	}
	return m
}

func (m *model) join(c *splice.Core, pair func(*rand.Rand) (a, b transport.Conn)) {
	m.near, m.client.conn = pair(m.rnd)
	m.far, m.server.conn = pair(m.rnd)
	near := m.near
	if n := m.rnd.IntN(3) * 10; n > 0 && m.client.resetAt < 0 { // early bytes
		b := make([]byte, min(n, m.client.size))
		s := stream{seed: m.client.out}
		s.next(b)
		near = early{m.near, string(b)}
		m.client.wrote = len(b)
	}
	c.Join(near, m.far, splice.Limits{Idle: 20 * time.Second, Fin: 20 * time.Second}, nil, func(e splice.End) { m.end <- e })
}

func (m *model) run(t *testing.T) {
	var both sync.WaitGroup
	for _, p := range []*peer{&m.client, &m.server} {
		// Behind a window smaller than half a segment of the loopback TCP sends when a
		// timer of 200 ms lets it: on a busy machine that takes its time.
		_ = p.conn.SetDeadline(time.Now().Add(2 * time.Minute))
		both.Go(p.writeAll)
		both.Go(p.readAll)
	}
	both.Wait()
	_ = m.client.conn.Close()
	_ = m.server.conn.Close()
	e := <-m.end
	for _, err := range m.judge(e) {
		t.Errorf("seed %d: %v\nclient %v\nserver %v\nend %+v", m.seed, err, &m.client, &m.server, e)
	}
}

func (p *peer) writeAll() {
	s := stream{seed: p.out, at: uint64(p.wrote)}
	for {
		if p.resetAt >= 0 && p.wrote >= p.resetAt {
			p.reset = true
			_ = transport.Abort(p.conn)
			return
		}
		if p.wrote == p.size {
			break
		}
		left := p.size - p.wrote
		if p.resetAt >= 0 {
			left = min(left, p.resetAt-p.wrote)
		}
		b := make([]byte, min(left, 1<<p.rnd.IntN(17)))
		s.next(b)
		n, err := p.conn.Write(b)
		p.wrote += n
		if err != nil {
			p.writeErr = err
			return
		}
		p.dawdle()
	}
	p.finished = true
	if err := p.conn.CloseWrite(); err != nil {
		p.writeErr = err
	}
}

func (p *peer) readAll() {
	s, rnd := stream{seed: p.in}, rand.New(rand.NewPCG(p.in, 99))
	buf := make([]byte, 64<<10)
	for {
		n, err := p.conn.Read(buf[:1<<rnd.IntN(17)])
		if cerr := s.check(buf[:n]); cerr != nil {
			p.rerr = cerr
			return
		}
		p.read += n
		if err != nil {
			p.rerr = err
			return
		}
		if p.slowRead && rnd.IntN(20) == 0 {
			time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
		}
	}
}

func (p *peer) dawdle() {
	if p.rnd.IntN(4) == 0 {
		time.Sleep(time.Duration(p.rnd.IntN(500)) * time.Microsecond)
	}
}

func (p *peer) String() string {
	return fmt.Sprintf("size %d, reset at %d, wrote %d (%v), read %d (%v), finished %t",
		p.size, p.resetAt, p.wrote, p.writeErr, p.read, p.rerr, p.finished)
}

// judge says what is wrong.
func (m *model) judge(e splice.End) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	c, s := &m.client, &m.server
	if len(m.end) > 0 {
		fault("done: got a second call, want one")
	}
	for _, conn := range []transport.Conn{m.near, m.far} {
		if err := conn.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			fault("after the end: got an open connection (%v), want it closed", err)
		}
	}
	if e.Up < int64(s.read) || e.Up > int64(c.wrote) || e.Down < int64(c.read) || e.Down > int64(s.wrote) {
		fault("totals: got %d up and %d down, want between what was read and what was written", e.Up, e.Down)
	}
	if !c.reset && !s.reset {
		if c.rerr != io.EOF || s.rerr != io.EOF || c.writeErr != nil || s.writeErr != nil {
			fault("errors: got some, want none but io.EOF")
		}
		if c.read != s.size || s.read != c.size {
			fault("bytes: got %d at the server and %d at the client, want %d and %d", s.read, c.read, c.size, s.size)
		}
		if e != (splice.End{Status: transport.OK, Up: int64(c.size), Down: int64(s.size)}) {
			fault("end: got %+v, want ok and all bytes", e)
		}
		return faults
	}
	breaker, other, word := c, s, transport.ClientGone
	if s.reset {
		breaker, other, word = s, c, transport.TargetGone
	}
	if e.Status != word {
		fault("status: got %s, want %s", e.Status, word)
	}
	// The one who reset had not ended its stream: the other side must not
	// take what it got for all. Linux tells a reader or a writer, not both.
	if !errors.Is(other.rerr, syscall.ECONNRESET) && !errors.Is(other.writeErr, syscall.ECONNRESET) {
		fault("other side: got read error %v and write error %v, want ECONNRESET from one of them", other.rerr, other.writeErr)
	}
	if other.read > breaker.wrote {
		fault("bytes: got %d, want at most the %d written", other.read, breaker.wrote)
	}
	return faults
}
