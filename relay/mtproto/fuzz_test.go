package mtproto

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// FuzzOpen feeds arbitrary bytes of a client, in two segments, to both kinds of
// inbound: a request or an error, nothing written, and on the wire nothing
// taken, and nothing waited for, from whoever is not ours; inside, not a byte
// behind the frame. Bytes that follow the seed are made a real frame's.
func FuzzOpen(f *testing.F) {
	keys := ring(2)
	for i, tag := range []uint32{tagPadded, tagAbridged, tagIntermediate, 0} {
		f.Add(append(frameOnly(byte(i), keys.key("alice"), tag, 2), "payload"...), 64+i, false)
		f.Add(frameOnly(byte(i), nil, tag, -2), i, true)
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: something longer\r\n\r\n"), 3, true)
	f.Add([]byte{}, 0, false)
	f.Fuzz(func(t *testing.T, text []byte, cut int, real bool) {
		if len(text) > 8<<10 {
			return
		}
		if real && len(text) >= frameSize {
			copy(text[tagAt:], xored(ciphers(text, keys.key("alice")).forth, string(text[:frameSize]))[tagAt:])
		}
		cut = min(max(0, cut), len(text))
		for _, in := range []*Inbound{wire(keys), inside(keys)} {
			client, server := relaytest.Pipe()
			_, _ = client.Write(text)
			_ = client.CloseWrite()
			w := &written{Conn: &cutReader{Conn: server, first: cut}}
			p := transport.NewPeeked(w)
			first, _ := p.Peek(1)
			before, verdict := w.reads, in.Match(first)
			req, err := in.Open(t.Context(), auth.User{}, p)
			if (req == nil) == (err == nil) || w.writes > 0 {
				t.Fatalf("Open: got %v, %v, %d writes, want a request or an error, and none", req, err, w.writes)
			}
			switch {
			case !in.Inside && (w.reads != before || err != nil && err != transport.ErrNotOurs || err == nil && verdict != relay.Yes):
				t.Errorf("on the wire: got %d reads, verdict %d, %v, want none and only what was claimed", w.reads-before, verdict, err)
			case in.Inside && err != nil && !errors.Is(err, relay.ErrBadRequest) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("inside: got %v, want an error that has a status word", err)
			case err == nil && !req.Target().IsValid():
				t.Errorf("target: got %v, want a valid one", req.Target())
			}
			want := text
			if err == nil {
				want = text[frameSize:]
			}
			if rest, _ := io.ReadAll(p); !bytes.Equal(rest, want) {
				t.Errorf("unread: got %q, want %q", rest, want)
			}
			_, _ = client.Close(), server.Close()
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

// FuzzParseSecret: what is read can be written and read again.
func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{
		"", "000102030405060708090a0b0c0d0e0f", "dd000102030405060708090a0b0c0d0e0f", "3QABAgMEBQYHCAkKCwwNDg8=",
		"ee000102030405060708090a0b0c0d0e0f6578616d706c652e6f7267", "7gABAgMEBQYHCAkKCwwNDg8/Pz8+Pj4=", "7gABAgMEBQYHCAkKCwwNDg8_Pz8-Pj4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kind, key, name, err := ParseSecret(text)
		if err != nil {
			if kind != "" || key != [SecretSize]byte{} || name != "" {
				t.Errorf("got %q, %x, %q beside an error, want nothing", kind, key, name)
			}
			return
		}
		if (kind == KindFakeTLS) != (name != "") || len(name) > maxSecretName {
			t.Errorf("%s: got a name of %d bytes, want one for ee alone, within bounds", kind, len(name))
		}
		k, again, n, err := ParseSecret(Secret(kind, key, name))
		if err != nil || k != kind || again != key || n != name {
			t.Errorf("again: got %q, %x, %q, %v, want %q, %x, %q", k, again, n, err, kind, key, name)
		}
	})
}
