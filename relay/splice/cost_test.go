package splice_test

import (
	"io"
	"runtime"
	"sync"
	"testing"

	"relay/relay/splice"
	"relay/transport"
)

// A message on its way through costs no allocation, and neither does bulk.
func TestMessageAllocates(t *testing.T) {
	runs := 300
	if raceEnabled { // and nothing is counted
		runs = 10
	}
	for _, p := range paths {
		if p.parking {
			continue // to begin anew takes a goroutine
		}
		for name, size := range map[string]int{"message": 300, "bulk": 256 << 10} {
			c := p.core(0)
			j := p.join(t, c, splice.Limits{}, new(meter))
			msg, buf := make([]byte, size), make([]byte, size)
			ask, asked := make(chan bool), make(chan bool)
			go func() { // a message may be larger than what is between the ends
				for range ask {
					_, _ = j.client.Write(msg)
					asked <- true
				}
			}()
			round := func() {
				ask <- true
				if _, err := io.ReadFull(j.server, buf); err != nil {
					t.Fatalf("read: got %v, want nil", err)
				}
				<-asked
				_, _ = j.server.Write(buf[:300])
				if _, err := io.ReadFull(j.client, buf[:300]); err != nil {
					t.Fatalf("read: got %v, want nil", err)
				}
			}
			got := testing.AllocsPerRun(runs, round)
			if got != 0 && !raceEnabled {
				t.Errorf("%s, %s: got %v allocations per round trip, want 0", p.name, name, got)
			}
			close(ask)
			j.close()
			<-j.end
			c.Drain(t.Context())
		}
	}
}

// An idle flow holds no buffer and no pipe. On a reactor it is one object, with
// its codecs if it has any; on the portable path two goroutines, of which each
// has a stack of 2 or 4 KiB.
func TestIdleFlowMemory(t *testing.T) {
	flows := 1000
	if raceEnabled { // and nothing is measured
		flows = 50
	}
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			most := int64(400)
			switch {
			case p.portable || p.fake:
				most = 12 << 10 // with two codecs and what they are in
			case p.name != "tcp":
				most = 4 << 10 // the codecs, and what they were in before
			}
			var pairs [][4]transport.Conn
			for range flows {
				near, client := p.pair(t)
				far, server := p.pair(t)
				pairs = append(pairs, [4]transport.Conn{client, near, far, server})
			}
			c := p.core(0)
			warm := p.join(t, c, splice.Limits{}, nil)
			before := inUse()
			var ended sync.WaitGroup
			for _, p := range pairs {
				ended.Add(1)
				c.Join(p[1], p[2], splice.Limits{}, nil, func(splice.End) { ended.Done() })
			}
			buf := make([]byte, 64<<10)
			if p.fake {
				buf = buf[:100] // the test's own network keeps what it needed once
			}
			for _, p := range pairs { // all of them have been busy once, up and down
				go func() { _, _ = p[0].Write(make([]byte, len(buf))) }()
				if _, err := io.ReadFull(p[3], buf); err != nil {
					t.Fatalf("read: got %v, want nil", err)
				}
				_, _ = p[3].Write(buf[:100])
				if _, err := io.ReadFull(p[0], buf[:100]); err != nil {
					t.Fatalf("read: got %v, want nil", err)
				}
			}
			got := (inUse() - before) / int64(flows)
			t.Logf("idle flow: %d bytes of heap and stacks", got)
			if got >= most && !raceEnabled {
				t.Errorf("memory per idle flow: got %d bytes, want less than %d", got, most)
			}
			for _, p := range pairs {
				_ = p[0].Close()
				_ = p[3].Close()
			}
			ended.Wait()
			warm.close()
			c.Drain(t.Context())
		})
	}
}

// inUse is the memory in heap objects and stacks after a collection, which
// also empties the pools.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Flows come and go by the thousand at once.
func TestChurn(t *testing.T) {
	const workers, each = 1000, 4
	c := splice.New(0)
	var ok, all sync.WaitGroup
	for w := range workers {
		ok.Add(each)
		all.Go(func() {
			for i := range each {
				near, client := paths[w%len(paths)].pair(t)
				far, server := paths[(w+i)%len(paths)].pair(t)
				c.Join(near, far, splice.Limits{}, nil, func(splice.End) { ok.Done() })
				churn(t, client, server, w)
			}
		})
	}
	all.Wait()
	ok.Wait()
	if left := c.Drain(t.Context()); left != 0 {
		t.Errorf("flows left: got %d, want 0", left)
	}
}

func churn(t *testing.T, client, server transport.Conn, w int) {
	defer client.Close()
	defer server.Close()
	size := w * 37 % 20_000
	go func() { _ = send(client, 3, size); _ = client.CloseWrite() }()
	if n, err := receive(server, 3); n != size || err != nil {
		t.Errorf("flow %d: got %d bytes, %v, want %d", w, n, err, size)
	}
	switch w % 3 {
	case 0:
		_ = transport.Abort(server)
	case 1:
		_ = client.Close()
	}
}
