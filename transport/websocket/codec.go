package websocket

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"

	"relay/transport"
)

// The opcodes of WebSocket frames and the bits beside them (RFC 6455, Section 5.2).
const (
	opContinued = 0x0
	opBinary    = 0x2
	opClose     = 0x8
	opPing      = 0x9
	opPong      = 0xa

	bitFin    = 0x80
	bitMask   = 0x80
	opBits    = 0x0f
	lengthOf2 = 126 // the length is in the two bytes that follow,
	lengthOf8 = 127 // or in eight

	maxControl = 125     // bytes in a control frame (Section 5.5)
	maskSize   = 4       // goes behind the length
	maxHead    = 2 + 8   // without mask
	maxMessage = 1 << 30 // nobody sends that: payload passes as it comes, so it costs nothing
	frameSize  = 64 << 10
	normalEnd  = 1000 // Section 7.4.1
	// mostEmpty is how many pings and pongs may come with no payload between: days
	// of a connection that rests, and a moment of a flood.
	mostEmpty = 10000
)

// ErrFrame says that the peer has broken the protocol.
var ErrFrame = errors.New("not a frame that this peer of binary messages sends")

var errCut = errors.New("ended within a frame")

// NewClient returns the codec of the side that has opened the WebSocket.
func NewClient() transport.Codec { return &client{} }

// NewServer returns the codec of the side that has accepted it. It is a
// [transport.Framer].
func NewServer() transport.Codec { return &server{frames: frames{masked: true}} }

// frames is what both sides do to what they receive. The close frame is the end of
// one direction: RFC 6455, Section 5.5.1, lets the other one finish what it is
// sending.
type frames struct {
	masked  bool // what the peer sends is (Section 5.1)
	head    [maxHead + maskSize]byte
	got     int    // bytes of head
	left    uint64 // of the frame's payload
	done    uint64 // of it
	op      byte   // of the frame whose payload comes
	inside  bool   // a message whose last frame has not come
	control []byte // payload of a control frame so far
	pong    []byte // due; nil: none
	empty   int    // control frames since there was payload
}

// Decode implements transport.Codec.
func (f *frames) Decode(dst, wire []byte) ([]byte, error) {
	for {
		if !f.complete() {
			if len(wire) == 0 {
				return dst, nil
			}
			n, err := f.header(wire)
			if err != nil {
				return dst, err
			}
			wire = wire[n:]
			continue
		}
		n := int(min(f.left, uint64(len(wire))))
		if f.op == opBinary {
			dst = f.take(dst, wire[:n])
		} else {
			f.control = f.take(f.control, wire[:n])
		}
		f.left -= uint64(n)
		f.done += uint64(n)
		if wire = wire[n:]; f.left > 0 {
			return dst, nil
		}
		f.got = 0
		if f.op == opBinary {
			f.empty = 0
		} else if f.empty++; f.empty > mostEmpty {
			return dst, ErrFrame
		}
		switch f.op {
		case opClose:
			return dst, io.EOF
		case opPing:
			// Of several the last one counts (Section 5.5.3).
			f.pong = append(make([]byte, 0, len(f.control)), f.control...)
		}
	}
}

// take appends payload to dst, without its mask.
func (f *frames) take(dst, payload []byte) []byte {
	at := len(dst)
	dst = append(dst, payload...)
	if f.masked {
		size := f.headSize()
		mask(dst[at:], [maskSize]byte(f.head[size-maskSize:size]), int(f.done%maskSize))
	}
	return dst
}

// complete reports whether a frame's head has come, and the frame is not done.
func (f *frames) complete() bool { return f.got >= 2 && f.got == f.headSize() }

// headSize is how long the head is, of which there are two bytes.
func (f *frames) headSize() int {
	size := 2
	switch f.head[1] &^ bitMask {
	case lengthOf2:
		size += 2
	case lengthOf8:
		size += 8
	}
	if f.head[1]&bitMask != 0 {
		size += maskSize
	}
	return size
}

// header takes what wire has of a frame's head.
func (f *frames) header(wire []byte) (taken int, err error) {
	for f.got < 2 || f.got < f.headSize() {
		if taken == len(wire) {
			return taken, nil
		}
		f.head[f.got] = wire[taken]
		f.got++
		taken++
	}
	f.done = 0
	switch f.head[1] &^ bitMask {
	case lengthOf2:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case lengthOf8:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	default:
		f.left = uint64(f.head[1] &^ bitMask)
	}
	return taken, f.begin(f.head[0]&bitFin != 0, f.head[0]&opBits)
}

