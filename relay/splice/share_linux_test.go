package splice

import (
	"context"
	"net"
	"testing"
	"time"

	"relay/transport"
)

// TestJudge is who gives pairs to whom, by how much the reactors are awake and
// how much of that time they had a processor.
func TestJudge(t *testing.T) {
	const first, second, third = 0, 1, 2
	for _, c := range []struct {
		name  string
		awake []int32 // percent, by reactor
		judge int
		used  int64 // percent of one processor
		want  int   // -1: nobody
	}{
		{"alone", []int32{100}, first, 100, -1},
		{"little to do", []int32{30, 0}, first, 30, -1},
		{"rush, a free processor", []int32{90, 0}, first, 90, second},
		{"rush, others want the processors", []int32{90, 0}, first, 60, -1},
		{"rush, all are busy", []int32{100, 70}, first, 170, -1},
		{"rush, one of the others has time", []int32{100, 90, 20}, first, 210, third},
		{"rush, more wanted than there is", []int32{100, 90, 20}, first, 150, -1},
		{"the rush is over", []int32{20, 10}, second, 30, first},
		{"the rush goes on", []int32{70, 10}, second, 80, -1},
		{"too much for one", []int32{30, 30}, second, 60, -1},
		{"second has its own rush", []int32{20, 95}, second, 115, first},
	} {
		core := New(0)
		now := int64(time.Minute)
		for _, percent := range c.awake {
			r := &reactor{core: core, now: now, pairs: make([]*pair, 64)}
			r.load.percent.Store(percent)
			r.load.at.Store(now - int64(window))
			core.reactors = append(core.reactors, r)
		}
		got, want := -1, c.want
		to, give := core.reactors[c.judge].judge(c.used)
		for i, r := range core.reactors {
			if r == to {
				got = i
			}
		}
		if got != want || give > 0 != (want >= 0) {
			t.Errorf("%s: got %d pairs to reactor %d, want it to be %d", c.name, give, got, want)
		}
		if want == first && c.awake[first]+c.awake[c.judge] < calm && give != 64 {
			t.Errorf("%s: got %d pairs to go home, want all", c.name, give)
		}
	}
}

// TestJudgeForgets: a reactor that has not said anything for long sleeps.
func TestJudgeForgets(t *testing.T) {
	var l load
	l.percent.Store(100)
	l.at.Store(int64(time.Second))
	if got := l.of(int64(time.Second + window)); got != 100 {
		t.Errorf("load a window later: got %d, want 100", got)
	}
	if got := l.of(int64(time.Minute)); got != 0 {
		t.Errorf("load a minute later: got %d, want 0", got)
	}
}

// giver makes the reactor that a flow is on give it away once.
type giver struct {
	flow chan *pair
	done bool
}

func (*giver) Limited() bool { return false }

func (g *giver) Moved(bool, int) time.Duration {
	if !g.done {
		g.done = true
		p := <-g.flow
		r := p.r.Load()
		r.share.to, r.share.give = r.core.reactors[1], 1
	}
	return 0
}

// A pair that was given away in a rush goes home when it is over, and loses
// nothing on its way.
func TestPairComesHome(t *testing.T) {
	c := New(0)
	c.size = 2
	near, client := pairOfTCP(t)
	far, server := pairOfTCP(t)
	g := &giver{flow: make(chan *pair, 1)}
	p, ok := c.Join(near, far, Limits{}, g, nil).(*pair)
	if !ok {
		t.Fatal("join: got a portable flow, want one on a reactor")
	}
	g.flow <- p
	home := p.r.Load()
	message := func() {
		t.Helper()
		if _, err := client.Write([]byte("m")); err != nil {
			t.Fatalf("write: got %v, want nil", err)
		}
		b := make([]byte, 1)
		_ = server.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := server.Read(b); err != nil || b[0] != 'm' {
			t.Fatalf("read: got %q, %v, want the message", b, err)
		}
	}
	message()
	wait := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: got nothing of the kind in a minute, want it", what)
			}
			if what == "home" {
				message()
			}
		}
	}
	wait("away", func() bool { return p.r.Load() != home })
	wait("home", func() bool { return p.r.Load() == home })
	message()
	client.Close()
	server.Close()
	if cut := c.Drain(context.Background()); cut != 0 {
		t.Errorf("drain: got %d flows cut, want none", cut)
	}
}

func pairOfTCP(t *testing.T) (given transport.Conn, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	peer, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	t.Cleanup(func() { peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	return c.(*net.TCPConn), peer
}
