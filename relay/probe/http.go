package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// date is a Date header in a response; the clock is not what we compare.
var date = regexp.MustCompile(`(?mi)^Date:[^\r\n]*`)

// maskDates blanks the values of Date headers.
func maskDates(b []byte) []byte {
	return date.ReplaceAllFunc(bytes.Clone(b), func(m []byte) []byte {
		return append(m[:len("Date:")], bytes.Repeat([]byte{'-'}, len(m)-len("Date:"))...)
	})
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b[:min(len(b), 60)], []byte("\r\n"))
	return fmt.Sprintf("%q", line)
}

// Frame types and flags, RFC 9113, Section 6.
const (
	frameData = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8

	frameHeaderLen = 9
)

var frameWords = []string{"DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"}

// frames reads what an HTTP/2 server sent. Header blocks are compared as
// fields: how they are packed follows from the date in them.
func frames(b []byte) (parts []part) {
	var fields strings.Builder
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == "date" {
			f.Value = "-"
		}
		fmt.Fprintf(&fields, "%s: %s\n", f.Name, f.Value)
	})
	for len(b) >= frameHeaderLen {
		n := frameHeaderLen + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
		if n > len(b) {
			break
		}
		typ, flags := int(b[3]), b[4]
		word := fmt.Sprint("frame ", typ)
		if typ < len(frameWords) {
			word = frameWords[typ]
		}
		p := part{
			what:  fmt.Sprintf("%s[%d,%#x]", word, binary.BigEndian.Uint32(b[5:]), flags),
			size:  n - frameHeaderLen,
			slack: exactSize,
			data:  b[frameHeaderLen:n],
		}
		if typ == frameHeaders || typ == frameContinuation {
			fields.Reset()
			if _, err := dec.Write(p.data); err != nil {
				fmt.Fprintf(&fields, "not readable: %v", err)
			}
			p.slack, p.data = slackDate, []byte(fields.String())
		}
		parts = append(parts, p)
		b = b[n:]
	}
	if len(b) > 0 {
		parts = append(parts, part{what: "bytes", size: len(b), slack: exactSize, data: b})
	}
	return parts
}

// frame makes an HTTP/2 frame.
//
//go:noinline
func frame(typ, flags byte, stream uint32, payload ...[]byte) []byte {
	body := join(payload...)
	b := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), typ, flags}
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, body...)
}

// block packs fields, name and value by turns, as literals without index and
// without Huffman: RFC 7541, Section 6.2.2.
func block(fields ...string) (b []byte) {
	for i := 0; i+1 < len(fields); i += 2 {
		b = append(b, 0)
		for _, s := range fields[i : i+2] {
			b = hpackInt(b, len(s))
			b = append(b, s...)
		}
	}
	return b
}

// hpackInt is an integer with a prefix of seven bits, RFC 7541, Section 5.1.
func hpackInt(b []byte, n int) []byte {
	if n < 127 {
		return append(b, byte(n))
	}
	b = append(b, 127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
