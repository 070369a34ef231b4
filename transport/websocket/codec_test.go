package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"relay/transport"
)

// serverFrame is a frame as a server writes it, made anew from the RFC.
func serverFrame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, payload...)
}

func newClient() *client { return NewClient().(*client) }

func newServer() *server { return NewServer().(*server) }

func joined(parts ...[]byte) []byte { return slices.Concat(parts...) }

func TestClientDecode(t *testing.T) {
	long, huge := strings.Repeat("l", 300), strings.Repeat("h", 70_000)
	for _, tt := range []struct {
		name, want string
		wire       []byte
		err, ended error
		pong       string // "-": none
	}{
		{"nothing", "", nil, nil, nil, "-"},
		{"one message", "hello", serverFrame(0x82, "hello"), nil, nil, "-"},
		{"lengths", "a" + long + huge + "b", joined(serverFrame(0x82, "a"), serverFrame(0x82, long), serverFrame(0x82, huge), serverFrame(0x82, "b")), nil, nil, "-"},
		{"empty message", "x", joined(serverFrame(0x82, ""), serverFrame(0x82, "x")), nil, nil, "-"},
		{"in parts, with a ping between", "onetwothree", joined(serverFrame(0x02, "one"), serverFrame(0x89, "p"), serverFrame(0x00, "two"), serverFrame(0x80, "three")), nil, nil, "p"},
		{"two pings", "", joined(serverFrame(0x89, "first"), serverFrame(0x89, "second")), nil, nil, "second"},
		{"empty ping", "", serverFrame(0x89, ""), nil, nil, ""},
		{"pong that nobody asked for", "x", joined(serverFrame(0x8a, "p"), serverFrame(0x82, "x")), nil, nil, "-"},
		{"close", "x", joined(serverFrame(0x82, "x"), serverFrame(0x88, "\x03\xe8bye"), []byte("junk")), io.EOF, nil, "-"},
		{"empty close", "", serverFrame(0x88, ""), io.EOF, nil, "-"},
		{"cut in a head", "x", joined(serverFrame(0x82, "x"), []byte{0x82}), nil, errCut, "-"},
		{"cut in a length", "", []byte{0x82, 126, 0}, nil, errCut, "-"},
		{"cut in payload", "abc", serverFrame(0x82, "abcd")[:5], nil, errCut, "-"},
		{"cut in a close", "", serverFrame(0x88, "\x03\xe8")[:3], nil, errCut, "-"},
		{"text", "", serverFrame(0x81, "text"), ErrFrame, nil, "-"},
		{"unknown opcode", "", serverFrame(0x83, ""), ErrFrame, nil, "-"},
		{"reserved bit", "", serverFrame(0xc2, "x"), ErrFrame, nil, "-"},
		{"masked", "", []byte{0x82, 0x81, 1, 2, 3, 4, 'x'}, ErrFrame, nil, "-"},
		{"masked, long", "", append([]byte{0x82, 0xfe, 1, 0}, long...), ErrFrame, nil, "-"},
		{"continues nothing", "", serverFrame(0x80, "x"), ErrFrame, nil, "-"},
		{"begins within a message", "x", joined(serverFrame(0x02, "x"), serverFrame(0x82, "y")), ErrFrame, nil, "-"},
		{"ping in parts", "", serverFrame(0x09, "x"), ErrFrame, nil, "-"},
		{"long ping", "", serverFrame(0x89, strings.Repeat("p", 126)), ErrFrame, nil, "-"},
		{"longest", "", []byte{0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ErrFrame, nil, "-"},
		{"negative", "", []byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ErrFrame, nil, "-"},
	} {
		for _, step := range []int{1, 2, 3, 7, 1000, 1 << 20} {
			m, err, got := newClient(), error(nil), []byte(nil)
			for wire := tt.wire; len(wire) > 0 && err == nil; {
				n := min(step, len(wire))
				piece := bytes.Clone(wire[:n])
				got, err = m.Decode(got, piece)
				if !bytes.Equal(piece, wire[:n]) {
					t.Fatalf("%s: Decode changed its input", tt.name)
				}
				wire = wire[n:]
			}
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%s, %d at a time: got %.40q, %v, want %.40q, %v", tt.name, step, got, err, tt.want, tt.err)
			}
			if err == nil && !errors.Is(m.Ended(), tt.ended) {
				t.Errorf("%s, %d at a time: Ended: got %v, want %v", tt.name, step, m.Ended(), tt.ended)
			}
			pong := "-"
			if m.ReplyDue() {
				pong = clientFrames(t, m.Reply(nil))[0x8a]
			}
			if pong != tt.pong || m.ReplyDue() {
				t.Errorf("%s, %d at a time: got pong %q, want %q", tt.name, step, pong, tt.pong)
			}
		}
	}
}

