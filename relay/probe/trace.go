package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// Record types, RFC 8446, Section 5.1.
const (
	recCCS       = 20
	recAlert     = 21
	recHandshake = 22
	recData      = 23
)

// Handshake messages, RFC 8446, Section 4, and RFC 5246, Section 7.4.
const (
	msgClientHello  = 1
	msgServerHello  = 2
	msgTicket       = 4
	msgCertificate  = 11
	msgKeyExchange  = 12
	msgVerify       = 15
	msgClientKey    = 16
	msgFinished     = 20
	msgKeyUpdate    = 24
	maxRecord       = 16384 + 256
	recordHeaderLen = 5
	msgHeaderLen    = 4
)

// trace is what one run against one server showed.
type trace struct {
	parts            []part
	end, after       string
	answered         bool
	first, last, fin time.Duration
}

// part is a piece of an answer. What and data are compared exactly, data less
// the bytes that vary in the reference; size too, give or take slack.
type part struct {
	what  string
	size  int
	slack int // exactSize, or how far sizes may lie from one that the reference showed
	data  []byte
}

func (p part) String() string {
	if p.size == 0 {
		return p.what
	}
	return fmt.Sprintf("%s %d", p.what, p.size)
}

// exactSize is the slack of parts whose size never varies by chance.
const exactSize = -1

// How far lengths vary by chance.
const (
	// slackECDSA: a signature is a sequence of two integers without leading zeros.
	slackECDSA = 4
	// slackDate: HTTP/2 packs the digits of a date into five or six bits each.
	slackDate = 4
	// slackKernel, in MB: how much of an answer that nobody reads kernels keep.
	slackKernel = 1
)

// record is a TLS record of the answer.
type record struct {
	typ     byte
	version uint16
	raw     []byte // header and body
	inner   byte   // type of what is inside, 0 if we cannot know
	plain   []byte
}

// split cuts the records off an answer; what is left over is no record, or half
// of one.
func split(got []byte) (recs []record, rest []byte) {
	for len(got) >= recordHeaderLen {
		n := int(binary.BigEndian.Uint16(got[3:]))
		if got[0] < recCCS || got[0] > recData+1 || got[1] != 3 || n > maxRecord || len(got) < recordHeaderLen+n {
			break
		}
		recs = append(recs, record{typ: got[0], version: binary.BigEndian.Uint16(got[1:]), raw: got[:recordHeaderLen+n]})
		got = got[recordHeaderLen+n:]
	}
	return recs, got
}

// read looks into the records: those in the clear, and the others with the keys of s.
func read(recs []record, s *session) {
	protected := false
	if s != nil {
		s.rewind()
	}
	for i := range recs {
		r := &recs[i]
		body := r.raw[recordHeaderLen:]
		secret := r.typ == recData || protected && r.typ != recCCS
		switch {
		case !secret, r.typ == recAlert && len(body) == 2:
			r.inner, r.plain = r.typ, body
		case s != nil && s.ready():
			r.inner, r.plain = s.open(r)
		}
		protected = protected || r.typ == recCCS
	}
}

// traceOf reads the record of a connection that has been observed. Signatures
// of slack bytes more or less are the same.
func traceOf(c *conn, slack int) trace {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := trace{end: c.end, after: c.after, answered: len(c.got) > 0, first: c.first, last: c.last, fin: c.endAt}
	recs, rest := split(c.got)
	read(recs, c.tls)
	for _, r := range recs {
		p := part{what: recordName(r), size: len(r.raw) - recordHeaderLen, slack: exactSize}
		switch {
		case r.inner == 0 && slack > 0 && len(r.raw) > 70, holdsSignature(r) && slack > 0:
			p.slack = slack
		case r.inner == recHandshake && r.typ == recData && len(r.plain) > 0 && r.plain[0] == msgTicket:
			p.slack = 0 // tickets have one of a few lengths
		case r.inner == recData && c.h2:
			p.slack = slackDate
		}
		t.parts = append(t.parts, p)
	}
	t.parts = append(t.parts, contents(recs, c.h2)...)
	switch {
	case c.deaf: // the last record was in our hands when we stopped
		t.parts = append(t.parts, part{what: "megabytes", size: c.missed >> 20, slack: slackKernel})
	case len(rest) > 0:
		t.parts = append(t.parts, part{what: "bytes", size: len(rest), slack: exactSize, data: maskDates(rest)})
	}
	return t
}

