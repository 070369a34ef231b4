package httpconnect

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"relay/transport"
)

const (
	longestLine    = 512     // a chunk-size line with its extensions
	longestTrailer = 4 << 10 // the trailer section
	longestSize    = 15      // digits of a chunk size: no overflow of an int64
)

var errChunk = errors.New("httpconnect: chunked body is not valid")

// chunks passes a chunked body on (RFC 9112, Section 7.1) and ends exactly
// where the body does. The framing is written anew, without chunk extensions
// and trailer fields, as both may be dropped on the way and both have hidden
// requests from servers that read them more leniently than the proxy.
type chunks struct {
	c     *transport.Peeked
	out   []byte // framing that is not yet passed on, in buf
	buf   [longestSize + 2]byte
	left  int64 // of the chunk at hand
	trail int   // bytes of the trailer section so far
	state chunkState
	err   error // for the next Read
}

type chunkState int

const (
	inSize chunkState = iota
	inData
	afterData
	inTrailer
	atEnd
)

func newChunks(c *transport.Peeked) *chunks { return &chunks{c: c} }

// Read implements io.Reader. It waits only when it has nothing to return.
func (k *chunks) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if len(k.out) > 0 {
			m := copy(b[n:], k.out)
			k.out = k.out[m:]
			n += m
			continue
		}
		if n > 0 && (k.err != nil || !k.ready()) {
			return n, nil
		}
		if err = k.err; err != nil {
			if err != errChunk && err != io.EOF {
				k.err = nil // a deadline can be moved
			}
			return 0, err
		}
		n += k.next(b[n:])
	}
	return n, nil
}

// ready reports whether the next step can be taken without waiting.
func (k *chunks) ready() bool {
	unread := k.c.Unread()
	if k.state == inData {
		return len(unread) > 0
	}
	return bytes.IndexByte(unread, '\n') >= 0
}

// pending reports whether Read has something to return already.
func (k *chunks) pending() bool { return len(k.out) > 0 || k.err != nil && k.err != io.EOF }

// next takes one step: some data of a chunk, which goes to b, or a line of
// framing.
func (k *chunks) next(b []byte) (n int) {
	if k.state == inData {
		n, k.err = k.c.Read(b[:min(int64(len(b)), k.left)])
		k.left -= int64(n)
		if k.left == 0 {
			k.state = afterData
		}
	} else {
		k.err = k.framing()
	}
	k.err = unexpected(k.err)
	if k.state == atEnd && k.err == nil {
		k.err = io.EOF
	}
	return n
}

// framing takes one line off the client and leaves in out what it becomes.
func (k *chunks) framing() error {
	limit := longestLine
	switch k.state {
	case afterData:
		limit = 0
	case inTrailer:
		limit = max(0, longestTrailer-k.trail)
	}
	line, err := k.peekLine(limit)
	if err != nil {
		return err
	}
	taken := len(line) + len(crlf)
	switch k.state {
	case inSize:
		size, ok := chunkSize(line)
		if !ok {
			return errChunk
		}
		k.state, k.left = inData, size
		if size == 0 {
			k.state = inTrailer
		}
		k.out = append(strconv.AppendInt(k.buf[:0], size, 16), crlf...)
	case afterData:
		k.state = inSize
		k.out = append(k.buf[:0], crlf...)
	case inTrailer:
		k.trail += taken
		switch {
		case len(line) == 0:
			k.state = atEnd
			k.out = append(k.buf[:0], crlf...)
		case !validField(line):
			return errChunk
		}
	}
	k.c.Discard(taken)
	return nil
}

// peekLine waits for a line of at most limit bytes and returns it without its
// CRLF. No carriage return or line feed may stand elsewhere.
func (k *chunks) peekLine(limit int) ([]byte, error) {
	limit += len(crlf)
	for n := 1; ; {
		b, err := k.c.Peek(n)
		if err != nil {
			return nil, err
		}
		b = b[:min(len(b), limit)]
		i := bytes.IndexAny(b, "\r\n")
		switch {
		case i < 0 && len(b) < limit, i == len(b)-1 && b[i] == '\r' && len(b) < limit:
			n = len(b) + 1
		case i >= 0 && i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return b[:i], nil
		default:
			return nil, errChunk
		}
	}
}

// chunkSize reads the hexadecimal size; white space or extensions may follow.
func chunkSize(line []byte) (size int64, ok bool) {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	if len(digits) == len(line) {
		digits = bytes.TrimRight(line, " \t")
	}
	if len(digits) == 0 || len(digits) > longestSize {
		return 0, false
	}
	for _, b := range digits {
		switch {
		case b >= '0' && b <= '9':
			size = size<<4 | int64(b-'0')
		case b >= 'a' && b <= 'f':
			size = size<<4 | int64(b-'a'+10)
		case b >= 'A' && b <= 'F':
			size = size<<4 | int64(b-'A'+10)
		default:
			return 0, false
		}
	}
	return size, true
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