// clientFrames reads what a client has written: the payloads by first byte. It
// demands masks.
func clientFrames(t *testing.T, wire []byte) map[byte]string {
	t.Helper()
	r, all := bytes.NewReader(wire), make(map[byte]string)
	for r.Len() > 0 {
		first, payload, err := readMasked(r)
		if err != nil {
			t.Fatalf("a client's frames: got %v", err)
		}
		all[first] += payload
	}
	return all
}

// readMasked reads a client's frame, by the RFC and by nothing in this package.
func readMasked(r io.Reader) (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	if head[1] < 128 {
		return 0, "", errors.New("not masked")
	}
	length := uint64(head[1] - 128)
	if size := map[uint64]int{126: 2, 127: 8}[length]; size > 0 {
		long := make([]byte, 8)
		if _, err := io.ReadFull(r, long[8-size:]); err != nil {
			return 0, "", err
		}
		length = binary.BigEndian.Uint64(long)
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return 0, "", err
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	for i := range b {
		b[i] ^= mask[i%4]
	}
	return head[0], string(b), err
}

func TestClientEncode(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 65535, 65536, 100_001} {
		m, payload := newClient(), strings.Repeat("payload ", 20_000)[:n]
		wire, err := m.Encode([]byte("before"), []byte(payload))
		if err != nil || !bytes.HasPrefix(wire, []byte("before")) {
			t.Fatalf("Encode of %d bytes: got %.6q, %v", n, wire, err)
		}
		if got := clientFrames(t, wire[len("before"):])[0x82]; got != payload {
			t.Errorf("Encode of %d bytes: got %d that differ", n, len(got))
		}
		if n > 8 && bytes.Contains(wire, []byte(payload)) {
			t.Errorf("Encode of %d bytes: got them in clear, want a mask", n)
		}
	}
	if got := clientFrames(t, newClient().End(nil)); got[0x88] != "\x03\xe8" || len(got) != 1 {
		t.Errorf("End: got %q, want a close frame with 1000", got)
	}
}

// FuzzClient takes a server's bytes whole, and in pieces: the payload, the end
// and the pong are the same.
func FuzzClient(f *testing.F) {
	f.Add(joined(serverFrame(0x02, "one"), serverFrame(0x89, "p"), serverFrame(0x80, "two"), serverFrame(0x88, "")), uint8(1))
	f.Add(serverFrame(0x82, strings.Repeat("l", 300)), uint8(250))
	f.Add([]byte{0x82, 127, 0xff, 0xff}, uint8(3))
	f.Fuzz(func(t *testing.T, wire []byte, step uint8) {
		whole, parts := newClient(), newClient()
		want, wantErr := whole.Decode(nil, wire)
		var got []byte
		var err error
		for rest := wire; len(rest) > 0 && err == nil; {
			n := min(int(step)+1, len(rest))
			got, err = parts.Decode(got, rest[:n])
			rest = rest[n:]
		}
		if !bytes.Equal(got, want) || !errors.Is(err, wantErr) || !bytes.Equal(parts.pong, whole.pong) {
			t.Errorf("in pieces: got %d bytes, %v, pong %q, want %d, %v, %q", len(got), err, parts.pong, len(want), wantErr, whole.pong)
		}
		if err == nil && !errors.Is(parts.Ended(), whole.Ended()) {
			t.Errorf("Ended: got %v, want %v", parts.Ended(), whole.Ended())
		}
		if len(want) > len(wire) || cap(parts.control) > 4*maxControl {
			t.Errorf("got %d bytes of payload and %d held, from %d", len(want), cap(parts.control), len(wire))
		}
	})
}

// clientFrame is a frame as a client writes it, made anew from the RFC.
func clientFrame(first byte, key, payload string) []byte {
	b := serverFrame(first, payload)
	n := len(b) - len(payload)
	b[1] |= 0x80
	masked := []byte(payload)
	for i := range masked {
		masked[i] ^= key[i%4]
	}
	return slices.Concat(b[:n], []byte(key), masked)
}

