package h2_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"relay/relay/relaytest"
	"relay/transport/h2"
)

// forked is a server behind a fork, and our client of it, in memory.
func forked(t *testing.T, svc h2.Service) (client *h2.Conn, server <-chan *h2.Conn) {
	t.Helper()
	near, far := relaytest.Pipe()
	conns := make(chan *h2.Conn, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f := h2.NewFork(far, func(h2.Head) bool { return true })
		//lint:ignore SA1019 net/http takes listeners only
		new(http2.Server).ServeConn(f, &http2.ServeConnOpts{Handler: http.NotFoundHandler()})
		if b := f.Taken(); b != nil {
			c := h2.NewServer(far, b, svc)
			conns <- c
			_ = c.Serve()
		}
	}()
	client = h2.NewConn(near, chrome())
	t.Cleanup(func() { _ = client.Close(); <-done })
	return client, conns
}

// TestAhead: streams that nobody reads keep none waiting that is read: not at all while
// there is room for them, and for as long as one may be in the way when there is none.
func TestAhead(t *testing.T) {
	const upload, beside = 20 << 20, 40
	for _, tt := range []struct {
		name   string
		unread int // bytes of each stream that nobody reads
		budget int64
		most   time.Duration
	}{
		{"room", 170 << 10, 64 << 20, time.Second},
		// Each goes on when those have been reset that were in the way for ten seconds.
		{"more than one connection may hold", 1 << 20, 64 << 20, 45 * time.Second},
		{"no budget", 1 << 20, 0, 45 * time.Second},
		{"budget for some", 1 << 20, 3 << 20, 45 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := h2.NewBudget(tt.budget)
				read := make(chan int64, 1)
				var unread []*h2.Stream
				c, conns := forked(t, h2.Service{Ahead: budget, Handle: func(s *h2.Stream) {
					if s.Head().Path != "/read" {
						unread = append(unread, s)
						return
					}
					go func() {
						n, _ := io.Copy(io.Discard, s)
						_ = s.Answer(200, nil, true)
						_ = s.Close()
						read <- n
					}()
				}})
				for range beside {
					s := open(t, c, request("POST", "/"), nil, false)
					go func() { _, _ = s.Write(make([]byte, tt.unread)) }()
				}
				time.Sleep(time.Second)
				server := <-conns
				began := time.Now()
				s := open(t, c, request("POST", "/read"), nil, false)
				go func() { _, _ = s.Write(make([]byte, upload)); _ = s.CloseWrite() }()
				if n := <-read; n != upload {
					t.Errorf("read: got %d bytes, want %d", n, upload)
				}
				if took := time.Since(began); took > tt.most {
					t.Errorf("upload: took %v, want %v at most", took, tt.most)
				}
				if held := tt.budget - h2.BudgetLeft(budget); held > 8<<20+32<<10 {
					t.Errorf("held ahead: got %d, want 8 MiB at most", held)
				}
				_ = server.Close()
				synctest.Wait()
				for _, s := range unread {
					_ = s.Close()
				}
				if got := h2.BudgetLeft(budget); got != tt.budget || len(unread) != beside {
					t.Errorf("budget: got %d left behind %d streams, want %d", got, len(unread), tt.budget)
				}
			})
		})
	}
}

// TestAheadStalled: a stream is reset that was not read for ten seconds and is in the
// way of others; none that is in nobody's way, none whose bytes have just come, and
// none that has nothing to be read.
func TestAheadStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, streams := quiet()
		_, s, _ := newServed(t, 4<<20, begun(), svc)
		resets := make(chan uint32, 10)
		go func() {
			for {
				f, err := s.ReadFrame()
				if err != nil {
					return
				}
				if r, ok := f.(*http2.RSTStreamFrame); ok {
					resets <- r.StreamID
				}
			}
		}()
		one := <-streams
		for _, id := range []uint32{3, 5, 7} {
			s.ok(s.ask(id, false))
			<-streams
		}
		send := func(id uint32, n int) {
			for ; n > 0; n -= 16384 {
				s.ok(s.WriteData(id, false, make([]byte, min(n, 16384))))
			}
		}
		send(1, 700<<10)
		time.Sleep(time.Minute)
		if len(resets) != 0 {
			t.Fatalf("RST_STREAM: got one for %d while nobody is in the way, want none", <-resets)
		}
		if _, err := one.Read(make([]byte, 1)); err != nil {
			t.Fatalf("Read: got %v, want nil", err)
		}
		time.Sleep(5 * time.Second)
		send(3, 90<<10) // the window is closed to less than a quarter
		time.Sleep(4 * time.Second)
		if len(resets) != 0 {
			t.Fatalf("RST_STREAM: got one for %d before its time, want none", <-resets)
		}
		time.Sleep(3 * time.Second)
		if len(resets) != 1 || <-resets != 1 {
			t.Error("RST_STREAM: want one for the stream that was not read for ten seconds")
		}
		if _, err := one.Read(make([]byte, 1)); err == nil {
			t.Error("Read: got nil, want an error")
		}
		_ = one.Close()
		time.Sleep(time.Minute)
		if len(resets) != 0 {
			t.Errorf("RST_STREAM: got one for %d, want none when the way is free", <-resets)
		}
	})
}

