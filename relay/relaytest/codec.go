package relaytest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"relay/transport"
)

// CTR returns the two ends of a byte-wise codec: AES-256-CTR, a stream for each
// direction, as the obfuscated MTProto transport uses it.
func CTR() (a, b transport.Codec) {
	stream := func(n byte) cipher.Stream {
		block, err := aes.NewCipher(make([]byte, 32))
		if err != nil {
			panic(err) // the key is 32 bytes long
		}
		return cipher.NewCTR(block, append(make([]byte, 15), n))
	}
	return &ctr{in: stream(1), out: stream(2)}, &ctr{in: stream(2), out: stream(1)}
}

type ctr struct{ in, out cipher.Stream }

func (c *ctr) Decode(dst, wire []byte) ([]byte, error)    { return xor(c.in, dst, wire), nil }
func (c *ctr) Encode(dst, payload []byte) ([]byte, error) { return xor(c.out, dst, payload), nil }
func (c *ctr) Ended() error                               { return nil }
func (c *ctr) End(dst []byte) []byte                      { return dst }

func xor(s cipher.Stream, dst, src []byte) []byte {
	n := len(dst)
	dst = grow(dst, len(src))
	s.XORKeyStream(dst[n:], src)
	return dst
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, len(b)+n), b...)
	}
	return b[:len(b)+n]
}

// Records is a record-wise codec: AES-128-GCM over at most 16 KiB, with an end
// of its own and pings, much like TLS and WebSocket together.
//
//	length of what follows (2) | sealed: type (1), payload, tag (16)
type Records struct {
	open, seal cipher.AEAD
	in, out    nonce
	partial    []byte  // the beginning of a record; nil between records
	pooled     *[]byte // where it is
	ended      bool
	pongs      atomic.Int32 // due
	Ponged     atomic.Int32 // pongs that came
}

const (
	recordPayload  = 16 << 10
	recordHeader   = 2
	recordOverhead = recordHeader + 1 + 16

	recordData byte = iota
	recordEnd
	recordPing
	recordPong
)

var partials = sync.Pool{New: func() any { b := make([]byte, 0, recordPayload+recordOverhead); return &b }}

// ErrRecord is what is wrong with a record.
var ErrRecord = errors.New("bad record")

// NewRecords returns the two ends of a record-wise codec.
func NewRecords() (a, b *Records) {
	aead := func(n byte) cipher.AEAD {
		block, err := aes.NewCipher(append(make([]byte, 15), n))
		if err != nil {
			panic(err) // the key is 16 bytes long
		}
		g, err := cipher.NewGCM(block)
		if err != nil {
			panic(err) // AES has blocks of 16 bytes
		}
		return g
	}
	one, two := aead(1), aead(2)
	return &Records{open: one, seal: two}, &Records{open: two, seal: one}
}

// nonce counts the records of a direction.
type nonce [12]byte

func (n *nonce) next() []byte {
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])+1)
	return n[:]
}

// Decode implements transport.Codec.
func (r *Records) Decode(dst, wire []byte) (payload []byte, err error) {
	for len(wire) > 0 && !r.ended {
		record := wire
		if len(r.partial) > 0 {
			// Only as much as this record needs.
			want := recordHeader
			if len(r.partial) >= recordHeader {
				want += int(binary.BigEndian.Uint16(r.partial))
			}
			n := min(len(wire), want-len(r.partial))
			r.partial = append(r.partial, wire[:n]...)
			wire = wire[n:]
			record = r.partial
		}
		if len(record) < recordHeader {
			r.hold(record, &wire)
			continue
		}
		n := int(binary.BigEndian.Uint16(record))
		if n > recordPayload+recordOverhead-recordHeader || n < recordOverhead-recordHeader {
			return dst, ErrRecord
		}
		if len(record) < recordHeader+n {
			r.hold(record, &wire)
			continue
		}
		if dst, err = r.record(dst, record[recordHeader:recordHeader+n]); err != nil {
			return dst, err
		}
		if r.partial != nil {
			partials.Put(r.pooled)
			r.partial, r.pooled = nil, nil
		} else {
			wire = wire[recordHeader+n:]
		}
	}
	if r.ended {
		return dst, io.EOF
	}
	return dst, nil
}

// hold keeps the beginning of a record, if it is not kept already.
func (r *Records) hold(record []byte, wire *[]byte) {
	if r.partial == nil {
		r.pooled = partials.Get().(*[]byte)
		r.partial = append((*r.pooled)[:0], record...)
		*wire = nil
	}
}

func (r *Records) record(dst, sealed []byte) ([]byte, error) {
	n := len(dst)
	dst = grow(dst, len(sealed)-r.open.Overhead())
	plain, err := r.open.Open(dst[n:n], r.in.next(), sealed, nil)
	if err != nil {
		return dst[:n], ErrRecord
	}
	switch plain[0] {
	case recordData:
		copy(plain, plain[1:])
		return dst[:n+len(plain)-1], nil
	case recordEnd:
		r.ended = true
	case recordPing:
		r.pongs.Add(1)
	case recordPong:
		r.Ponged.Add(1)
	}
	return dst[:n], nil
}

// Encode implements transport.Codec.
func (r *Records) Encode(dst, payload []byte) ([]byte, error) {
	for len(payload) > 0 {
		part := payload[:min(len(payload), recordPayload)]
		dst = r.append(dst, recordData, part)
		payload = payload[len(part):]
	}
	return dst, nil
}

func (r *Records) append(dst []byte, kind byte, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)+recordOverhead-recordHeader))
	n := len(dst)
	dst = append(append(dst, kind), payload...)
	dst = r.seal.Seal(dst[:n], r.out.next(), dst[n:], nil)
	return dst
}

// Ended implements transport.Codec.
func (r *Records) Ended() error {
	if r.ended {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// End implements transport.Codec.
func (r *Records) End(dst []byte) []byte { return r.append(dst, recordEnd, nil) }

// ReplyDue implements transport.Replier.
func (r *Records) ReplyDue() bool { return r.pongs.Load() > 0 }

// Reply implements transport.Replier.
func (r *Records) Reply(dst []byte) []byte {
	for ; r.pongs.Load() > 0; r.pongs.Add(-1) {
		dst = r.append(dst, recordPong, nil)
	}
	return dst
}

// Ping appends a record that the peer answers.
func (r *Records) Ping(dst []byte) []byte { return r.append(dst, recordPing, nil) }