func TestServerDecode(t *testing.T) {
	long := strings.Repeat("a long message ", 5000)
	for _, tt := range []struct {
		name, want string
		wire       []byte
		err        error
		pong       string // "-": none
	}{
		{"nothing", "", nil, nil, "-"},
		{"messages", "hello" + long + "!", joined(clientFrame(0x82, "abcd", "hello"), clientFrame(0x82, "\xff\x00\x80\x7f", long), clientFrame(0x82, "wxyz", "!")), nil, "-"},
		{"in parts, with a ping between", "onetwo", joined(clientFrame(0x02, "1234", "one"), clientFrame(0x89, "5678", "are you there"), clientFrame(0x80, "9abc", "two")), nil, "are you there"},
		{"close", "x", joined(clientFrame(0x82, "1234", "x"), clientFrame(0x88, "1234", "\x03\xe8")), io.EOF, "-"},
		{"not masked", "", serverFrame(0x82, "x"), ErrFrame, "-"},
		{"text", "", clientFrame(0x81, "1234", "x"), ErrFrame, "-"},
		{"continues nothing", "", clientFrame(0x80, "1234", "x"), ErrFrame, "-"},
	} {
		for _, step := range []int{1, 2, 3, 5, 7, 13, 1000, 1 << 20} {
			s, err, got := newServer(), error(nil), []byte("kept")
			for wire := tt.wire; len(wire) > 0 && err == nil; {
				n := min(step, len(wire))
				piece := bytes.Clone(wire[:n])
				got, err = s.Decode(got, piece)
				if !bytes.Equal(piece, wire[:n]) {
					t.Fatalf("%s: Decode changed its input", tt.name)
				}
				wire = wire[n:]
			}
			if string(got) != "kept"+tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%s, %d at a time: got %.40q, %v, want %.40q, %v", tt.name, step, got, err, tt.want, tt.err)
			}
			pong := "-"
			if s.ReplyDue() {
				pong = string(s.Reply(nil))
				if want := string(serverFrame(0x8a, tt.pong)); pong != want {
					t.Errorf("%s: pong: got %q, want %q", tt.name, pong, want)
				}
				pong = tt.pong
			}
			if pong != tt.pong || s.ReplyDue() {
				t.Errorf("%s, %d at a time: got pong %q, want %q", tt.name, step, pong, tt.pong)
			}
		}
	}
}

// TestBothSides has each side read what the other writes.
func TestBothSides(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 65537, 300_001} {
		payload := []byte(strings.Repeat("payload ", 40_000)[:n])
		for _, sides := range [][2]transport.Codec{{NewClient(), NewServer()}, {NewServer(), NewClient()}} {
			wire, err := sides[0].Encode(nil, payload)
			if err != nil {
				t.Fatal(err)
			}
			got, err := sides[1].Decode(nil, sides[0].End(wire))
			if !bytes.Equal(got, payload) || err != io.EOF {
				t.Errorf("%d bytes from %T: got %d, %v", n, sides[0], len(got), err)
			}
		}
	}
}

// FuzzServer is FuzzClient for what clients send.
func FuzzServer(f *testing.F) {
	f.Add(joined(clientFrame(0x02, "1234", "one"), clientFrame(0x89, "5678", "p"), clientFrame(0x80, "9abc", "two"), clientFrame(0x88, "defg", "")), uint8(1))
	f.Add(clientFrame(0x82, "1234", strings.Repeat("l", 300)), uint8(250))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff}, uint8(3))
	f.Fuzz(func(t *testing.T, wire []byte, step uint8) {
		whole, parts := newServer(), newServer()
		want, wantErr := whole.Decode(nil, wire)
		var got []byte
		var err error
		for rest := wire; len(rest) > 0 && err == nil; {
			n := min(int(step)+1, len(rest))
			got, err = parts.Decode(got, rest[:n])
			rest = rest[n:]
		}
		if !bytes.Equal(got, want) || !errors.Is(err, wantErr) || !bytes.Equal(parts.pong, whole.pong) {
			t.Errorf("in pieces: got %d bytes, %v, pong %q, want %d, %v, %q", len(got), err, parts.pong, len(want), wantErr, whole.pong)
		}
		if len(want) > len(wire) || cap(parts.control) > 4*maxControl {
			t.Errorf("got %d bytes of payload and %d held, from %d", len(want), cap(parts.control), len(wire))
		}
	})
}

// TestFlood has pings without end, which a peer that keeps payload back sends; some
// between payload are what every peer may send.
func TestFlood(t *testing.T) {
	c := newClient()
	ping := serverFrame(0x89, "x")
	for range mostEmpty {
		if _, err := c.Decode(nil, ping); err != nil {
			t.Fatalf("got %v, want nil", err)
		}
	}
	if got, err := c.Decode(nil, serverFrame(0x82, "payload")); err != nil || string(got) != "payload" {
		t.Fatalf("got %q and %v, want the payload", got, err)
	}
	var err error
	for range mostEmpty + 1 {
		_, err = c.Decode(nil, ping)
	}
	if !errors.Is(err, ErrFrame) {
		t.Errorf("got %v after %d pings, want %v", err, mostEmpty+1, ErrFrame)
	}
}
