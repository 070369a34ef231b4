package mtproto

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
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
	headSize   = 2 + 8   // of a frame without a mask
	maskSize   = 4       // goes behind the head
	maxMessage = 1 << 30 // nobody sends that: payload passes as it comes, so it costs nothing
)

var (
	errMessage = errors.New("not a frame that a server of binary messages sends")
	errCut     = errors.New("ended within a frame")
)

// messages is the client's half of a WebSocket that carries a stream: what a
// message holds, and where it ends, says nothing (core.telegram.org,
// mtproto/transports). The close frame is the end of one direction: RFC 6455,
// Section 5.5.1, lets the other one finish what it is sending.
type messages struct {
	head    [headSize]byte
	got     int    // bytes of head
	left    uint64 // of the frame's payload
	op      byte   // of the frame whose payload comes
	inside  bool   // a message whose last frame has not come
	control []byte // payload of a control frame so far
	pong    []byte // due; nil: none
}

// Decode implements transport.Codec.
func (m *messages) Decode(dst, wire []byte) ([]byte, error) {
	for {
		if !m.complete() {
			if len(wire) == 0 {
				return dst, nil
			}
			n, err := m.header(wire)
			if err != nil {
				return dst, err
			}
			wire = wire[n:]
			continue
		}
		n := int(min(m.left, uint64(len(wire))))
		m.left -= uint64(n)
		if m.op == opBinary {
			dst = append(dst, wire[:n]...)
		} else {
			m.control = append(m.control, wire[:n]...)
		}
		if wire = wire[n:]; m.left > 0 {
			return dst, nil
		}
		m.got = 0
		switch m.op {
		case opClose:
			return dst, io.EOF
		case opPing:
			// Of several the last one counts (Section 5.5.3).
			m.pong = append(make([]byte, 0, len(m.control)), m.control...)
		}
	}
}

// complete reports whether a frame's head has come, and the frame is not done.
func (m *messages) complete() bool { return m.got >= 2 && m.got == m.headSize() }

// headSize is how long the head is, of which there are two bytes.
func (m *messages) headSize() int {
	switch m.head[1] &^ bitMask {
	case lengthOf2:
		return 2 + 2
	case lengthOf8:
		return 2 + 8
	}
	return 2
}

// header takes what wire has of a frame's head.
func (m *messages) header(wire []byte) (taken int, err error) {
	for m.got < 2 || m.got < m.headSize() {
		if taken == len(wire) {
			return taken, nil
		}
		m.head[m.got] = wire[taken]
		m.got++
		taken++
	}
	switch m.headSize() {
	case 2 + 2:
		m.left = uint64(binary.BigEndian.Uint16(m.head[2:]))
	case 2 + 8:
		m.left = binary.BigEndian.Uint64(m.head[2:])
	default:
		m.left = uint64(m.head[1])
	}
	return taken, m.begin(m.head[0]&bitFin != 0, m.head[0]&opBits)
}

// begin starts a frame. Servers do not mask (Section 5.1), and no extension that
// would use the reserved bits was asked for.
func (m *messages) begin(fin bool, op byte) error {
	reserved := m.head[0] &^ (bitFin | opBits)
	if reserved != 0 || m.head[1]&bitMask != 0 {
		return errMessage
	}
	switch op {
	case opBinary, opContinued:
		if (op == opContinued) != m.inside || m.left > maxMessage {
			return errMessage
		}
		m.inside, m.op = !fin, opBinary
	case opClose, opPing, opPong:
		if !fin || m.left > maxControl {
			return errMessage
		}
		m.op, m.control = op, m.control[:0]
	default:
		return errMessage
	}
	return nil
}

// Ended implements transport.Codec: a server that goes without a word between two
// frames is like a data centre that closes its connection.
func (m *messages) Ended() error {
	if m.got > 0 {
		return errCut
	}
	return nil
}

// Encode implements transport.Codec.
func (m *messages) Encode(dst, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil
	}
	return appendFrame(dst, opBinary, payload), nil
}

// End implements transport.Codec.
func (m *messages) End(dst []byte) []byte {
	const normal = 1000 // Section 7.4.1
	return appendFrame(dst, opClose, binary.BigEndian.AppendUint16(nil, normal))
}

// ReplyDue implements transport.Replier.
func (m *messages) ReplyDue() bool { return m.pong != nil }

// Reply implements transport.Replier.
func (m *messages) Reply(dst []byte) []byte {
	if m.pong == nil {
		return dst
	}
	dst = appendFrame(dst, opPong, m.pong)
	m.pong = nil
	return dst
}

// appendFrame appends a frame as clients send it. The mask is drawn for each
// (Section 5.3).
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, bitFin|op)
	switch n := len(payload); {
	case n < lengthOf2:
		dst = append(dst, bitMask|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, bitMask|lengthOf2), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, bitMask|lengthOf8), uint64(n))
	}
	var mask [2 * maskSize]byte
	_, _ = rand.Read(mask[:maskSize]) // never fails (crypto/rand)
	copy(mask[maskSize:], mask[:maskSize])
	dst = append(dst, mask[:maskSize]...)
	at := len(dst)
	dst = append(dst, payload...)
	masked := dst[at:]
	word := binary.NativeEndian.Uint64(mask[:])
	for ; len(masked) >= len(mask); masked = masked[len(mask):] {
		binary.NativeEndian.PutUint64(masked, binary.NativeEndian.Uint64(masked)^word)
	}
	for i := range masked {
		masked[i] ^= mask[i]
	}
	return dst
}
