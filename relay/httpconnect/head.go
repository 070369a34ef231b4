package httpconnect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"relay/relay"
	"relay/transport"
)

// mostFields bounds the header lines. They become map entries, of which a
// 16 KiB header could hold four thousand, and stay in memory while a wrong
// password is answered late.
const mostFields = 128

var (
	// errSyntax stands for whatever net/http says about a request: it quotes
	// the line at fault, which holds a target or a credential.
	errSyntax   = errors.New("not a valid HTTP/1 request")
	errHeadSize = errors.New("header is too large")
)

// readHead takes the request line and the header off c; the body stays unread.
func readHead(c *transport.Peeked) (*http.Request, error) {
	var s scanner
	for n := 1; ; {
		b, err := c.Peek(n)
		if err != nil {
			return nil, err
		}
		end, err := s.scan(b)
		if err != nil {
			return nil, err
		}
		if end > 0 {
			hr, err := parseHead(b[:end])
			c.Discard(end)
			return hr, err
		}
		n = len(b) + 1
	}
}

// scanner looks for the end of a header as it comes in, and stops at the first
// byte that no valid one has. A lone line feed or carriage return ends a line
// for some servers and not for others: two that disagree see different
// requests (RFC 9112, Section 11.2).
type scanner struct {
	at    int // first byte not yet looked at
	line  int // where the line at hand began
	lines int
}

// scan returns the length of the header, 0 if b does not hold all of it. Every
// call gets the bytes of the call before, and more.
func (s *scanner) scan(b []byte) (end int, err error) {
	for ; s.at < len(b); s.at++ {
		feed := b[s.at] == '\n'
		if b[s.at] == 0 || feed != (s.at > 0 && b[s.at-1] == '\r') {
			return 0, syntax()
		}
		if !feed {
			continue
		}
		if s.at == s.line+1 && s.lines > 0 {
			return s.at + 1, nil
		}
		if s.lines++; s.lines > 1+mostFields {
			return 0, fmt.Errorf("%w: more than %d header fields", transport.ErrTooLong, mostFields)
		}
		s.line = s.at + 1
	}
	return 0, nil
}

func syntax() error { return fmt.Errorf("%w: %w", relay.ErrBadRequest, errSyntax) }

// parseHead reads a whole header. It is stricter than net/http wherever two
// readers could disagree about where the request ends.
func parseHead(b []byte) (*http.Request, error) {
	if !validFields(b) {
		return nil, syntax()
	}
	hr, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(b), min(len(b), 4096)))
	if err != nil || hr.ProtoMajor != 1 {
		return nil, syntax()
	}
	// HTTP/1.0 knows no Transfer-Encoding: net/http ignores it, others obey it
	// (RFC 9112, Section 6.1).
	if hr.ProtoMinor == 0 && countField(b, "Transfer-Encoding") > 0 {
		return nil, syntax()
	}
	return hr, nil
}

// validFields checks the field lines: a token before the colon, no line folding
// (RFC 9112, Sections 5.1 and 5.2), one way to tell the length of the body at
// most (Section 6.3), one credential.
func validFields(b []byte) bool {
	for line := range fieldLines(b) {
		if !validField(line) {
			return false
		}
	}
	return countField(b, "Content-Length")+countField(b, "Transfer-Encoding") <= 1 &&
		countField(b, "Proxy-Authorization") <= 1
}

// validField reports whether a line is a field (RFC 9112, Section 5).
func validField(line []byte) bool {
	name, value, ok := bytes.Cut(line, colon)
	return ok && len(name) > 0 && !bytes.ContainsFunc(name, notToken) && !bytes.ContainsFunc(value, isControl)
}

// notToken reports what no field name may hold (RFC 9110, Section 5.6.2). Bytes
// that are not UTF-8 arrive as U+FFFD.
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

// isControl reports what no field value may hold (RFC 9110, Section 5.5).
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

var (
	crlf  = []byte("\r\n")
	colon = []byte(":")
)

// fieldLines yields the lines between the request line and the empty one.
func fieldLines(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		_, rest, _ := bytes.Cut(b, crlf)
		for len(rest) > len(crlf) {
			var line []byte
			line, rest, _ = bytes.Cut(rest, crlf)
			if !yield(line) {
				return
			}
		}
	}
}

// countField counts the lines of one field.
func countField(b []byte, name string) (n int) {
	for line := range fieldLines(b) {
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			n++
		}
	}
	return n
}
