package vless

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"testing"

	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// FuzzHeader: what is accepted is an opening that can be said again, and nothing
// but the beginning of the bytes counts.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{xrayTCP, xrayName, xrayIPv6, xrayVision, xrayUDP, xrayMux, "\x00", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		if err == errShort {
			if n <= len(b) || n > addonsAt+255+1+2+1+1+255 {
				t.Errorf("more needed: got %d of %d bytes, want a bounded number beyond", n, len(b))
			}
			return
		}
		if err != nil {
			return
		}
		again, m, err := parseHeader(b[:n])
		if again != h || m != n || err != nil {
			t.Errorf("parsed again: got %+v, %d, %v, want %+v, %d", again, m, err, h, n)
		}
		for short := range n {
			if _, need, err := parseHeader(b[:short]); err != errShort || need <= short {
				t.Errorf("%d of %d bytes: got %d, %v, want more of them", short, n, need, err)
			}
		}
		if h.command == commandMux {
			return
		}
		said := appendAddress(nil, h.target)
		if to, size, err := parseAddress(said); to != h.target || size != len(said) || err != nil {
			t.Errorf("address %v: got %v, %d, %v, want it again", h.target, to, size, err)
		}
	})
}

// FuzzOpen feeds an inbound what a client says, in two segments.
func FuzzOpen(f *testing.F) {
	for _, s := range []string{xrayTCP + "payload", xrayVision, xrayUDP + xrayDatagrams, xrayMux + xraySessions, "\x00" + aliceID, "\x01", ""} {
		f.Add([]byte(s), len(s)/2)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut int) {
		if len(said) > 8<<10 {
			return
		}
		client, server := relaytest.Pipe()
		defer client.Close()
		defer server.Close()
		_, _ = client.Write(said)
		_ = client.CloseWrite()
		in := &Inbound{UUID: ids, Packets: true}
		p := transport.NewPeeked(&cutReader{Conn: server, first: min(max(1, cut), len(said))})
		req, err := in.Open(t.Context(), alice, p)
		if (req == nil) == (err == nil) {
			t.Fatalf("Open: got %v and %v, want one of them", req, err)
		}
		if err != nil {
			if !errors.Is(err, relay.ErrBadRequest) && !errors.Is(err, relay.ErrAuth) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Open: got %v, want an error that has a status word", err)
			}
			return
		}
		_, n, err := parseHeader(said)
		rest, readErr := io.ReadAll(p)
		if err != nil || readErr != nil || !bytes.Equal(rest, said[n:]) {
			t.Errorf("behind the opening: got %q, %v, %v, want %q", rest, err, readErr, said[n:])
		}
	})
}

// cutReader returns at most first bytes from its first Read.
type cutReader struct {
	transport.Conn
	first int
}

// Read implements transport.Conn.
func (c *cutReader) Read(b []byte) (int, error) {
	if c.first > 0 {
		b = b[:min(len(b), c.first)]
		c.first = 0
	}
	return c.Conn.Read(b)
}

// FuzzAddons: no panic, and a flow that is in the message.
func FuzzAddons(f *testing.F) {
	for _, s := range []string{"", "\x0a\x10xtls-rprx-vision", "\x12\x03abc\x0a\x01f", "\x21\x01\x02\x03\x04\x05\x06\x07\x08", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01f"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if flow, err := parseAddons(b); !bytes.Contains(b, []byte(flow)) || err != nil && flow != "" {
			t.Errorf("flow: got %q, %v of % x, want a part of it", flow, err, b)
		}
	})
}

// FuzzFrame: what is understood can be said again and means the same.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{xraySessions[2:14], xraySessions[25:49], xrayXUDP[2:22], end(1)[2:], "\x00\x00\x04\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		fr, err := parseFrame(b)
		if !bytes.Equal(b, before) {
			t.Fatalf("bytes: got % x, want % x as before", b, before)
		}
		if err != nil || fr.network != 0 && !fr.peer.IsValid() {
			return
		}
		said := appendFrame(nil, fr)
		if n := int(binary.BigEndian.Uint16(said)); n != len(said)-lengthSize || n > maxFrameOut {
			t.Fatalf("length: got %d in % x, want %d", n, said, len(said)-lengthSize)
		}
		if again, err := parseFrame(said[lengthSize:]); again != fr || err != nil {
			t.Errorf("again: got %+v, %v, want %+v", again, err, fr)
		}
	})
}

// FuzzMux lets a client say anything, in two segments, to targets that send back
// what they get. Whatever it says, the stream ends, and each request with it.
func FuzzMux(f *testing.F) {
	for _, s := range []string{xraySessions, xrayXUDP, xrayXUDPName, keep(7, "abc"), end(1), "\x02\x01", "\x00\x04\x00\x00\x04\x01\x00\x03abc", xraySessions + asking(300, 50)} {
		f.Add([]byte(s), len(s)/2)
		f.Add([]byte(s+s), 1)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut int) {
		if len(said) > 32<<10 {
			return
		}
		cut = min(max(0, cut), len(said))
		var c conversation
		heard := c.hold(t, said[:cut], said[cut:])
		for len(heard) > 0 {
			if _, heard = nextFrame(t, heard); t.Failed() {
				return
			}
		}
	})
}

// conversation serves a mux whose targets send back what they get, once its end has
// come; datagrams at once.
type conversation struct {
	targets sync.WaitGroup
}

