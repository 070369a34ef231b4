package httpconnect

import (
	"errors"
	"io"

	"relay/transport"
)

// longestLine bounds a chunk-size line and the trailer section.
const longestLine = 4 << 10

var errChunk = errors.New("httpconnect: chunked body is not valid")

// chunks passes a chunked body on as it is (RFC 9112, Section 7.1) and ends
// exactly where the body does.
type chunks struct {
	c     *transport.Peeked
	left  int64  // of the chunk at hand, its CRLF included
	line  []byte // of framing, not yet passed on
	state chunkState
}

type chunkState int

const (
	inSize chunkState = iota
	inData
	inTrailer
	atEnd
)

func newChunks(c *transport.Peeked) *chunks { return &chunks{c: c} }

// Read implements io.Reader.
func (k *chunks) Read(b []byte) (int, error) {
	for {
		switch {
		case len(k.line) > 0:
			n := copy(b, k.line)
			k.line = k.line[n:]
			return n, nil
		case k.state == atEnd:
			return 0, io.EOF
		case k.state == inData:
			if k.left == 0 {
				k.state = inSize
				continue
			}
			n, err := k.c.Read(b[:min(int64(len(b)), k.left)])
			k.left -= int64(n)
			return n, unexpected(err)
		}
		if err := k.framing(); err != nil {
			return 0, err
		}
	}
}

// framing takes one line: a chunk size, or one of the trailer section.
func (k *chunks) framing() error {
	line, err := k.takeLine()
	if err != nil {
		return err
	}
	k.line = line
	if k.state == inTrailer {
		if len(line) == 2 {
			k.state = atEnd
		}
		return nil
	}
	size, ok := chunkSize(line)
	if !ok {
		return errChunk
	}
	if size == 0 {
		k.state = inTrailer
		return nil
	}
	k.state, k.left = inData, size+2
	return nil
}

// takeLine takes a line with its CRLF.
func (k *chunks) takeLine() ([]byte, error) {
	for n := 1; ; {
		b, err := k.c.Peek(n)
		if err != nil {
			return nil, unexpected(err)
		}
		for i := n - 1; i < len(b); i++ {
			if b[i] == '\n' {
				if i == 0 || b[i-1] != '\r' {
					return nil, errChunk
				}
				line := append([]byte(nil), b[:i+1]...)
				k.c.Discard(i + 1)
				return line, nil
			}
		}
		if len(b) > longestLine {
			return nil, errChunk
		}
		n = len(b) + 1
	}
}

// chunkSize reads the hexadecimal size; an extension may follow it.
func chunkSize(line []byte) (size int64, ok bool) {
	for i, b := range line {
		var d int64
		switch {
		case b >= '0' && b <= '9':
			d = int64(b - '0')
		case b >= 'a' && b <= 'f':
			d = int64(b-'a') + 10
		case b >= 'A' && b <= 'F':
			d = int64(b-'A') + 10
		case i > 0 && (b == '\r' || b == ';' || b == ' ' || b == '\t'):
			return size, true
		default:
			return 0, false
		}
		if size > 1<<40 {
			return 0, false
		}
		size = size<<4 | d
	}
	return 0, false
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