func recordName(r record) string {
	name := fmt.Sprintf("%s/%04x", recordWord(r.typ), r.version)
	if r.inner != 0 && r.inner != r.typ {
		name += "(" + recordWord(r.inner) + ")"
	}
	return name
}

func recordWord(t byte) string {
	switch t {
	case recCCS:
		return "ccs"
	case recAlert:
		return "alert"
	case recHandshake:
		return "handshake"
	case recData:
		return "data"
	}
	return fmt.Sprint("type", t)
}

// holdsSignature looks for the two messages that carry one; records that begin
// elsewhere than at a message are rare enough to be compared exactly.
func holdsSignature(r record) bool {
	b := r.plain
	if r.inner != recHandshake {
		return false
	}
	for len(b) >= msgHeaderLen {
		if b[0] == msgVerify || b[0] == msgKeyExchange {
			return true
		}
		n := msgHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			break
		}
		b = b[n:]
	}
	return false
}

// contents are the messages inside the records, whatever record they lie in.
func contents(recs []record, h2 bool) (parts []part) {
	var data []byte // all application data: a server may cut it anywhere
	for i := 0; i < len(recs); {
		typ := recs[i].inner
		var b []byte
		j := i
		for ; j < len(recs) && recs[j].inner == typ; j++ {
			b = append(b, recs[j].plain...)
		}
		switch typ {
		case recHandshake:
			parts = append(parts, messages(b)...)
		case recData:
			data = append(data, b...)
		case recAlert, recCCS:
			for _, r := range recs[i:j] {
				parts = append(parts, part{what: recordWord(typ) + " " + alertText(r), slack: exactSize, data: r.plain})
			}
		}
		i = j
	}
	switch {
	case len(data) == 0:
	case h2:
		parts = append(parts, frames(data)...)
	default:
		parts = append(parts, part{what: "text " + firstLine(data), size: len(data), slack: exactSize, data: maskDates(data)})
	}
	return parts
}

func alertText(r record) string {
	if r.inner == recAlert && len(r.plain) == 2 {
		return fmt.Sprintf("%d,%d", r.plain[0], r.plain[1])
	}
	return fmt.Sprintf("%x", r.plain[:min(8, len(r.plain))])
}

// messages cuts a stream of handshake messages and blanks what is random in them.
func messages(b []byte) (parts []part) {
	for len(b) >= msgHeaderLen {
		n := msgHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			break
		}
		m := bytes.Clone(b[:n])
		b = b[n:]
		parts = append(parts, message(m))
	}
	if len(b) > 0 {
		parts = append(parts, part{what: "part of a message", size: len(b), slack: exactSize})
	}
	return parts
}

// message is one handshake message. Its own length is left out where a
// signature or a ticket makes it vary: the record's length tells it.
func message(m []byte) part {
	p := part{slack: exactSize}
	body := m[msgHeaderLen:]
	switch m[0] {
	case msgServerHello:
		p.what, p.data = "ServerHello", m
		if bytes.Contains(body, helloRetryRandom) {
			p.what = "HelloRetryRequest"
		}
		blankServerHello(body)
	case msgTicket:
		p.what, p.data = "NewSessionTicket", blankTicket(body)
	case msgCertificate:
		p.what, p.data = "Certificate", m
	case msgKeyExchange:
		p.what, p.data = "ServerKeyExchange", blankKeyExchange(body)
	case msgVerify:
		p.what, p.data = "CertificateVerify", body[:min(2, len(body))] // the algorithm
	case msgFinished:
		p.what, p.data = "Finished", m[:msgHeaderLen]
	default:
		p.what, p.data = fmt.Sprint("message ", m[0]), m
	}
	return p
}

// summary is a trace in one line, for people.
func (t trace) summary() string {
	var words []string
	for i := 0; i < len(t.parts); i++ {
		p, n := t.parts[i], 1
		for i+1 < len(t.parts) && t.parts[i+1].what == p.what && t.parts[i+1].size == p.size {
			i, n = i+1, n+1
		}
		w := p.String()
		if n > 1 {
			w += fmt.Sprint(" x", n)
		}
		words = append(words, w)
		if len(words) == 24 {
			words = append(words, "…")
			break
		}
	}
	if len(words) == 0 {
		words = []string{"nothing"}
	}
	return strings.Join(words, ", ") + "; " + t.ending()
}

func (t trace) ending() string {
	if t.after != "" {
		return t.end + ", then " + t.after
	}
	return t.end
}
