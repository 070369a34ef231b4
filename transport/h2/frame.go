package h2

import (
	"encoding/binary"
	"sync"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Types of frames (RFC 9113, Section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	framePriorityUpdate = 0x10 // RFC 9218, Section 7.1
)

const (
	flagEnd        = 0x1 // END_STREAM
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	headerSize = 9 // of a frame

	defaultFrame  = 16 << 10
	mostFrame     = 1<<24 - 1
	defaultWindow = 64<<10 - 1
	mostWindow    = 1<<31 - 1
	mostID        = 1<<31 - 1
)

// FullFrame is how many bytes of a stream make one full TLS record together with the
// frame's header. Chrome's frames are as long; who writes in such pieces writes none
// that is cut into a long frame and a very short one.
const FullFrame = 16<<10 - headerSize

// outSize is how much is written at once: four full frames.
const outSize = 4 * (FullFrame + headerSize)

// buffer is what waits to be written.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, outSize)} }}

func (o *buffer) free() {
	if cap(o.b) > 2*outSize {
		return // a very long head
	}
	o.b = o.b[:0]
	buffers.Put(o)
}

// frameHeader is RFC 9113, Section 4.1.
type frameHeader struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func parseHeader(b []byte) frameHeader {
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3],
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & mostID,
	}
}

func (h frameHeader) has(flag byte) bool { return h.flags&flag != 0 }

func appendHeader(b []byte, h frameHeader) []byte {
	b = append(b, byte(h.length>>16), byte(h.length>>8), byte(h.length), h.kind, h.flags)
	return binary.BigEndian.AppendUint32(b, h.stream)
}

// appendWord is a frame whose payload is one number.
func appendWord(b []byte, kind byte, stream, v uint32) []byte {
	b = appendHeader(b, frameHeader{4, kind, 0, stream})
	return binary.BigEndian.AppendUint32(b, v)
}

// appendOpening is what a connection begins with.
func appendOpening(b []byte, f *Fingerprint) []byte {
	b = append(b, preface...)
	b = appendHeader(b, frameHeader{6 * len(f.Settings), frameSettings, 0, 0})
	for _, s := range f.Settings {
		b = binary.BigEndian.AppendUint16(b, s.ID)
		b = binary.BigEndian.AppendUint32(b, s.Value)
	}
	if f.Window > 0 {
		b = appendWord(b, frameWindow, 0, f.Window)
	}
	return b
}
