package splice_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// A layer that has decoded ahead hands over payload; one below it that has read
// ahead hands over what the outer ones still have to decode.
func TestEarlyBytesBelowCodecs(t *testing.T) {
	onEveryPath(t, func(t *testing.T, h *harness) {
		given, peer := memoryPair(t)
		if !h.fake {
			given, peer = plainPair(t)
		}
		ours, theirs := relaytest.NewRecords()
		client := transport.NewCoded(peer, theirs)
		_, _ = client.Write([]byte("one, decoded; "))
		coded := transport.NewCoded(given, ours)
		if err := coded.WaitRead(); err != nil {
			t.Fatalf("WaitRead: got %v, want nil", err)
		}
		_, _ = client.Write([]byte("two, read; "))
		wire := make([]byte, 100)
		n, err := given.Read(wire)
		if err != nil {
			t.Fatalf("read: got %v, want nil", err)
		}
		coded.Conn = early{given, string(wire[:n])}
		far, server := h.pair(t)
		defer server.Close()
		end := make(chan splice.End, 1)
		h.Join(coded, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		_, _ = client.Write([]byte("three"))
		_ = client.CloseWrite()
		if got, err := io.ReadAll(server); string(got) != "one, decoded; two, read; three" || err != nil {
			t.Errorf("received: got %q, %v, want all three parts in order", got, err)
		}
		_ = server.CloseWrite()
		if got, err := io.ReadAll(client); len(got) != 0 || err != nil {
			t.Errorf("client: got %q, %v, want the end", got, err)
		}
		_ = client.Close()
		if e := <-end; e.Up != 30 || e.Status != transport.OK {
			t.Errorf("end: got %+v, want ok and 30 bytes up", e)
		}
	})
}

// A peer that ends its wire in the middle of what its codec says has broken off.
func TestWireEndsTooEarly(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := path{portable: portable}.core(0)
		given, peer := tcpPair(t)
		ours, theirs := relaytest.NewRecords()
		far, server := tcpPair(t)
		end := make(chan splice.End, 1)
		c.Join(transport.NewCoded(given, ours), far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		wire, _ := theirs.Encode(nil, []byte("whole, but not the end"))
		_, _ = peer.Write(wire)
		if _, err := io.ReadFull(server, make([]byte, 22)); err != nil {
			t.Errorf("read: got %v, want what was whole", err)
		}
		_ = peer.CloseWrite()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("server: got %v, want ECONNRESET", err)
		}
		if e := <-end; e != (splice.End{Status: transport.ClientGone, Up: 22}) {
			t.Errorf("end: got %+v, want client_gone and 22 bytes up", e)
		}
		_ = peer.Close()
		_ = server.Close()
		c.Drain(t.Context())
	}
}

// Nonsense on the wire ends the flow with a reset, and what was sent before it
// has arrived.
func TestNonsenseOnTheWire(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := path{portable: portable}.core(0)
		given, peer := tcpPair(t)
		ours, theirs := relaytest.NewRecords()
		far, server := tcpPair(t)
		end := make(chan splice.End, 1)
		c.Join(transport.NewCoded(given, ours), far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		wire, _ := theirs.Encode(nil, []byte("hello"))
		_, _ = peer.Write(append(wire, bytes.Repeat([]byte{0, 17}, 30)...))
		if e := <-end; e != (splice.End{Status: transport.ClientGone, Up: 5}) {
			t.Errorf("end: got %+v, want client_gone and 5 bytes up", e)
		}
		if err := drain(peer); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("peer: got %v, want ECONNRESET", err)
		}
		_ = peer.Close()
		_ = server.Close()
		c.Drain(t.Context())
	}
}

// A codec answers by itself, in between the payload of the other direction, and
// a peer that asks without reading is not answered without bound.
func TestReplies(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := path{portable: portable}.core(0)
		given, peer := tcpPair(t)
		_ = given.SetWriteBuffer(4096)
		ours, theirs := relaytest.NewRecords()
		far, server := tcpPair(t)
		end := make(chan splice.End, 1)
		c.Join(transport.NewCoded(given, ours), far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		const pings = 20_000 // 380 kB of them, and as much of answers
		pinged := make(chan error, 1)
		go func() {
			var err error
			for range pings {
				if _, err = peer.Write(theirs.Ping(nil)); err != nil {
					break
				}
			}
			pinged <- err
		}()
		go func() { _ = send(server, 4, 1_000_000); _ = server.CloseWrite() }()
		time.Sleep(50 * time.Millisecond)
		client := transport.NewCoded(peer, theirs)
		read := make(chan error, 1)
		go func() {
			n, err := receive(client, 4)
			if n != 1_000_000 {
				t.Errorf("payload: got %d bytes, want 1000000", n)
			}
			read <- err
		}()
		if err := <-pinged; err != nil {
			t.Errorf("write: got %v, want nil", err)
		}
		if err := <-read; err != nil {
			t.Errorf("read: got %v, want nil", err)
		}
		// Once the payload has ended, so have the answers.
		if got := theirs.Ponged.Load(); got == 0 || got > pings {
			t.Errorf("answers: got %d, want some of %d", got, pings)
		}
		_ = client.CloseWrite()
		if n, err := receive(server, 0); n != 0 || err != nil {
			t.Errorf("server: got %d bytes, %v, want the end", n, err)
		}
		closeBoth(client, server)
		if e := <-end; e != (splice.End{Status: transport.OK, Down: 1_000_000}) {
			t.Errorf("end: got %+v, want ok and 1000000 bytes down", e)
		}
		c.Drain(t.Context())
	}
}