// hold says the parts and returns what the client hears behind the header.
func (c *conversation) hold(t *testing.T, parts ...[]byte) (heard []byte) {
	req, client := accepted(t, &Inbound{UUID: ids, Packets: true}, xrayMux, 0)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = req.(transport.Multiplexed).Each(t.Context(), func(r transport.Request) { c.serve(t, r) })
	}()
	go func() {
		for _, p := range parts {
			if _, err := client.Write(p); err != nil {
				return
			}
		}
		_ = client.CloseWrite()
	}()
	heard, _ = io.ReadAll(client)
	_ = client.Close()
	<-over
	c.targets.Wait()
	if len(heard) > 0 {
		heard = bytes.TrimPrefix(heard, replyHeader)
	}
	return heard
}

func (c *conversation) serve(t *testing.T, r transport.Request) {
	if p, ok := r.(transport.PacketRequest); ok {
		near, err := p.AcceptPackets(t.Context())
		if err != nil {
			t.Errorf("AcceptPackets: got %v, want nil", err)
			return
		}
		c.targets.Go(func() {
			defer near.Close()
			b := make([]byte, transport.MaxPacket)
			for {
				n, peer, err := near.ReadPacket(b)
				if err != nil {
					return
				}
				_ = near.WritePacket(b[:n], peer)
			}
		})
		return
	}
	near, _, err := r.Accept(t.Context(), nil)
	if err != nil {
		t.Errorf("Accept: got %v, want nil", err)
		return
	}
	c.targets.Go(func() {
		defer near.Close()
		if all, err := io.ReadAll(near); err == nil {
			_, _ = near.Write(all)
			_ = near.CloseWrite()
		}
	})
}

// heardFrame is a frame as a client reads it.
type heardFrame struct {
	frame
	data string
}

// nextFrame takes a frame of those that a server may say from b.
func nextFrame(t *testing.T, b []byte) (h heardFrame, rest []byte) {
	t.Helper()
	bad := func() (heardFrame, []byte) {
		t.Errorf("heard: got % x, want frames", b[:min(len(b), 40)])
		return heardFrame{}, nil
	}
	if len(b) < 6 {
		return bad()
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return bad()
	}
	f, err := parseFrame(b[2:n])
	if err != nil || f.status == statusNew || f.has(optionData) != (f.status != statusEnd) {
		return bad()
	}
	h.frame, rest = f, b[n:]
	if !f.has(optionData) {
		return h, rest
	}
	if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
		return bad()
	}
	n = 2 + int(binary.BigEndian.Uint16(rest))
	h.data = string(rest[2:n])
	return h, rest[n:]
}

// FuzzConversation holds a valid conversation that the input chooses: sessions of
// both kinds whose frames come mixed and split anywhere. Everything comes back,
// behind the client's own ends, and each session ends once.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("\x00\x05\x41\x09\x02\x30\xc3\x21\x01\xff\x80\x40\x11"))
	f.Add([]byte("stream and datagrams, many of them, in a few sessions that all come back"))
	f.Add(bytes.Repeat([]byte{0x07, 0xff, 0x4b, 0xfe}, 20))
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) > 200 {
			return
		}
		const sessions = 6 // the last two are of datagrams
		var wire []byte
		var parts [][]byte
		var began [sessions]bool
		var want [sessions][]string
		peer := target(t, "192.0.2.1:53")
		for i := 0; i+1 < len(plan); i += 2 {
			id := int(plan[i]) % sessions
			size := 1 + int(plan[i+1])*int(plan[i+1])/40
			if id >= sessions-2 {
				size = 1 + size/3 // all of them fit a queue: none is dropped
			}
			data := repeat(string(plan[i:i+1]), size)
			fr := frame{id: uint16(id), status: statusKeep}
			if !began[id] {
				fr.status, fr.network, fr.peer = statusNew, networkTCP, peer
			}
			if id >= sessions-2 {
				fr.network, fr.peer = networkUDP, peer
			}
			began[id] = true
			want[id] = append(want[id], data)
			wire = append(wire, frameOf(fr, data)...)
			if plan[i]&0x80 != 0 {
				at := len(wire) * int(plan[i+1]) / 256
				parts = append(parts, wire[:at])
				wire = wire[at:]
			}
		}
		for id := range sessions {
			if began[id] {
				wire = append(wire, end(uint16(id))...)
			}
		}
		var c conversation
		compare(t, c.hold(t, append(parts, wire)...), want[:], sessions-2)
	})
}

// compare checks what a client hears: all that it has said, datagram by datagram
// from number packets on.
func compare(t *testing.T, heard []byte, want [][]string, packets int) {
	t.Helper()
	got := make([][]string, len(want))
	ends := make([]int, len(want))
	for len(heard) > 0 {
		var h heardFrame
		if h, heard = nextFrame(t, heard); t.Failed() {
			return
		}
		if int(h.id) >= len(want) || ends[h.id] > 0 || h.has(optionError) {
			t.Fatalf("heard: got %+v, want none for that session", h.frame)
		}
		if h.status == statusEnd {
			ends[h.id]++
		} else {
			got[h.id] = append(got[h.id], h.data)
		}
	}
	for id := range want {
		if id < packets {
			got[id], want[id] = joined(got[id]), joined(want[id])
		}
		// Nobody is told of the end of an association behind that of the stream.
		if !same(got[id], want[id]...) || ends[id] != min(1, len(want[id])) && id < packets {
			t.Errorf("session %d: got %d pieces and %d ends, want %d and one", id, len(got[id]), ends[id], len(want[id]))
		}
	}
}

func joined(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	var all []byte
	for _, p := range s {
		all = append(all, p...)
	}
	return []string{string(all)}
}
