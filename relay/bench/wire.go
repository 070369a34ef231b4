package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
)

// What the load asks of the sink. A connection begins with a header: one byte
// that says what is wanted, seven of nothing, a length and a seed, eight bytes
// each. For an exchange, the header is the beginning of the first message.
const (
	wantExchange = 'e' // messages of length bytes, each answered with itself
	wantOnce     = 'o' // one such message; the sink then closes first
	wantDown     = 'd' // length bytes from the sink, then its checksum
	wantUp       = 'u' // length bytes to the sink, then its checksum back
)

const (
	headerSize   = 24
	counterAt    = 16      // in a message: what makes it differ from the one before
	messageLimit = 1 << 16 // bytes of a message
	streamLimit  = 1 << 44 // bytes of a stream
	blockSize    = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first thing on a connection to the sink.
type header struct {
	want   byte
	length uint64
	seed   uint64
}

func (h header) append(b []byte) []byte {
	b = append(b, h.want, 0, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, h.length)
	return binary.BigEndian.AppendUint64(b, h.seed)
}

// parseHeader reads a header and checks its length.
func parseHeader(b []byte) (header, error) {
	h := header{b[0], binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[counterAt:])}
	switch {
	case (h.want == wantExchange || h.want == wantOnce) && h.length >= headerSize && h.length <= messageLimit:
	case (h.want == wantDown || h.want == wantUp) && h.length <= streamLimit:
	default:
		return h, fmt.Errorf("header: got %q with length %d, which the load never sends", h.want, h.length)
	}
	return h, nil
}

// sendStream writes length bytes that seed determines and returns their
// checksum. The checksum begins with the seed, and each block with its number:
// bytes of another connection, or blocks in another order, do not match.
func sendStream(w io.Writer, length, seed uint64) (uint32, error) {
	block := make([]byte, blockSize)
	random := rand.New(rand.NewPCG(seed, seed))
	for i := 0; i < len(block); i += 8 {
		binary.BigEndian.PutUint64(block[i:], random.Uint64())
	}
	sum := uint32(seed)
	for n := uint64(0); length > 0; n++ {
		binary.BigEndian.PutUint64(block, n)
		part := block[:min(length, blockSize)]
		sum = crc32.Update(sum, castagnoli, part)
		if _, err := w.Write(part); err != nil {
			return 0, err
		}
		length -= uint64(len(part))
	}
	return sum, nil
}

// receiveStream reads length bytes and returns their checksum.
func receiveStream(r io.Reader, length, seed uint64) (uint32, error) {
	block := make([]byte, blockSize)
	sum := uint32(seed)
	for length > 0 {
		n, err := r.Read(block[:min(length, blockSize)])
		sum = crc32.Update(sum, castagnoli, block[:n])
		length -= uint64(n)
		if err != nil && length > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("%d bytes before the end: %w", length, err)
		}
	}
	return sum, nil
}
