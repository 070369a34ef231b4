package vless

import (
	"io"
	"testing"

	"relay/relay/relaytest"
	"relay/transport"
	"relay/transport/websocket"
)

// noted notes what is written, write by write, and where from.
type noted struct {
	transport.Conn
	writes []string
	from   []*byte
}

func (n *noted) Write(b []byte) (int, error) {
	n.writes = append(n.writes, string(b))
	if len(b) > 0 {
		n.from = append(n.from, &b[0])
	}
	return n.Conn.Write(b)
}

func (n *noted) Below() transport.Conn { return n.Conn }

func TestReply(t *testing.T) {
	client, server := relaytest.Pipe()
	defer client.Close()
	raw := &noted{Conn: server}
	p := transport.NewPeeked(raw)
	_, _ = io.WriteString(client, "early")
	if _, err := p.Peek(5); err != nil {
		t.Fatal(err)
	}
	r := newReply(p)
	if err := r.WaitRead(); err != nil {
		t.Errorf("WaitRead: got %v, want nil", err)
	}
	got := make([]byte, 8)
	for _, want := range []string{"ear", "ly", "late"} {
		if want == "late" {
			_, _ = io.WriteString(client, want)
		}
		if n, err := r.Read(got[:len(want)]); string(got[:n]) != want || err != nil {
			t.Errorf("Read: got %q, %v, want %q", got[:n], err, want)
		}
	}
	first, second := []byte("first"), []byte("second")
	for _, b := range [][]byte{first, second} {
		if n, err := r.Write(b); n != len(b) || err != nil {
			t.Errorf("Write of %q: got %d, %v, want all of it", b, n, err)
		}
	}
	if want := []string{answer + "first", "second"}; !same(raw.writes, want...) || raw.from[1] != &second[0] {
		t.Errorf("writes: got %q, want %q and the second without a copy", raw.writes, want)
	}
	if err := r.CloseWrite(); err != nil || len(raw.writes) != 2 {
		t.Errorf("CloseWrite: got %v and writes %q, want none", err, raw.writes)
	}
	if err := transport.Abort(r); err != nil {
		t.Errorf("Abort: got %v, want nil", err)
	}
	if _, err := client.Read(got); err == nil || err == io.EOF {
		t.Errorf("the client's Read after Abort: got %v, want a reset", err)
	}
}

// TestReplyDetach takes a reply apart above a WebSocket: what was read on the way comes
// in its order, and the answer once, ahead of whatever the codec is asked for first.
func TestReplyDetach(t *testing.T) {
	for name, say := range map[string]func(transport.Codec) []byte{
		"payload": func(c transport.Codec) []byte {
			wire, _ := c.Encode(nil, []byte("first"))
			wire, _ = c.Encode(wire, []byte("second"))
			return wire
		},
		"in the kernel": func(c transport.Codec) []byte {
			wire, n := c.(transport.Framer).Frame(nil, 5)
			wire = append(wire, "first"[:n]...)
			wire, n = c.(transport.Framer).Frame(wire, 6)
			return append(wire, "second"[:n]...)
		},
		"an end": func(transport.Codec) []byte { return nil },
	} {
		client, server := relaytest.Pipe()
		ws := websocket.NewClient()
		frame, _ := ws.Encode(nil, []byte("opening1"))
		_, _ = client.Write(frame)
		p := transport.NewPeeked(transport.NewCoded(server, websocket.NewServer()))
		if _, err := p.Peek(len("opening1")); err != nil {
			t.Fatal(err)
		}
		p.Discard(len("opening"))
		below, codec, unread := newReply(p).Detach()
		if below != server || string(unread) != "1" {
			t.Errorf("%s: got %T and %q unread, want the connection and what is behind the opening", name, below, unread)
		}
		wire := say(codec)
		want := answer + "firstsecond"
		if wire == nil {
			want = answer
		}
		got, err := ws.Decode(nil, codec.End(wire))
		if string(got) != want || err != io.EOF {
			t.Errorf("%s: the client got %q, %v, want %q and the end", name, got, err, want)
		}
		if _, ok := codec.(transport.Replier); !ok {
			t.Errorf("%s: pings are not answered any more", name)
		}
		_ = client.Close()
		_ = server.Close()
	}
	client, server := relaytest.Pipe()
	defer client.Close()
	r := newReply(transport.NewPeeked(server))
	if below, codec, _ := r.Detach(); below != transport.Conn(r) || codec != nil {
		t.Errorf("without a codec: got %T and %T, want the reply itself", below, codec)
	}
	_ = r.Close()
}
