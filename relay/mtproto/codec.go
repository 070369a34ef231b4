package mtproto

import (
	"crypto/cipher"
	"slices"

	"relay/transport"
)

// codec is what lies between the client's wire and the data centre's. It is on
// the client's side alone, for both links, so that the other side is a plain
// socket. Up is from the client.
type codec struct {
	// first is said ahead of the first payload: the frame for the data centre,
	// which has nothing to answer before that.
	first *frame
	// up takes the client's encryption off and puts the data centre's on.
	up cipher.Stream
	// down does the opposite; nil where both links have the same key stream.
	down cipher.Stream
}

var (
	_ transport.Codec  = (*codec)(nil)
	_ transport.Passer = (*codec)(nil)
)

// newCodec returns the codec for a client that has said f, made with secret.
func newCodec(f *frame, secret *[SecretSize]byte, tag uint32, id int16, reencrypt bool) *codec {
	fromClient := f.seed()
	toClient := fromClient.reversed().keyed(secret)
	fromDC := toClient
	c := new(codec)
	if reencrypt {
		fromDC = drawn()
		c.down = newDouble(fromDC, toClient, 0)
	}
	first, up := toDC(tag, id, fromDC)
	c.first = &first
	c.up = newDouble(fromClient.keyed(secret), up, frameSize)
	return c
}

// Decode implements transport.Codec.
func (c *codec) Decode(dst, wire []byte) ([]byte, error) {
	if c.first != nil {
		dst = append(dst, c.first[:]...)
		c.first = nil
	}
	n := len(dst)
	dst = slices.Grow(dst, len(wire))[:n+len(wire)]
	c.up.XORKeyStream(dst[n:], wire)
	return dst, nil
}

// Ended implements transport.Codec: a client may end anywhere, as messages are
// not looked at.
func (c *codec) Ended() error { return nil }

// Encode implements transport.Codec.
func (c *codec) Encode(dst, payload []byte) ([]byte, error) {
	if c.down == nil {
		return append(dst, payload...), nil
	}
	n := len(dst)
	dst = slices.Grow(dst, len(payload))[:n+len(payload)]
	c.down.XORKeyStream(dst[n:], payload)
	return dst, nil
}

// PassesOut implements transport.Passer.
func (c *codec) PassesOut() bool { return c.down == nil }

// End implements transport.Codec.
func (c *codec) End(dst []byte) []byte { return dst }
