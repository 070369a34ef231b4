package site

import (
	"crypto/tls"
	"time"

	"relay/transport"
)

// Record types of TLS (RFC 8446, Section 5.1) and the length of a record's header.
const (
	typeAlert     = 21
	typeHandshake = 22
	recordHeader  = 5
)

// Refuse is [Site.Serve] for who speaks neither TLS nor HTTP, and has said enough to
// be told so, or has ended before that: it waits for nothing, and has no goroutine,
// which floods of junk and scans of ports would pay for. False means that c is to be
// served, and is as it was.
func (s *Site) Refuse(c *transport.Peeked, ended bool, began time.Time, g transport.Guest) bool {
	if b := c.Unread(); !neither(b) && !(ended && cut(b)) {
		return false
	}
	t := take(c, began, g)
	// The same code as for everybody else says what is answered and how much is read,
	// which decides between an end and a reset.
	_ = tls.Server(t, s.tls).Handshake()
	_ = t.Close()
	return true
}

// neither reports whether b begins what crypto/tls refuses by the header of the first
// record, and what net/http does not take for a method.
func neither(b []byte) bool {
	return len(b) >= recordHeader && b[0] != typeAlert && b[0] != typeHandshake && (b[0] < 'A' || b[0] > 'Z')
}

// cut reports whether crypto/tls wants more than b, of the first record.
func cut(b []byte) bool {
	if len(b) < recordHeader {
		return true
	}
	n := recordHeader + int(b[3])<<8 + int(b[4])
	return (b[0] == typeAlert || b[0] == typeHandshake) && len(b) < n
}
