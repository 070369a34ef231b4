package vless

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"relay/relay/relaytest"
	"relay/transport"
)

// exit is a carrier in memory, and the exit behind it.
type exit struct {
	t      *testing.T
	buffer int
	fail   error         // of Open
	hold   chan struct{} // Open waits for it, or for its context

	mu     sync.Mutex
	firsts []string          // what each stream was opened with
	ends   []*relaytest.Conn // the exit's ends
	serve  func(c *relaytest.Conn)
	served sync.WaitGroup
}

// Open implements Carrier.
func (x *exit) Open(ctx context.Context, first []byte) (transport.Conn, error) {
	if x.hold != nil {
		select {
		case <-x.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fail != nil {
		return nil, x.fail
	}
	near, far := relaytest.PipeSize(x.buffer)
	x.firsts = append(x.firsts, string(first))
	x.ends = append(x.ends, far)
	if x.serve != nil {
		x.served.Go(func() { x.serve(far) })
	}
	if _, err := near.Write(first); err != nil {
		return nil, err
	}
	return near, nil
}

// opened compares what streams were opened with so far.
func (x *exit) opened(want ...string) {
	x.t.Helper()
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.firsts) != len(want) {
		x.t.Fatalf("streams opened: got %q, want %q", x.firsts, want)
	}
	for i := range want {
		if x.firsts[i] != want[i] {
			x.t.Errorf("stream %d opened with: got %q, want %q", i, x.firsts[i], want[i])
		}
	}
}

// end is the exit's end of the last stream.
func (x *exit) end() *relaytest.Conn {
	x.t.Helper()
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ends) == 0 {
		x.t.Fatal("streams opened: got none, want one")
	}
	return x.ends[len(x.ends)-1]
}

// dialer is alice's.
func (x *exit) dialer() *Dialer {
	d := &Dialer{Carrier: x}
	copy(d.UUID[:], aliceID)
	return d
}

// dialing runs f in a bubble with an exit that does nothing by itself.
func dialing(t *testing.T, f func(t *testing.T, x *exit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, &exit{t: t}) })
}

// echoing answers requests as an exit whose targets send back what they are sent, and
// end when they have been told the end. What they are asked for is in targets.
type echoing struct {
	in      Inbound
	mu      sync.Mutex
	targets []string
	deny    error
}

func (e *echoing) serve(c *relaytest.Conn) {
	req, err := e.in.Open(context.Background(), alice, transport.NewPeeked(c))
	if err != nil {
		_ = transport.Abort(c)
		return
	}
	e.answer(req)
}

func (e *echoing) answer(req transport.Request) {
	switch req := req.(type) {
	case transport.Multiplexed:
		_ = req.Each(context.Background(), e.answer)
	case transport.PacketRequest:
		if c, err := req.AcceptPackets(context.Background()); err == nil {
			e.echoPackets(c)
		}
	default:
		e.mu.Lock()
		e.targets = append(e.targets, req.Target().String())
		deny := e.deny
		e.mu.Unlock()
		if deny != nil {
			_ = req.Deny(deny)
			return
		}
		if c, _, err := req.Accept(context.Background(), nil); err == nil {
			echoStream(c)
		}
	}
}

func (e *echoing) echoPackets(c transport.PacketConn) {
	defer c.Close()
	b := make([]byte, transport.MaxPacket)
	for {
		n, peer, err := c.ReadPacket(b)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.targets = append(e.targets, peer.String())
		e.mu.Unlock()
		if err := c.WritePacket(b[:n], peer); err != nil {
			return
		}
	}
}

func echoStream(c transport.Conn) {
	defer c.Close()
	b := make([]byte, 4<<10)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = c.CloseWrite()
			return
		}
	}
}

// asked is what targets were asked for.
func (e *echoing) asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.targets...)
}

var errNoWay = errors.New("no way to the exit")
