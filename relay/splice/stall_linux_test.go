package splice_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

// held asks the one reactor of a core what it keeps.
func held(t testing.TB, c *splice.Core) (h splice.Held) {
	t.Helper()
	e := tcpEnds(t)
	defer closeBoth(e.client, e.server)
	done := make(chan struct{})
	var f splice.Flow
	joined := make(chan struct{})
	f = c.Join(e.near, e.far, splice.Limits{}, nil, func(splice.End) {
		<-joined
		h = splice.HeldBy(f)
		close(done)
	})
	close(joined)
	f.Cut(transport.Cut)
	<-done
	return h
}

// quiet waits until a core moves nothing any more.
func quiet(t testing.TB, moved func() int64) {
	t.Helper()
	last, since := moved(), time.Now()
	waitFor(t, "the flows to stall", func() bool {
		if now := moved(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 100*time.Millisecond
	})
}

// Readers that stop hold nothing in the reactor: no bytes in its pipe, hardly
// any on the heap. Others move at full speed meanwhile. Nothing is lost.
func TestStalledReaders(t *testing.T) {
	for _, p := range paths {
		if p.fake || p.portable || p.restless {
			continue
		}
		for kind, write := range map[string]int{"bulk": 64 << 10, "messages": 700} {
			t.Run(p.name+", "+kind, func(t *testing.T) { stalledReaders(t, p, write) })
		}
	}
}

func stalledReaders(t *testing.T, p path, write int) {
	// All kinds at once must stay below what the system has for TCP: short of
	// that, it drops what comes, for everybody.
	flows, most := 50, 4<<10
	if raceEnabled { // what they cost is not measured then
		flows = 20
	}
	c := p.core(0)
	c.TestingReactors(1)
	m := &meter{}
	var all []*joined
	var writers sync.WaitGroup
	sent := make([]int64, flows)
	stop := make(chan struct{})
	small := p
	small.pair = func(t testing.TB) (given, peer transport.Conn) {
		given, peer = p.pair(t)
		_ = innermost(given).SetReadBuffer(64 << 10)
		_ = innermost(given).SetWriteBuffer(64 << 10)
		return given, peer
	}
	for i := range flows {
		j := small.join(t, c, splice.Limits{}, m)
		all = append(all, j)
		// The kernel is to have memory for all of them: short of it, it takes
		// less than it says, and takes its time.
		_ = innermost(j.client).SetReadBuffer(32 << 10)
		_ = innermost(j.server).SetWriteBuffer(64 << 10)
		writers.Go(func() { sent[i] = stream1(j.server, uint64(i), write, stop) })
	}
	quiet(t, m.down.Load)
	before := m.down.Load()
	h := held(t, c)
	t.Logf("%d flows stalled after %d KiB each: %d bytes held for each, %d at most", flows, before/int64(flows)>>10, h.Rest/flows, h.Largest)
	if h.Rest/flows > most {
		t.Errorf("bytes held for a stalled flow: got %d, want at most %d", h.Rest/flows, most)
	}
	if h.Piped != 0 {
		t.Errorf("bytes in the reactor's pipe: got %d, want 0", h.Piped)
	}
	began := time.Now()
	if _, err := tcpEnds(t).transfer(c, 8<<20); err != nil {
		t.Errorf("transfer beside the stalled flows: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("transfer beside the stalled flows: took %v, want it at full speed", took)
	}
	for _, j := range all[:flows/2] {
		j.flow.Cut(transport.Cut)
		j.want(t, transport.Cut, 0, -1)
	}
	close(stop)
	var readers sync.WaitGroup
	got := make([]int, flows)
	for i, j := range all[flows/2:] {
		readers.Go(func() {
			n, err := receive(j.client, uint64(i+flows/2))
			if got[i+flows/2] = n; err != nil {
				t.Errorf("flow %d: got %v, want every byte", i, err)
			}
		})
	}
	readers.Wait()
	writers.Wait()
	for i, j := range all {
		_ = j.client.CloseWrite()
		j.close()
		if i >= flows/2 {
			if int64(got[i]) != sent[i] {
				t.Errorf("flow %d: got %d bytes, want %d", i, got[i], sent[i])
			}
			j.want(t, transport.OK, 0, sent[i])
		}
	}
	c.Drain(context.Background())
}

// stream1 writes a stream in parts until it is told to stop, and returns how
// much; then it ends it.
func stream1(w transport.Conn, seed uint64, part int, stop chan struct{}) (sent int64) {
	s, b := stream{seed: seed}, make([]byte, part)
	for {
		select {
		case <-stop:
			_ = w.CloseWrite()
			return sent
		default:
		}
		s.next(b)
		n, err := w.Write(b)
		sent += int64(n)
		if err != nil {
			return sent
		}
	}
}

// A loud flow and many quiet ones on one reactor: all get on.
func TestFairness(t *testing.T) {
	const quiets, rounds = 50, 60
	c := splice.New(0)
	c.TestingReactors(1)
	loud := tcpEnds(t)
	m := &meter{}
	end := make(chan splice.End, 1)
	f := c.Join(loud.near, loud.far, splice.Limits{}, m, func(e splice.End) { end <- e })
	var pouring sync.WaitGroup
	for _, conn := range []transport.Conn{loud.client, loud.server} {
		pouring.Go(func() { _ = pour(conn) })
		pouring.Go(func() { _ = drain(conn) })
	}
	waitFor(t, "the loud flow to begin", func() bool { return m.up.Load() > 1<<20 && m.down.Load() > 1<<20 })
	up, down, began := m.up.Load(), m.down.Load(), time.Now()
	var all sync.WaitGroup
	for i := range quiets {
		e := tcpEnds(t)
		c.Join(e.near, e.far, splice.Limits{}, nil, func(splice.End) {})
		all.Go(func() {
			defer closeBoth(e.client, e.server)
			for range rounds {
				if err := talk(i, e.client, e.server); err != nil {
					t.Errorf("quiet flow %d: got %v, want nil", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	up, down = m.up.Load()-up, m.down.Load()-down
	t.Logf("%d round trips in %v, beside %d MiB up and %d MiB down", quiets*rounds, took, up>>20, down>>20)
	if took > 20*time.Second {
		t.Errorf("quiet flows: took %v, want a few seconds at most", took)
	}
	if up < 4<<20 || down < 4<<20 {
		t.Errorf("loud flow: got %d bytes up and %d down meanwhile, want millions both ways", up, down)
	}
	f.Cut(transport.Cut)
	pouring.Wait()
	closeBoth(loud.client, loud.server)
	<-end
	c.Drain(t.Context())
}

// At rest a reactor does nothing, whatever state its flows are in.
func TestNoBusyLoop(t *testing.T) {
	for _, p := range paths {
		if p.fake || p.portable {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			c := p.core(0)
			var all []*joined
			join := func(acct splice.Account) *joined {
				j := p.join(t, c, splice.Limits{Idle: time.Hour, Fin: time.Hour}, acct)
				all = append(all, j)
				return j
			}
			m := &meter{}
			stalled := join(m)
			go func() { _ = pour(stalled.server) }()
			both := join(m)
			go func() { _ = pour(both.server) }()
			go func() { _ = pour(both.client) }()
			half := join(nil)
			_ = half.client.CloseWrite()
			if _, err := half.server.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("server: got %v, want EOF", err)
			}
			stalledHalf := join(m)
			go func() { _ = send(stalledHalf.client, 1, 8<<20); _ = stalledHalf.client.CloseWrite() }()
			paused := join(&meter{pause: time.Hour})
			_, _ = paused.client.Write(make([]byte, 100))
			if _, err := io.ReadFull(paused.server, make([]byte, 100)); err != nil {
				t.Errorf("read: got %v, want nil", err)
			}
			_, _ = paused.client.Write(make([]byte, 100))
			_ = paused.client.CloseWrite()
			// The source resets while the sink takes nothing.
			reset := join(m)
			go func() { _ = pour(reset.server) }()
			quiet(t, func() int64 { return m.down.Load() + m.up.Load() })
			_ = transport.Abort(reset.server)
			// The peer of the sink resets while the other direction pauses.
			sink := join(&meter{pause: time.Hour})
			_, _ = sink.client.Write([]byte("x"))
			_, _ = io.ReadFull(sink.server, make([]byte, 1))
			_ = transport.Abort(sink.client)
			time.Sleep(20 * time.Millisecond)
			if got := processTime(300 * time.Millisecond); got > 100*time.Millisecond {
				t.Errorf("processor time in 300 ms of rest: got %v, want next to none", got)
			}
			for _, j := range all {
				j.flow.Cut(transport.Cut)
				j.close()
				<-j.end
			}
			c.Drain(t.Context())
		})
	}
}

// Joins, cuts and resets of thousands of flows at once: each ends once, and
// nothing is left.
func TestStorm(t *testing.T) {
	const workers, each = 40, 60
	before := openFiles(t)
	c := splice.New(10 * time.Millisecond)
	var all, ended sync.WaitGroup
	for w := range workers {
		ended.Add(each)
		all.Go(func() {
			for i := range each {
				e := ends{}
				p := paths[1+(w+i)%(len(paths)-1)]
				e.near, e.client = p.pair(t)
				e.far, e.server = p.pair(t)
				lim := splice.Limits{Idle: time.Duration(i%3) * 10 * time.Millisecond}
				f := c.Join(e.near, e.far, lim, nil, func(splice.End) { ended.Done() })
				storm(f, e, w+i)
			}
		})
	}
	all.Wait()
	ended.Wait() // panics at a second call
	if got := c.Len(); got != 0 {
		// The last thing of a flow is to be counted off.
		waitFor(t, "no flow", func() bool { return c.Len() == 0 })
	}
	c.Drain(t.Context())
	if got := openFiles(t); got > before {
		t.Errorf("sockets and pipes: got %d, want %d as before", got, before)
	}
}

func storm(f splice.Flow, e ends, n int) {
	var all sync.WaitGroup
	all.Go(func() { _, _ = e.client.Write(make([]byte, 40_000)); _ = transport.Abort(e.client) })
	all.Go(func() { _, _ = e.server.Write(make([]byte, 100)); _ = transport.Abort(e.server) })
	if n%2 == 0 {
		all.Go(func() { f.Cut(transport.Cut) })
	}
	if n%3 == 0 {
		all.Go(func() { f.Cut(transport.Drained) })
	}
	all.Wait()
}

// Descriptors are used again at once: an event that was meant for a flow before
// must not reach the one that has its number, its slot, or both.
func TestDescriptorsUsedAgain(t *testing.T) {
	const workers, each = 8, 150
	c := splice.New(0)
	c.TestingReactors(1)
	var all, ended sync.WaitGroup
	for w := range workers {
		ended.Add(each)
		all.Go(func() {
			for i := range each {
				seed := uint64(w*each + i)
				e := tcpEnds(t)
				f := c.Join(e.near, e.far, splice.Limits{}, nil, func(splice.End) { ended.Done() })
				if i%3 == 0 { // ends while its events are on the way
					go func() { _, _ = e.client.Write(make([]byte, 1000)) }()
					f.Cut(transport.Cut)
					if _, err := e.server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) && err != nil {
						t.Errorf("server: got %v, want ECONNRESET", err)
					}
					closeBoth(e.client, e.server)
					continue
				}
				go func() { _ = send(e.client, seed, 3000+w); _ = e.client.CloseWrite() }()
				if n, err := receive(e.server, seed); n != 3000+w || err != nil {
					t.Errorf("flow %d: got %d bytes, %v, want %d, nil", seed, n, err, 3000+w)
				}
				closeBoth(e.client, e.server)
			}
		})
	}
	all.Wait()
	ended.Wait()
	if got := held(t, c).Slots; got > 4*workers {
		t.Errorf("slots for %d flows at a time: got %d, want them used again", workers, got)
	}
	c.Drain(t.Context())
}
