package vless

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"relay/relay/relaytest"
	"relay/transport"
)

// muxed is a mux under test: its client, and what it has opened.
type muxed struct {
	t      *testing.T
	in     *Inbound
	client *relaytest.Conn
	cancel context.CancelCauseFunc
	over   chan struct{} // closed when Each has returned
	err    error         // of Each

	mu    sync.Mutex
	ends  map[string]any // near ends of the last requests, by target
	heard []byte         // what the client was told
	hung  error          // how that ended
	deaf  bool           // the client does not read
	deny  error          // the answer to requests, if any
	join  func(near transport.Conn)
}

// start serves a mux in a bubble. A client whose connection holds buffer bytes
// reads all that it is told, unless it is deaf.
func start(t *testing.T, buffer int, deaf bool, f func(m *muxed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		in := &Inbound{UUID: ids, Packets: true}
		req, client := accepted(t, in, xrayMux, buffer)
		m := &muxed{t: t, in: in, client: client, over: make(chan struct{}), ends: make(map[string]any), deaf: deaf}
		var ctx context.Context
		ctx, m.cancel = context.WithCancelCause(t.Context())
		go func() {
			defer close(m.over)
			m.err = req.(transport.Multiplexed).Each(ctx, m.open)
		}()
		if !deaf {
			go m.listen()
		}
		f(m)
		_ = client.Close()
		m.closeAll()
		<-m.over
		m.cancel(nil)
	})
}

// open accepts a request, unless it is to be denied.
func (m *muxed) open(req transport.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	to := req.Target().String()
	if req.User() != alice {
		m.t.Errorf("user: got %v, want alice", req.User())
	}
	if m.deny != nil {
		if err := req.Deny(m.deny); err != nil {
			m.t.Errorf("Deny: got %v, want nil", err)
		}
		return
	}
	if p, ok := req.(transport.PacketRequest); ok {
		near, err := p.AcceptPackets(m.t.Context())
		if err != nil {
			m.t.Errorf("AcceptPackets: got %v, want nil", err)
		}
		m.ends[to] = near
		return
	}
	near, _, err := req.Accept(m.t.Context(), nil)
	if err != nil {
		m.t.Errorf("Accept: got %v, want nil", err)
	}
	if m.join != nil {
		m.join(near)
		return
	}
	m.ends[to] = near
}

// stream is the near end of a stream to a target.
func (m *muxed) stream(to string) transport.Conn {
	m.t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.ends[to].(transport.Conn)
	if !ok {
		m.t.Fatalf("stream to %s: got none, want one", to)
	}
	return c
}

// packets is the near end of an association that began with a target.
func (m *muxed) packets(to string) transport.PacketConn {
	m.t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.ends[to].(transport.PacketConn)
	if !ok {
		m.t.Fatalf("datagrams to %s: got none, want an association", to)
	}
	return c
}

func (m *muxed) opened() int {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.ends)
}

func (m *muxed) closeAll() {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.ends {
		_ = c.(io.Closer).Close()
	}
}

func (m *muxed) listen() {
	b := make([]byte, 1<<10)
	for {
		n, err := m.client.Read(b)
		m.mu.Lock()
		m.heard = append(m.heard, b[:n]...)
		m.hung = err
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (m *muxed) say(text string) {
	m.t.Helper()
	if _, err := io.WriteString(m.client, text); err != nil {
		m.t.Fatalf("client write: got %v, want nil", err)
	}
}

// hears compares all that the client was told since it was asked last, and how its
// connection has ended, if it has.
func (m *muxed) hears(want string, hung error) {
	m.t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if string(m.heard) != want || m.hung != hung {
		m.t.Errorf("at the client: got %q, %v, want %q, %v", m.heard, m.hung, want, hung)
	}
	m.heard = m.heard[:0]
}

// reads reads what c has, which is want, and then its end, if it has one.
func (m *muxed) reads(c io.Reader, want string, end error) {
	m.t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(c, b)
	if err == nil && end != nil {
		_, err = c.Read(make([]byte, 1))
	}
	if string(b[:n]) != want || err != end {
		m.t.Errorf("towards the target: got %q, %v, want %q, %v", b[:n], err, want, end)
	}
}

// writes writes to the client's side of a session.
func (m *muxed) writes(c io.Writer, text string) {
	m.t.Helper()
	if n, err := io.WriteString(c, text); n != len(text) || err != nil {
		m.t.Errorf("to the client: got %d, %v, want %d bytes written", n, err, len(text))
	}
}

// Frames, as a client says them and hears them.

func (m *muxed) tcp(id uint16, to, data string) string {
	return frameOf(frame{id: id, status: statusNew, network: networkTCP, peer: target(m.t, to)}, data)
}

func (m *muxed) udp(id uint16, to, data string) string {
	return frameOf(frame{id: id, status: statusNew, network: networkUDP, peer: target(m.t, to)}, data)
}

func (m *muxed) datagram(id uint16, peer, data string) string {
	return frameOf(frame{id: id, status: statusKeep, network: networkUDP, peer: target(m.t, peer)}, data)
}

func keep(id uint16, data string) string { return frameOf(frame{id: id, status: statusKeep}, data) }

func end(id uint16) string { return frameOf(frame{id: id, status: statusEnd}, "") }

func wrong(id uint16) string {
	return frameOf(frame{id: id, status: statusEnd, option: optionError}, "")
}