// account is a client that obeys the windows, and knows them.
type account struct {
	*script
	conn    atomic.Int64
	streams map[uint32]*atomic.Int64
}

func (a *account) listen() {
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return
		}
		w, ok := f.(*http2.WindowUpdateFrame)
		if !ok {
			continue
		}
		if w.StreamID == 0 {
			a.conn.Add(int64(w.Increment))
		} else if k := a.streams[w.StreamID]; k != nil {
			k.Add(int64(w.Increment))
		}
	}
}

// TestAheadAccount: whatever streams do, and in whatever order, the window of the
// connection is what the client has been told, and when all have ended nothing of it
// and of the budget is missing.
func TestAheadAccount(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { accounts(t, mathRand(seed), int64(seed%4)*100<<10) })
	}
}

func accounts(t *testing.T, random *rand.Rand, most int64) {
	svc, streams := quiet()
	budget := h2.NewBudget(most)
	svc.Ahead = budget
	c, s, _ := newServed(t, 8<<20, begun(), svc)
	a := &account{script: s, streams: make(map[uint32]*atomic.Int64)}
	a.conn.Store(1 << 20)
	for id := uint32(1); id < 200; id += 2 {
		a.streams[id] = new(atomic.Int64)
		a.streams[id].Store(1 << 20)
	}
	go a.listen()
	open := map[uint32]*h2.Stream{1: <-streams} // by us
	sends := []uint32{1}                        // the client
	next := uint32(3)
	for range 150 {
		if random.IntN(4) == 0 && next < 200 {
			a.ok(a.ask(next, false))
			open[next] = <-streams
			sends = append(sends, next)
			next += 2
		}
		if len(sends) > 0 {
			i := random.IntN(len(sends))
			id := sends[i]
			n := int(min(a.conn.Load(), a.streams[id].Load(), int64(random.IntN(16384))))
			end := random.IntN(8) == 0
			pad := random.IntN(2) * random.IntN(200)
			if pad > 0 && n > pad+1 {
				a.ok(a.WriteDataPadded(id, end, make([]byte, n-pad-1), make([]byte, pad)))
			} else {
				a.ok(a.WriteData(id, end, make([]byte, n)))
			}
			a.conn.Add(int64(-n))
			a.streams[id].Add(int64(-n))
			if !end && random.IntN(12) == 0 {
				end = true
				a.ok(a.WriteRSTStream(id, http2.ErrCodeCancel))
			}
			if end {
				sends = append(sends[:i], sends[i+1:]...)
			}
		}
		for id, st := range open { // in any order
			switch random.IntN(6) {
			case 0:
				_ = st.SetReadDeadline(time.Now())
				_, _ = st.Read(make([]byte, random.IntN(20000)))
			case 1:
				if random.IntN(4) == 0 {
					_ = st.Close()
					delete(open, id)
				}
			}
			break
		}
		if random.IntN(5) == 0 {
			time.Sleep(time.Duration(random.IntN(6)) * time.Second)
		}
		if random.IntN(3) == 0 {
			synctest.Wait()
		}
	}
	for _, st := range open {
		_ = st.Close()
	}
	synctest.Wait()
	if err := c.Err(); err != nil {
		t.Fatalf("Err: got %v, want nil", err)
	}
	if got := c.Unread(); got != 0 {
		t.Errorf("Unread: got %d when all streams are closed, want 0", got)
	}
	if got, want := a.conn.Load(), h2.Credit(c); got != want || want < 1<<19-1 {
		t.Errorf("window: the client was told %d, and may send %d, want the same and half of it at least", got, want)
	}
	if got := h2.BudgetLeft(budget); got != most {
		t.Errorf("budget: got %d left, want %d", got, most)
	}
}
