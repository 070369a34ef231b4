package splice_test

import (
	"net"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

// A flow that joins while the reactor waits for the far deadline of another has
// its own time-out all the same.
func TestTimeoutOfLateJoiner(t *testing.T) {
	t.Parallel()
	const tick = 20 * time.Millisecond
	c := splice.New(tick)
	c.TestingReactors(1)
	slow := paths[1].join(t, c, splice.Limits{Idle: 60 * tick}, nil)
	defer slow.close()
	held(t, c) // the reactor has taken it
	time.Sleep(2 * tick)
	began := time.Now()
	quick := paths[1].join(t, c, splice.Limits{Idle: 5 * tick}, nil)
	defer quick.close()
	quick.want(t, transport.Timeout, 0, 0)
	if took := time.Since(began); took < 5*tick || took > 40*tick {
		t.Errorf("idle time-out: took %v, want %v and little more", took, 5*tick)
	}
	slow.want(t, transport.Timeout, 0, 0)
	c.Drain(t.Context())
}

// Flows that wait for a processor have time-outs by what has arrived, not by
// what has been read.
func TestTimeoutsUnderLoad(t *testing.T) {
	t.Parallel()
	const tick = 10 * time.Millisecond
	c := splice.New(tick)
	c.TestingReactors(1)
	j := paths[1].join(t, c, splice.Limits{Idle: 30 * tick}, nil)
	defer j.close()
	if err := talk(1, j.client.(*net.TCPConn), j.server.(*net.TCPConn)); err != nil {
		t.Fatalf("talk: got %v, want nil", err)
	}
	// Somebody's accounting takes its time, and the byte arrives meanwhile.
	busy := make(chan struct{})
	e := tcpEnds(t)
	f := c.Join(e.near, e.far, splice.Limits{}, nil, func(splice.End) {
		close(busy)
		time.Sleep(60 * tick)
	})
	f.Cut(transport.Cut)
	<-busy
	_, _ = j.client.Write([]byte("x"))
	_ = j.server.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := j.server.Read(make([]byte, 1)); err != nil {
		t.Errorf("byte that came in time: got %v, want it delivered", err)
	}
	closeBoth(e.client, e.server)
	j.want(t, transport.Timeout, -1, -1)
	c.Drain(t.Context())
}