// begin starts a frame. Clients mask and servers do not (Section 5.1), and no
// extension that would use the reserved bits was agreed on.
func (f *frames) begin(fin bool, op byte) error {
	reserved := f.head[0] &^ (bitFin | opBits)
	if reserved != 0 || (f.head[1]&bitMask != 0) != f.masked {
		return ErrFrame
	}
	switch op {
	case opBinary, opContinued:
		if (op == opContinued) != f.inside || f.left > maxMessage {
			return ErrFrame
		}
		f.inside, f.op = !fin, opBinary
	case opClose, opPing, opPong:
		if !fin || f.left > maxControl {
			return ErrFrame
		}
		f.op, f.control = op, f.control[:0]
	default: // text too: nobody who means this stream sends that
		return ErrFrame
	}
	return nil
}

// Ended implements transport.Codec: a peer that goes without a word between two
// frames is like one that closes its connection.
func (f *frames) Ended() error {
	if f.got > 0 {
		return errCut
	}
	return nil
}

// ReplyDue implements transport.Replier.
func (f *frames) ReplyDue() bool { return f.pong != nil }

// client is the codec of a client.
type client struct{ frames }

// Encode implements transport.Codec.
func (*client) Encode(dst, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil
	}
	return appendMasked(dst, opBinary, payload), nil
}

// End implements transport.Codec.
func (*client) End(dst []byte) []byte {
	return appendMasked(dst, opClose, binary.BigEndian.AppendUint16(nil, normalEnd))
}

// Reply implements transport.Replier.
func (c *client) Reply(dst []byte) []byte {
	if c.pong == nil {
		return dst
	}
	dst = appendMasked(dst, opPong, c.pong)
	c.pong = nil
	return dst
}

// server is the codec of a server.
type server struct{ frames }

// Encode implements transport.Codec.
func (s *server) Encode(dst, payload []byte) ([]byte, error) {
	for len(payload) > 0 {
		var n int
		dst, n = s.Frame(dst, len(payload))
		dst = append(dst, payload[:n]...)
		payload = payload[n:]
	}
	return dst, nil
}

// Frame implements transport.Framer.
func (*server) Frame(dst []byte, n int) (header []byte, size int) {
	n = min(n, frameSize)
	return appendHead(dst, opBinary, 0, n), n
}

// FrameSize implements transport.Framer.
func (*server) FrameSize() int { return frameSize }

// End implements transport.Codec.
func (*server) End(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(appendHead(dst, opClose, 0, 2), normalEnd)
}

// Reply implements transport.Replier.
func (s *server) Reply(dst []byte) []byte {
	if s.pong == nil {
		return dst
	}
	dst = append(appendHead(dst, opPong, 0, len(s.pong)), s.pong...)
	s.pong = nil
	return dst
}

// AppendPing appends the ping of a client, which its server answers by itself (RFC 6455,
// Section 5.5.2). It may be written between the frames of a Codec, in one piece.
func AppendPing(dst []byte) []byte { return appendMasked(dst, opPing, nil) }

// appendHead appends the head of a frame with n bytes; bit is bitMask or 0.
func appendHead(dst []byte, op, bit byte, n int) []byte {
	dst = append(dst, bitFin|op)
	switch {
	case n < lengthOf2:
		return append(dst, bit|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, bit|lengthOf2), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, bit|lengthOf8), uint64(n))
}

// appendMasked appends a frame as clients send it. The mask is drawn for each
// (Section 5.3).
func appendMasked(dst []byte, op byte, payload []byte) []byte {
	dst = appendHead(dst, op, bitMask, len(payload))
	var key [maskSize]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	dst = append(dst, key[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	mask(dst[at:], key, 0)
	return dst
}

// mask puts the mask on b, or takes it off; the first byte is byte at of the key.
func mask(b []byte, key [maskSize]byte, at int) {
	var eight [2 * maskSize]byte
	for i := range eight {
		eight[i] = key[(at+i)%maskSize]
	}
	word := binary.NativeEndian.Uint64(eight[:])
	for ; len(b) >= len(eight); b = b[len(eight):] {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^word)
	}
	for i := range b {
		b[i] ^= eight[i]
	}
}