// What the inner codec made of the wire before a fault is payload only after
// the outer codecs have seen it.
func TestNonsenseBelowCodecs(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := path{portable: portable}.core(0)
		given, peer := tcpPair(t)
		inner, innerPeer := relaytest.NewRecords()
		outer, outerPeer := relaytest.NewRecords()
		far, server := tcpPair(t)
		end := make(chan splice.End, 1)
		c.Join(transport.NewCoded(transport.NewCoded(given, inner), outer), far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		wire, _ := outerPeer.Encode(nil, []byte("hello"))
		wire, _ = innerPeer.Encode(nil, wire)
		_, _ = peer.Write(append(wire, make([]byte, 30)...))
		got := make([]byte, 100)
		n, _ := server.Read(got)
		if string(got[:n]) != "hello" && n > 0 {
			t.Errorf("portable %v: server got %q, want hello", portable, got[:n])
		}
		if e := <-end; e != (splice.End{Status: transport.ClientGone, Up: 5}) {
			t.Errorf("portable %v: got %+v, want client_gone and 5 bytes up", portable, e)
		}
		closeBoth(peer, server)
		c.Drain(t.Context())
	}
}

// A layer that has seen the end of its payload before the flow begins passes it
// on, though the wire below has not ended.
func TestEndedBeforeJoin(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := path{portable: portable}.core(0)
		given, peer := tcpPair(t)
		ours, theirs := relaytest.NewRecords()
		far, server := tcpPair(t)
		wire, _ := theirs.Encode(nil, []byte("all"))
		_, _ = peer.Write(theirs.End(wire))
		coded := transport.NewCoded(given, ours)
		if err := coded.WaitRead(); err != nil {
			t.Fatalf("WaitRead: got %v, want nil", err)
		}
		end := make(chan splice.End, 1)
		c.Join(coded, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
		if got, err := io.ReadAll(server); string(got) != "all" || err != nil {
			t.Errorf("server: got %q, %v, want all of it and the end", got, err)
		}
		_ = server.Close()
		if e := <-end; e != (splice.End{Status: transport.OK, Up: 3}) {
			t.Errorf("end: got %+v, want ok and 3 bytes up", e)
		}
		_ = peer.Close()
		c.Drain(t.Context())
	}
}

// A ping that was read before the flow began is answered when it begins.
func TestReplyDueBeforeJoin(t *testing.T) {
	for _, portable := range []bool{false, true} {
		c := path{portable: portable}.core(0)
		given, peer := tcpPair(t)
		ours, theirs := relaytest.NewRecords()
		far, server := tcpPair(t)
		wire, _ := theirs.Encode(nil, []byte("one"))
		end := make(chan splice.End, 1)
		// A layer below has read ahead.
		c.Join(transport.NewCoded(early{given, string(theirs.Ping(wire))}, ours), far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		if _, err := io.ReadFull(server, make([]byte, 3)); err != nil {
			t.Errorf("server: got %v, want nil", err)
		}
		_ = peer.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := peer.Read(make([]byte, 100)); err != nil {
			t.Errorf("portable %v: answer to a ping: got %v, want it", portable, err)
		}
		closeBoth(peer, server)
		<-end
		c.Drain(t.Context())
	}
}

// passing is a codec that is not to be asked on the way out.
type passing struct{ transport.Codec }

func (passing) PassesOut() bool                    { return true }
func (passing) Encode(_, _ []byte) ([]byte, error) { return nil, errors.New("asked") }
func (passing) End(dst []byte) []byte              { return dst }

// A codec that leaves payload as it is on the way out is passed over, also where
// others are around it.
func TestPassingCodec(t *testing.T) {
	onEveryPath(t, func(t *testing.T, h *harness) {
		given, peer := memoryPair(t)
		if !h.fake {
			given, peer = plainPair(t)
		}
		ours, theirs := relaytest.NewRecords()
		below, above := relaytest.NewRecords()
		client := transport.NewCoded(peer, theirs)
		inner := transport.NewCoded(client, above)
		coded := transport.NewCoded(transport.NewCoded(given, ours), passing{below})
		far, server := h.pair(t)
		defer server.Close()
		end := make(chan splice.End, 1)
		h.Join(coded, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
		_, _ = inner.Write([]byte("up"))
		got := make([]byte, 2)
		if _, err := io.ReadFull(server, got); string(got) != "up" || err != nil {
			t.Errorf("up: got %q, %v, want up", got, err)
		}
		_, _ = server.Write([]byte("down"))
		_ = server.CloseWrite()
		if got, err := io.ReadAll(client); string(got) != "down" || err != nil {
			t.Errorf("down: got %q, %v, want down in the outer records alone", got, err)
		}
		_ = inner.CloseWrite()
		if e := <-end; e.Up != 2 || e.Down != 4 {
			t.Errorf("end: got %+v, want 2 bytes up and 4 down", e)
		}
		_ = client.Close()
	})
}
