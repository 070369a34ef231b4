package web

import (
	"bufio"
	"errors"
	"io"
	"math"
	"net/http"
)

const (
	// mostInterim is how many answers may come before the one that counts: 103 and
	// its like (RFC 9110, Section 15.2).
	mostInterim = 4
	// mostChunkHead bounds the line before a chunk, with whatever extensions, and what
	// stands behind the last one.
	mostChunkHead = 4 << 10
	// mostBody is the longest answer to a piece that is read to its end, so that its
	// connection can be used again.
	mostBody = 64 << 10
)

var (
	errLongHead = errors.New("the head of an answer is too long")
	errChunk    = errors.New("the answer is not in chunks as it says")
	errEncoded  = errors.New("the answer is compressed on the way: ask who runs the front not to")
)

// answers reads those to the requests of one connection of HTTP/1.1, one after the
// other (RFC 9112).
type answers struct {
	limited *io.LimitedReader
	in      *bufio.Reader
}

func newAnswers(r io.Reader) answers {
	l := &io.LimitedReader{R: r}
	return answers{l, bufio.NewReaderSize(l, mostHead)}
}

// answer is a head that has come, and a body that may be coming.
type answer struct {
	status int
	keep   bool // the connection may be used again behind the body
	body   answerBody
}

// head reads a head, of up to mostHead.
func (a answers) head(method string) (answer, error) {
	a.limited.N = mostHead
	for range mostInterim {
		r, err := http.ReadResponse(a.in, &http.Request{Method: method})
		if err != nil && a.limited.N <= 0 {
			return answer{}, errLongHead
		}
		if err != nil {
			return answer{}, err
		}
		if r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		a.limited.N = math.MaxInt64
		out := answer{status: r.StatusCode, keep: !r.Close && r.StatusCode >= 200, body: answerBody{in: a.in, left: r.ContentLength}}
		switch {
		case r.Header.Get("Content-Encoding") != "" && r.StatusCode == http.StatusOK && method == http.MethodGet:
			return answer{}, errEncoded
		case len(r.TransferEncoding) > 0:
			out.body.state, out.body.left = sizeOfChunk, 0
		case r.ContentLength < 0:
			out.body.state, out.keep = untilClose, false
		}
		return out, nil
	}
	return answer{}, errors.New("the answer does not come to an end of its beginnings")
}

// How the body of an answer is written, and where one in chunks is.
const (
	counted = iota
	untilClose
	sizeOfChunk
	extensionOfChunk
	dataOfChunk
	endOfChunk
	trailer
)

// answerBody is a body. It can be read on after a deadline, as net/http's cannot be.
type answerBody struct {
	in     *bufio.Reader
	state  int
	left   int64 // of the body, or of the chunk
	digits int   // of the chunk's size
	line   int   // bytes of a line or of the trailer
	blank  bool  // nothing of a line of the trailer has come
	whole  bool  // it has come to its end
	bad    bool  // it is not what its head says
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	for {
		switch {
		case b.bad:
			return 0, errChunk
		case b.whole || b.state == counted && b.left == 0:
			b.whole = true
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case b.state == untilClose:
			n, err := b.in.Read(p)
			b.whole = err == io.EOF
			return n, err
		case b.state == counted || b.state == dataOfChunk:
			n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
			if b.left -= int64(n); b.left == 0 && b.state == dataOfChunk {
				b.state, b.line = endOfChunk, 0
			}
			if n > 0 {
				err = nil
			}
			return n, tooSoon(err)
		}
		c, err := b.in.ReadByte()
		if err != nil {
			return 0, tooSoon(err)
		}
		if err := b.frame(c); err != nil {
			b.bad = true
			return 0, err
		}
	}
}

// tooSoon is an end where there should be none.
func tooSoon(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frame takes a byte that is not data (RFC 9112, Section 7.1).
func (b *answerBody) frame(c byte) error {
	if b.line++; b.line > mostChunkHead {
		return errChunk
	}
	switch b.state {
	case sizeOfChunk:
		return b.size(c)
	case extensionOfChunk:
		if c == '\n' {
			b.begin()
		}
	case endOfChunk:
		switch {
		case c == '\n':
			b.state, b.line, b.digits, b.left = sizeOfChunk, 0, 0, 0
		case c != '\r' || b.line > 1:
			return errChunk
		}
	case trailer:
		switch {
		case c == '\n' && b.blank:
			b.whole = true
		case c != '\r':
			b.blank = c == '\n'
		}
	}
	return nil
}

// size takes a byte of a chunk's size, of up to eight digits.
func (b *answerBody) size(c byte) error {
	digit := int64(-1)
	switch {
	case c >= '0' && c <= '9':
		digit = int64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		digit = int64(c|0x20-'a') + 10
	}
	switch {
	case digit >= 0 && b.digits < 8:
		b.left, b.digits = b.left<<4|digit, b.digits+1
		return nil
	case b.digits == 0:
		return errChunk
	case c == '\n':
		b.begin()
		return nil
	case c == '\r' || c == ';' || c == ' ' || c == '\t':
		b.state = extensionOfChunk
		return nil
	}
	return errChunk
}

// begin begins the chunk whose size has come.
func (b *answerBody) begin() {
	b.line = 0
	if b.state = dataOfChunk; b.left == 0 {
		b.state, b.blank = trailer, true
	}
}

// rest reads the end of a body of which nothing is wanted, and reports whether the
// connection can be used again.
func (a *answer) rest() bool {
	_, err := io.CopyN(io.Discard, &a.body, mostBody)
	return a.keep && err == io.EOF && a.body.whole && a.body.in.Buffered() == 0
}
